r"""What one step of an optimiser does to one entry: parameter p, gradient g, rate, and what is remembered of it.

    SGD     v <- mu v + (g + decay p),                  p <- p - rate v        (Nesterov: g + decay p + mu v in place of v)
    Adam    a <- b_1 a + (1 - b_1) h,   s <- b_2 s + (1 - b_2) h^2,   h = g + decay p,
            p <- p - rate a^/(sqrt(s^) + eps),   a^ = a/(1 - b_1^t),   s^ = s/(1 - b_2^t)             (Kingma & Ba 2015)
    LARS    v <- mu v + rate ratio (g + decay p),       p <- p - v             (You, Gitman & Ginsburg 2017, algorithm 1)
            ratio = trust |p|/(|g| + decay |p|) over the tensor that the entry belongs to; clipped, rate ratio becomes
            min(rate, ratio), so that a tensor's own rate is never above the common one (Ginsburg's LARC)

Weight decay is added to the gradient in all of them ("coupled", as in torch.optim.SGD and torch.optim.Adam). AdamW's is not
(Loshchilov & Hutter 2019): it is a step of plain descent on decay |p|^2/2, p <- p - rate decay p, before Adam's without.
"""

from math import sqrt


def sgd(p, g, v, rate, decay, momentum, nesterov):
    """(p, v) after the step."""
    h = g + decay * p
    v = momentum * v + h
    if nesterov:
        return p - rate * (h + momentum * v), v
    return p - rate * v, v


def adam(p, g, a, s, rate, decay, keep_1, gain_1, keep_2, gain_2, root, eps):
    """(p, a, s) after step t; keep b_i, gain 1 - b_i; rate: the rate over 1 - b_1^t; root: sqrt(1 - b_2^t)."""
    h = g + decay * p
    a = keep_1 * a + gain_1 * h
    s = keep_2 * s + gain_2 * h * h
    return p - rate * a / (sqrt(s) / root + eps), a, s


def lars(p, g, v, scaled_rate, decay, momentum):
    """(p, v) after the step; scaled_rate: rate times ratio."""
    v = momentum * v + scaled_rate * (g + decay * p)
    return p - v, v


def trust_ratio(trust, weights, gradients, decay):
    """LARS's ratio from the norms of a tensor and of its gradient; 1 where either vanishes, for then it says nothing."""
    if weights > 0.0 and gradients > 0.0:
        return trust * weights / (gradients + decay * weights)
    return 1.0


def at_most(ratio, most):
    """The ratio, or `most` where it is more; what is not a number stays so."""
    return most if ratio > most else ratio
