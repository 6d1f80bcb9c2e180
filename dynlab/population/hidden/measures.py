"""What is read off a state on its way: sizes, speeds, conserved quantities, what outputs carry. Undecorated."""

from math import sqrt

from dynlab.formulas.activations import degree_of, is_odd
from dynlab.formulas.components import NOISE_PATCHES, SAME
from dynlab.formulas.hidden_units import target_moment
from dynlab.population.moments import LEARNT

# Entries of tally: largest head entry, its time, end time, drift of the conserved quantities, loss, time of a round or 0,
# row of the largest head entry.
HEAD_PEAK, PEAK_TIME, ENDED, DRIFTED, LOSS, PERIOD, PEAK_ROW = range(7)
READOUT_FLOOR, NOISE_FLOOR = 0.1, 1e-5
SIGNAL_FLOOR = 1e-2  # of the largest signal of the same feature: the units' forces mix them all


def greatest_size(values, first, last):
    """The largest |values_i|, first <= i < last."""
    most = 0.0
    for i in range(first, last):
        most = max(most, abs(values[i]))
    return most


def largest_of_feature(system, y, f):
    """The largest |A_hf| of all units."""
    features = system[3]
    most = 0.0
    for h in range(system[2]):
        most = max(most, abs(y[h * features + f]))
    return most


def error_scales(system, y, caps, out):
    """Fill out with the scale of each coordinate's error. caps: floors of signals, of the units' sizes, of head entries."""
    _, m, units, features, _, _, _ = system
    signal_floor, head_floor = caps
    at = units * features
    for f in range(features):
        floor = signal_floor + SIGNAL_FLOOR * largest_of_feature(system, y, f)
        for i in range(f, at, features):
            out[i] = abs(y[i]) + floor
    for h in range(units):
        noise = 0.0
        for i in range(units):
            noise += y[at + i] * y[at + i]
        size = sqrt(unit_square(units, features, y, h))
        for i in range(units):
            out[at + i] = sqrt(noise) + NOISE_FLOOR * size
        at += units
    for _ in range(m):
        total = 0.0
        for h in range(units):
            total += y[at + h] * y[at + h]
        for h in range(units):
            out[at + h] = abs(y[at + h]) + READOUT_FLOOR * sqrt(total / units)
        at += units
    for _ in range(m * m):
        out[at] = abs(y[at]) + head_floor
        at += 1


def unit_square(units, features, y, h):
    """|w_h|^2"""
    total = 0.0
    for f in range(features):
        total += y[h * features + f] ** 2
    for i in range(units):
        total += y[units * features + h * units + i] ** 2
    return total


def fastest_change(system, y, velocity, scale, signal_floor):
    """Largest relative change of a coordinate per unit of time, as `Rest` in the solver's head says."""
    _, _, units, features, _, _, _ = system
    cut = units * features
    worst = 0.0
    for h in range(units):
        size = sqrt(unit_square(units, features, y, h))
        for f in range(features):
            i = h * features + f
            grows = y[i] * velocity[i] > 0.0
            worst = max(worst, abs(velocity[i]) / (abs(y[i]) + (signal_floor if grows else 1e-3 * size)))
        radial = 0.0
        moved = 0.0
        for i in range(cut + h * units, cut + (h + 1) * units):
            radial += y[i] * velocity[i]
            moved += velocity[i] * velocity[i]
        at = cut + h * units
        worst = max(worst, sqrt(moved) / (scale[at] if radial > 0.0 else size))
    for i in range(cut + units * units, len(y)):
        worst = max(worst, abs(velocity[i]) / scale[i])
    return worst


def conserved_of(system, y, out, size):
    """Fill out (M + m,) with the conserved quantities, size with what they are differences of; 0 where there is none.

    |w_h|^2/q - sum_r a_rh^2/r_a of every unit, and of every output the same with its head,
    sum_h a_jh^2/r_a + sum_r (E_jr^2 - E_rj^2)/r; where the readout does not train, sum_h |w_h|^2/q over its own units in
    place of the first term.
    """
    kind, m, units, features, _, used, speeds = system
    trains = speeds[0] > 0.0
    first = units * (features + units)
    head = first + m * units
    for h in range(units):
        out[h] = 0.0
        size[h] = 0.0
        if trains:
            out[h] = unit_square(units, features, y, h) / degree_of(kind)
            size[h] = out[h]
            for j in range(m):
                out[h] -= y[first + j * units + h] ** 2 / speeds[0]
                size[h] += y[first + j * units + h] ** 2 / speeds[0]
    for j in range(m):
        total = 0.0
        turned = 0.0
        lent = 0.0
        for h in range(units):
            if used[j, h]:
                part = y[first + j * units + h] ** 2 / speeds[0] if trains else unit_square(units, features, y, h)
                total += part if trains else part / degree_of(kind)
        for r in range(m):
            if r != j and speeds[1] > 0.0:
                turned += (y[head + j * m + r] ** 2 - y[head + r * m + j] ** 2) / speeds[1]
                lent += (y[head + j * m + r] ** 2 + y[head + r * m + j] ** 2) / speeds[1]
        out[units + j] = total + turned
        size[units + j] = total + lent


