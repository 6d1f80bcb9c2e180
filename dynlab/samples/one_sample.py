"""What one sample shows and how it is split into views (the laws of `dynlab.settings.model.Model`), from counted random
numbers; how an output responds to a patch.

Undecorated functions of numbers and arrays, as in `dynlab.formulas`; compiled by `dynlab.samples.kernels`.
"""

from dynlab.formulas.activations import is_odd, power, power_slope
from dynlab.machine.rng import CONTENT, DOMAIN, VIEWS, philox


def draw_subset(size, wanted, domain, sample, step, k0, k1, chosen):
    """Fill chosen (size,), 0 or 1, with a uniform subset of `wanted` members (selection sampling, Knuth 3.4.2 S)."""
    left = wanted
    for p in range(size):
        if p % 4 == 0:
            a, b, c, d = philox(1 + p // 4, domain * DOMAIN, sample, step, k0, k1)
        word = a if p % 4 == 0 else (b if p % 4 == 1 else (c if p % 4 == 2 else d))
        chosen[p] = 1 if (word * (size - p)) >> 32 < left else 0
        left -= chosen[p]


def draw_coins(size, domain, sample, step, k0, k1, chosen):
    """Fill chosen (size,), each 0 or 1 with probability 1/2."""
    for p in range(size):
        if p % 4 == 0:
            a, b, c, d = philox(1 + p // 4, domain * DOMAIN, sample, step, k0, k1)
        word = a if p % 4 == 0 else (b if p % 4 == 1 else (c if p % 4 == 2 else d))
        chosen[p] = word >> 31


def draw_content(cuts, patches, carriers, sample, step, k0, k1, carries):
    """Feature (0..K-1) and sign (+-1.0) of a sample; fills carries (P,), 1 for the patches that show the feature.

    cuts (K,): the feature is the first l whose cut is above a uniform number of 32 bits; the last is 2^32. Probabilities are
    met to 2^-32 (exactly where they are whole multiples of it).
    """
    a, b, _, _ = philox(0, CONTENT * DOMAIN, sample, step, k0, k1)
    draw_subset(patches, carriers, CONTENT, sample, step, k0, k1, carries)
    feature = 0
    while a >= cuts[feature]:
        feature += 1
    return feature, 1.0 if b >> 31 == 0 else -1.0


def draw_views(half, patches, sample, step, k0, k1, view):
    """Fill view (P,): 0 for the patches of view 1, 1 for those of view 2."""
    if half:
        draw_subset(patches, patches // 2, VIEWS, sample, step, k0, k1, view)
    else:
        draw_coins(patches, VIEWS, sample, step, k0, k1, view)


def phi(kind, u):
    """The activation of that number at u = <w, X_p>."""
    if u <= 0.0 and not is_odd(kind):
        return 0.0 * u
    return power(kind, u)


def slope(kind, u):
    """Its derivative."""
    if u <= 0.0 and not is_odd(kind):
        return 0.0 * u
    return power_slope(kind, u)
