r"""Gradient flow under any `Training`, in coordinates in which it is tame, with time itself as one of them.

State vector z for m neurons and K features, in the coordinates of `dynlab.formulas.flow_rates` for the general layout:

    signals   m K      log|A_jl| for degree 2 and more (its sign can not change), A_jl for degree 1
    norms     m        log |w~_j|
    units     m * m    unit vectors u_j = w~_j/|w~_j| in a fixed basis of the span of the noise parts
    target    the same three again, if the target is a moving average: dw'/dt = target_rate (w - w') keeps w~' in that span
    head      the entries that train, row by row (off-diagonal: m (m - 1); linear, symmetric: m^2; else none)
    clock     log(t + t_0)

**Time as a coordinate.** The flow waits for d^2 units, jumps, and decays algebraically or relaxes exponentially for ever
after. The independent variable is the arc length tau of the orbit in (z, log(t + t_0)),

    dz/dtau = f/S,      dlog(t + t_0)/dtau = 1/(S (t + t_0)),      S^2 = |W f|^2 + 1/(t + t_0)^2,

so that a run costs what its orbit is long and as many units again as log time: there is no corner where a relaxation ends
(log time goes on), no end in a fixed point, and a jump shorter than the spacing of float64 at t costs nothing but arc.

With dL/dw~_p = R_p w~_p/|w~_p|^2 + sum_q D_pq (w~_q - its projection on w~_p) as in `dynlab.formulas.objective` and decay
lambda:  d log|w~_p|/dt = -R_p/|w~_p|^2 - lambda, du_p/dt = -sum_{q != p} D_pq (|w~_q|/|w~_p|) (u_q - (u_q.u_p) u_p), and for
the target d log|w~'|/dt = beta ((|w~|/|w~'|) u.u' - 1), du'/dt = beta (|w~|/|w~'|) (u - (u.u') u').
"""

from math import exp

from dynlab.formulas.activations import is_steep
from dynlab.formulas.components import HEAD_RATE
from dynlab.formulas.flow_rates import signal_of, unit_pair, unit_rates
from dynlab.formulas.head_rules import DIRECTCOPY, DIRECTPRED, trains
from dynlab.formulas.second_moments import VICREG
from dynlab.formulas.switched import AVERAGE, HEAD_RULE, OBJECTIVE, TARGET_RATE, WEIGHT_DECAY, switched_forces

# Logarithms below these have passed every rounding; what would fall for ever is slowed down, smoothly. The second is for
# degree 1: there the ratio of two norms enters the rates, and further apart rounding of the larger would move the smaller.
FADED, FADED_LINEAR = 60.0, 20.0
STEEP = 4.0


def block_size(m, features):
    """Coordinates of one set of weights: signals, norms and unit vectors."""
    return m * features + m + m * m


def head_start(m, features, choice):
    """Where the head's entries begin."""
    return block_size(m, features) * (2 if choice[AVERAGE] == 1 else 1)


def state_size(m, features, choice):
    """Number of coordinates, the clock included."""
    entries = 0
    for j in range(m):
        for r in range(m):
            if trains(choice[HEAD_RULE], j, r):
                entries += 1
    return head_start(m, features, choice) + entries + 1


def faded(kind, z):
    """Factor that slows a falling logarithm down (and is 1 to rounding where it is ordinary).

    Noise parts of degree 1 can reach 0 in finite time, like signals, at a rate that grows like their inverse.
    """
    if not is_steep(kind):
        if z.real < -3.0 * FADED_LINEAR:
            return 0.0 * z
        return 1.0 / (1.0 + exp(-STEEP * (z + FADED_LINEAR)))
    x = z / FADED
    x = x * x
    x = x * x
    x = x * x
    return 1.0 / (1.0 + x * x) if z.real < 0.0 else 1.0 + 0.0 * x


