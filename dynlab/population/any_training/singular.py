"""Singular ends of the flow under any training: an online output that loses all its variance in finite time. Undecorated.

Where outputs are normalised one by one, forces on F_j go as 1/sd(F_j): see `dynlab.population.pair.at_rest`, which derives
how sd(F_j) reaches 0. There steps come to a standstill, by whatever method: that is how such an end is known here.
"""

from dynlab.formulas.activations import is_odd, power, self_covariance
from dynlab.formulas.components import NOISE_PATCHES, SAME, SIGMA, STRENGTHS
from dynlab.formulas.switched import BATCH, NORMALISATION, SCALE

# In `solver.PATIENCE` attempted steps log time went on by less than the first, and an output is a smaller share of what it
# is made of than the second: it is about to vanish.
STANDSTILL, SMALL = 1e-3, 1e-6


def comes_to_nothing(system, scratch, passed):
    """Whether the trajectory ends here. scratch: as `switched_rates` leaves it; passed: log time since the last look."""
    normalisation = system.choice[NORMALISATION]
    alone = normalisation == BATCH or normalisation == SCALE
    return passed < STANDSTILL and alone and least_variance(system, scratch) < SMALL


def least_variance(system, scratch):
    """The smallest of E F_j^2/(sum_r sqrt(E (E_jr f_r)^2))^2, j any output, by the features and what the noise fluctuates.

    Noise correlations enter by the cosine of the angle, which is enough to tell where they are 1.
    """
    m, kind, features, par, head = system.m, system.kind, system.features, system.par, scratch.head
    noise = par[NOISE_PATCHES] * self_covariance(kind, par[SIGMA])
    share = par[SAME] / (2 * features)
    least = 1.0
    for j in range(m):
        here = 0.0
        whole = 0.0
        parts = 0.0
        for f in range(features):
            for turn in range(2):
                value = 0.0
                total = 0.0
                for r in range(m):
                    x = head[j, r] * response(kind, par[STRENGTHS + f] * scratch.signal[r, f] * (1 - 2 * turn))
                    value += x
                    total += abs(x)
                here += share * value * value
                whole += share * total * total
        for p in range(m):
            own = head[j, p] * power(kind, scratch.norm[p])
            parts += abs(own)
            for r in range(m):
                cosine = scratch.dot[max(p, r), min(p, r)] / (scratch.norm[p] * scratch.norm[r])
                here += noise * own * head[j, r] * power(kind, scratch.norm[r]) * cosine
        whole += noise * parts * parts
        if whole > 0.0:
            least = min(least, max(here, 0.0) / whole)
    return least


def response(kind, u):
    """phi(u)."""
    if is_odd(kind) or u > 0.0:
        return power(kind, u)
    return 0.0 * u
