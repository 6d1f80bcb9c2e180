r"""Where a trajectory comes to its end, and what never changes on it: rest, singular ends, conserved quantities.

**Singular ends.** The loss sees F_j/sd(F_j): its force on F_j goes as 1/sd(F_j), at right angles to F_j. Write F_j = eps g,
g of variance 1. In the time log, ds = dt/eps^2, g turns by an equation of its own, and comes to rest where the head and the
neurons pull it. There eps falls or grows by a fixed rate c or, where g is where the output's own force vanishes, at a speed
that the other outputs give:

    d eps/dt = -c/eps:    eps^2 = 2 c (t* - t),          d eps/dt = -v:    eps = v (t* - t).

Either way sd(F_j) is 0 at a finite t*, with f_j = -sum_r E_jr f_r as functions (for relu: signals on the same side of
their kinks, noise parts parallel). Behind t* the flow has no meaning: the right-hand side has no limit. Descent goes on, and
rattles around sd(F_j) = 0. The features that the encoder's outputs f carry are what they are at t*.

Undecorated, compiled by `dynlab.population.pair.flow`.
"""

from math import exp, sqrt

from dynlab.formulas.activations import degree_of, is_odd, is_steep, power, self_covariance
from dynlab.formulas.components import NOISE_PATCHES, SAME, SIGMA, STRENGTHS
from dynlab.population.pair.solver import factor, log_signal

WAITING = 0.5  # share of the noise part in a neuron that has learnt nothing yet
# What rounding may do to a rate, over the sum of its terms.
ROUNDING = 1e-15
# e-folds that a motion which is not seen yet may grow by before the end.
GROWTH = 3.0
# A part of the weights below this share is seen in no output: its squared cosine is below 1e-12.
FADED_SHARE = 1e-6
# |atanh(c)| from which on 1 - |c| = 2 exp(-2 |atanh c|) is below 1e-9: with it 1 - kappa, where kappa = 1 or -1 is near.
FADED_ANGLE = 11.0


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


def still(system, arc, z, rates, jac, order_of_end):
    """Whether nothing that outputs show moves any more, as far as float64 can tell.

    Each coordinate is at rest, its rate being no more than what rounding z does to it, or it is a signal, a noise part or
    an angle that has faded and goes on fading; and no motion grows before the end. rates, jac: dz/dtau and its Jacobian at a
    fixed speed. order_of_end: (arc left at that speed, matrix (n, n), order (n,)), the last two scratch.
    """
    kind, m, features, _ = system
    n = len(z)
    largest = 0.0
    for i in range(n):
        noise = 0.0
        for k in range(n):
            size = abs(z[k]) if k < m * features and not is_steep(kind) else max(abs(z[k]), 1.0)
            noise += abs(jac[i, k]) * size
            largest = max(largest, abs(jac[i, k]))
        if abs(rates[i]) > ROUNDING * noise and not fading(kind, m, features, z, rates, i):
            return False
    left, matrix, order = order_of_end
    return not grows(n, jac, max(GROWTH / left, ROUNDING * largest), matrix, order)


def fading(kind, m, features, z, rates, i):
    """Whether coordinate i is too small to be seen in any output, and falls: a signal or a noise part below FADED_SHARE of
    its neuron's weights, or (pair layout) an angle so near 0 or pi that the noise's correlation is the one there."""
    signals = m * features
    if i < signals + m:
        j = i // features if i < signals else i - signals
        share = exp(2.0 * z[signals + j])
        total = share
        for f in range(features):
            x = z[j * features + f]
            x = exp(2.0 * log_signal(kind, m, features, z, j * features + f)) if is_steep(kind) else x * x
            total += x
            if j * features + f == i:
                share = x
        if share > FADED_SHARE * FADED_SHARE * total:
            return False
        if i >= signals:
            return rates[i] < 0.0
        return log_signal(kind, m, features, rates, i) < 0.0 if is_steep(kind) else rates[i] * z[i] <= 0.0
    if i == signals + m and m == 2 and features == 2:
        far = FADED_ANGLE
        if z[i] < 0.0 and not is_odd(kind):
            # kappa - kappa(pi) goes as (pi - theta)^(2 q + 1), pi - theta = 2 exp(z)
            far = 0.7 + 2.0 * FADED_ANGLE / (2.0 * degree_of(kind) + 1.0)
        return abs(z[i]) > far and z[i] * rates[i] > 0.0
    return False


def grows(n, jac, rate, matrix, order):
    """Whether an odd number of real motions grow faster than `rate`: the determinant of rate - J is negative then."""
    for i in range(n):
        for k in range(n):
            matrix[i, k] = -jac[i, k]
        matrix[i, i] += rate
    factor((), matrix, order)
    sign = 1.0
    for i in range(n):
        if matrix[i, i] < 0.0:
            sign = -sign
        # order is a permutation, each of whose cycles of even length turns the sign
        length = 0
        k = i
        while order[k] >= 0:
            following = order[k]
            order[k] = -1
            k = following
            length += 1
        if length % 2 == 0 and length > 0:
            sign = -sign
    return not sign > 0.0


def smallest_output(system, z, side):
    """The smallest of sd(F_j)^2/(sum_r sd(E_jr f_r))^2, j any output: 0 where an online output has no variance.

    Noise correlations enter by the cosine of the angle, which is enough to tell where they are 1.
    """
    kind, m, features, par = system
    a = par[SAME] / (features if is_odd(kind) else 2 * features)
    noise = par[NOISE_PATCHES] * self_covariance(kind, par[SIGMA])
    least = 1.0
    for j in range(m):
        here = 0.0
        whole = 0.0
        parts = 0.0
        for f in range(features):
            for sign in (1, -1):
                value = 0.0
                total = 0.0
                for r in range(m):
                    x = entry(m, z, j, r) * state_response(kind, m, features, par, z, side, r * features + f, sign)
                    value += x
                    total += abs(x)
                here += a * value * value
                whole += a * total * total
        for p in range(m):
            own = entry(m, z, j, p) * power(kind, exp(z[m * features + p]))
            parts += abs(own)
            here += noise * own * own
            for r in range(p):
                other = entry(m, z, j, r) * power(kind, exp(z[m * features + r]))
                here += 2.0 * noise * own * other * (1.0 - apart(m, features, z, p, r))
        whole += noise * parts * parts
        if whole > 0.0:
            least = min(least, max(here, 0.0) / whole)
    return least


def entry(m, z, j, r):
    """E_jr."""
    if j == r:
        return 1.0
    return z[len(z) - m * (m - 1) + j * (m - 1) + (r if r < j else r - 1)]


def state_response(kind, m, features, par, z, side, i, sign):
    """f_r in the feature state of signal i with this sign; of an odd activation 0 in the second, which says nothing new."""
    x = z[i]
    if is_steep(kind):
        x = side[i] * exp(log_signal(kind, m, features, z, i))
    value = power(kind, par[STRENGTHS + i % features] * x)
    if is_odd(kind):
        return value if sign > 0 else 0.0
    return abs(value) if side[i] * sign > 0 else 0.0


def apart(m, features, z, p, r):
    """1 - cos of the angle between two noise parts."""
    first = m * features + m
    if m == 2 and features == 2:
        return 2.0 / (1.0 + exp(2.0 * min(z[first], 300.0)))
    total = 0.0
    for i in range(m):
        total += (z[first + p * m + i] - z[first + r * m + i]) ** 2
    return 0.5 * total