def switched_rates(system, z, side, scratch, rates):
    """dz/dt (n,) with the clock's exp(-z) last; returns the loss.

    system, scratch: records of `dynlab.population.any_training.records`. side (m K, 2 m K, or m K + m for VICReg): signs of
    the signals, 0 where held at a kink, and sides of the hinges (`dynlab.formulas.decorrelation`).
    """
    kind, m, features, par, choice, numbers = system
    (signal, sides, norm, dot, wedge, eps, goal, goal_sides, goal_norm, head, d_signal, d_noise, d_head, corner,
     work) = scratch  # fmt: skip
    block = block_size(m, features)
    read_weights(kind, m, features, z, 0, side, 0, signal, sides, norm)
    if choice[AVERAGE] == 1:
        read_weights(kind, m, features, z, block, side, m * features, goal, goal_sides, goal_norm)
        target = (goal, goal_sides, goal_norm)
    else:
        target = (signal, sides, norm)
    if choice[OBJECTIVE] == VICREG:
        for j in range(m):
            corner[0][j] = side[m * features + j]
    first = m * features + m
    for j in range(m):
        dot[j, j] = norm[j] * norm[j]
        for r in range(j):
            unit_pair(m, z, first + j * m, first + r * m, norm[j] * norm[r], j, r, dot, wedge, eps)
    entry = head_start(m, features, choice)
    rule = choice[HEAD_RULE]
    if rule != DIRECTPRED and rule != DIRECTCOPY:
        for j in range(m):
            for r in range(m):
                if trains(rule, j, r):
                    head[j, r] = z[entry]
                    entry += 1
    online = (signal, sides, norm, dot, wedge, eps, corner)
    loss = switched_forces(kind, m, features, par, choice, numbers, online, target, head, work, d_signal, d_noise, d_head)
    weights_rates(kind, m, features, numbers[WEIGHT_DECAY], z, signal, sides, norm, dot, d_signal, d_noise, rates)
    if choice[AVERAGE] == 1:
        target_rates(kind, m, features, numbers[TARGET_RATE], block, z, signal, goal, norm, goal_norm, rates)
    entry = head_start(m, features, choice)
    for j in range(m):
        for r in range(m):
            if trains(rule, j, r):
                rates[entry] = -par[HEAD_RATE] * d_head[j, r]
                entry += 1
    rates[entry] = exp(-z[entry])
    return loss


def read_weights(kind, m, features, z, start, side, side_start, signal, sides, norm):
    """Fill signals, their sides and the norms from the block of coordinates at `start`."""
    for j in range(m):
        for f in range(features):
            place = j * features + f
            sides[j, f] = side[side_start + place]
            signal[j, f] = signal_of(kind, z[start + place], side[side_start + place])
        norm[j] = exp(z[start + m * features + j])


def weights_rates(kind, m, features, decay, z, signal, sides, norm, dot, d_signal, d_noise, rates):
    """Rates of the online block."""
    base = m * features
    first = base + m
    for p in range(m):
        for f in range(features):
            place = p * features + f
            if is_steep(kind):
                rates[place] = (-d_signal[p, f] / signal[p, f] - decay) * faded(kind, z[place])
            elif sides[p, f] == 0:
                rates[place] = 0.0 * d_signal[p, f]
            else:
                rates[place] = -d_signal[p, f] - decay * signal[p, f]
        rates[base + p] = (-d_noise[p, p] / (norm[p] * norm[p]) - decay) * faded(kind, z[base + p])
        unit_rates(m, first, p, z, norm, dot, d_noise, rates)


def target_rates(kind, m, features, speed, block, z, signal, goal, norm, goal_norm, rates):
    """Rates of the target's block, a moving average of the online weights."""
    base = m * features
    first = base + m
    for p in range(m):
        for f in range(features):
            place = block + p * features + f
            behind = speed * (signal[p, f] - goal[p, f])
            rates[place] = behind / goal[p, f] * faded(kind, z[place]) if is_steep(kind) else behind
        cosine = 0.0 * norm[p]
        for i in range(m):
            cosine = cosine + z[first + p * m + i] * z[block + first + p * m + i]
        ratio = norm[p] / goal_norm[p]
        rates[block + base + p] = speed * (ratio * cosine - 1.0) * faded(kind, z[block + base + p])
        for i in range(m):
            place = block + first + p * m + i
            rates[place] = speed * ratio * (z[first + p * m + i] - cosine * z[place])
