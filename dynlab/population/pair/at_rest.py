"""When nothing can change any more, and what never does: rest and conserved quantities of the flow. Undecorated."""

from math import exp, sqrt

from dynlab.formulas.activations import degree_of, is_steep
from dynlab.population.pair.solver import log_signal

WAITING = 0.5  # share of the noise part in a neuron that has learnt nothing yet


def invariants(kind, m, features, par_rate, z, out):
    """The m conserved quantities |w_j|^2/q + sum_r (E_jr^2 - E_rj^2)/r (`dynlab.population.invariants`)."""
    degree = degree_of(kind)
    head = len(z) - m * (m - 1)
    for j in range(m):
        total = exp(2.0 * z[m * features + j])
        for f in range(features):
            x = z[j * features + f]
            total += exp(2.0 * log_signal(kind, m, features, z, j * features + f)) if is_steep(kind) else x * x
        total = total / degree
        if par_rate > 0.0:
            for r in range(m):
                if r != j:
                    own = z[head + j * (m - 1) + (r if r < j else r - 1)]
                    lent = z[head + r * (m - 1) + (j if j < r else j - 1)]
                    total += (own * own - lent * lent) / par_rate
        out[j] = total


def settled(kind, m, features, z, side, rates, speed, remaining):
    """Whether nothing can change any more before the end.

    Every signal's relative growth over the remaining time is below 1 %, every decaying one is negligible or likewise
    slow, noise parts are below 1 % of the weights or fixed, and head entries are decaying or below 1e-12. A neuron that is
    noise for the most part still waits for a feature, however slowly it moves. rates: dz/dtau.
    """
    n = len(z)
    head = n - m * (m - 1)
    for i in range(head, n):
        if abs(z[i]) > 1e-12 and (z[i] * rates[i] > 0.0 or abs(z[i]) > 1e-6):
            if abs(rates[i]) * speed * remaining > 1e-2 * abs(z[i]):
                return False
    for j in range(m):
        noise = exp(2.0 * z[m * features + j])
        total = noise
        for f in range(features):
            x = z[j * features + f]
            total += exp(2.0 * log_signal(kind, m, features, z, j * features + f)) if is_steep(kind) else x * x
        if noise > WAITING * total:
            return False
        if noise > 1e-2 * total and abs(rates[m * features + j]) * speed * remaining > 1e-2:
            return False
        for f in range(features):
            i = j * features + f
            if is_steep(kind):
                change = log_signal(kind, m, features, rates, i) * speed * remaining
                share = exp(2.0 * log_signal(kind, m, features, z, i)) / total
                if change > 1e-2 or (change < -1e-2 and share > 1e-6):
                    return False
            elif abs(rates[i]) * speed * remaining > 1e-2 * (abs(z[i]) + 1e-3 * sqrt(total)):
                return False
    return True


def at_rounding(n, z, jac):
    """Whether what rounding z does to the rates is as large as the rates: a fixed point, as far as float64 can tell.

    jac: Jacobian in arc length, so that the rates have norm 1. The cubic pair is left out: its rates stay exact there.
    """
    for i in range(n):
        total = 0.0
        for k in range(n):
            total += abs(jac[i, k]) * max(abs(z[k]), 1.0)
        if total > 1e15:
            return True
    return False