def drift_of(before, now, size):
    """The largest change of the conserved quantities, `conserved_of`, beside what they are differences of, then or now."""
    worst = 0.0
    for k in range(len(before)):
        if size[k] > 0.0:
            worst = max(worst, abs(now[k] - before[k]) / max(size[k], abs(before[k])))
    return worst


def carried_shares(system, scratch, carried):
    """Fill carried (m, K) with the share of each output's variance that each feature's sign carries (`hidden.moments`)."""
    kind, m, _, features, par, _, _ = system
    work = scratch[3]
    out_raw, out_mean, out_spread, out_cov = work[8], work[9], work[10], work[14]
    odd = is_odd(kind)
    count = features if odd else 2 * features
    for j in range(m):
        total = target_moment(odd, count, par, out_raw[j], out_mean[j], out_spread[j]) + par[NOISE_PATCHES] * out_cov[j, j]
        for f in range(features):
            answer = out_raw[j, f] if odd else 0.5 * (out_raw[j, 2 * f] - out_raw[j, 2 * f + 1])
            carried[j, f] = par[SAME] / features * answer * answer / total if total > 0.0 else 0.0


def online_left(system, scratch):
    """The least variance of an online output F_j = sum_r E_jr f_r beside sum_r E_jr^2 Var f_r, as in `output_left`."""
    kind, m, _, features, par, _, _ = system
    head, work = scratch[0][4], scratch[3]
    out_raw, out_mean, out_spread, out_cov, online = work[8], work[9], work[10], work[14], work[16]
    odd = is_odd(kind)
    count = features if odd else 2 * features
    last = count + 1
    least = 1.0
    for j in range(m):
        mean = 0.0
        spread = 0.0
        noise = 0.0
        whole = 0.0
        for i in range(last):
            online[i] = 0.0
        for r in range(m):
            for i in range(last):
                online[i] += head[j, r] * out_raw[r, i]
            mean += head[j, r] * out_mean[r]
            spread += head[j, r] * out_spread[r]
            for p in range(m):
                noise += head[j, r] * head[j, p] * out_cov[r, p]
            own = target_moment(odd, count, par, out_raw[r], out_mean[r], out_spread[r])
            whole += head[j, r] * head[j, r] * (own + par[NOISE_PATCHES] * out_cov[r, r])
        here = target_moment(odd, count, par, online, mean, spread) + par[NOISE_PATCHES] * noise
        if whole > 0.0:
            least = min(least, here / whole)
    return least


def output_left(system, scratch):
    """The least variance of an output beside sum_h a_jh^2 Var_h, what it were of units without correlations."""
    kind, m, units, features, par, _, _ = system
    readout, work = scratch[0][3], scratch[3]
    own, cov, out_raw, out_mean, out_spread, out_cov = work[4], work[6], work[8], work[9], work[10], work[14]
    odd = is_odd(kind)
    count = features if odd else 2 * features
    least = 1.0
    for j in range(m):
        here = target_moment(odd, count, par, out_raw[j], out_mean[j], out_spread[j]) + par[NOISE_PATCHES] * out_cov[j, j]
        whole = 0.0
        for h in range(units):
            whole += readout[j, h] * readout[j, h] * (own[h] + par[NOISE_PATCHES] * cov[h, h])
        if whole > 0.0:
            least = min(least, here / whole)
    return least


def readout_lengths(system, y, out):
    """Fill out (m,) with |a_j|."""
    _, m, units, features, _, _, _ = system
    at = units * (features + units)
    for j in range(m):
        total = 0.0
        for h in range(units):
            total += y[at + j * units + h] ** 2
        out[j] = sqrt(total)


def readout_left(system, y, lengths):
    """The least of |a_j| beside what it was, `lengths` (m,)."""
    _, m, units, features, _, _, _ = system
    at = units * (features + units)
    least = 1.0
    for j in range(m):
        total = 0.0
        for h in range(units):
            total += y[at + j * units + h] ** 2
        least = min(least, sqrt(total) / lengths[j])
    return least


def note(system, t, y, scratch, carried, events, tally):
    """Keep the time at which a feature is learnt first, and the head's largest entry: its size, time and row."""
    m, units, features = system[1], system[2], system[3]
    carried_shares(system, scratch, carried)
    for f in range(features):
        for j in range(m):
            if events[f] < 0.0 and carried[j, f] > LEARNT:
                events[f] = t
    at = units * (features + units) + m * units
    for j in range(m):
        for r in range(m):
            if r != j and abs(y[at + j * m + r]) > tally[HEAD_PEAK]:
                tally[HEAD_PEAK] = abs(y[at + j * m + r])
                tally[PEAK_TIME] = t
                tally[PEAK_ROW] = 1.0 * j
