"""dy/dt of the state of `dynlab.population.hidden.solver`: undecorated, compiled by `dynlab.population.hidden.flow`."""

from math import atan, pi, sqrt

from dynlab.formulas.hidden_units import hidden_forces
from dynlab.formulas.lanewise import where
from dynlab.formulas.rectified_units import rectified_unit_forces


def unpack(sizes, y, side, parts):
    """Spread the state over arrays signal, sides (M, K), rows (M, M), readout (m, M), head (m, m)."""
    m, units, features = sizes
    signal, sides, rows, readout, head = parts
    at = 0
    for h in range(units):
        for f in range(features):
            signal[h, f] = y[at]
            sides[h, f] = side[at]
            at += 1
    for h in range(units):
        for i in range(units):
            rows[h, i] = y[at]
            at += 1
    for j in range(m):
        for h in range(units):
            readout[j, h] = y[at]
            at += 1
    for j in range(m):
        for r in range(m):
            # Within a step the diagonal, which does not move, is 1 to rounding only.
            head[j, r] = y[at] if r != j else 1.0
            at += 1


def geometry_of(units, rows, unit_rows, geometry):
    """Fill norm (M,), dot, wedge, eps (M, M) from the noise parts; angles from |u - v| and |u + v|, exact at both ends."""
    norm, dot, wedge, eps = geometry
    for h in range(units):
        total = 0.0
        for i in range(units):
            total += rows[h, i] * rows[h, i]
        norm[h] = sqrt(total)
        dot[h, h] = total
        inverse = where(total > 0.0, 1.0 / norm[h], 0.0)
        for i in range(units):
            unit_rows[h, i] = rows[h, i] * inverse
        for k in range(h):
            near = 0.0
            far = 0.0
            for i in range(units):
                x = unit_rows[h, i] - unit_rows[k, i]
                z = unit_rows[h, i] + unit_rows[k, i]
                near += x * x
                far += z * z
            both = near + far
            size = norm[h] * norm[k]
            dot[h, k] = where(both > 0.0, size * (far - near) / both, 0.0)
            wedge[h, k] = where(both > 0.0, 2.0 * size * sqrt(near * far) / both, 0.0)
            eps[h, k] = where(near > 0.0, 2.0 * atan(sqrt(far / near)), pi)
            dot[k, h] = dot[h, k]
            wedge[k, h] = wedge[h, k]
            eps[k, h] = eps[h, k]


def rates(system, y, side, scratch, out):
    """dy/dt; leaves dL/dX_h (by which kinks are judged) and the outputs' moments in scratch. Returns the loss."""
    kind, m, units, features, par, _, _ = system
    parts, unit_rows, geometry, work, found = scratch
    signal, sides, rows, readout, head = parts
    unpack((m, units, features), y, side, parts)
    geometry_of(units, rows, unit_rows, geometry)
    loss = hidden_forces(kind, m, units, features, par, signal, sides, geometry, readout, head, work, found)
    velocity_by(system, rows, geometry, found, out)
    return loss


def rates_of_relu(system, y, side, scratch, out):
    """As `rates`, of relu, with numbers of any kind, side (M K,) included (`dynlab.formulas.rectified_units`)."""
    _, m, units, features, par, _, _ = system
    parts, unit_rows, geometry, work, found = scratch
    signal, sides, rows, readout, head = parts
    unpack((m, units, features), y, side, parts)
    geometry_of(units, rows, unit_rows, geometry)
    loss = rectified_unit_forces(m, units, features, par, signal, sides, geometry, readout, head, work, found)
    velocity_by(system, rows, geometry, found, out)
    return loss


def velocity_by(system, rows, geometry, found, out):
    """Fill out with dy/dt where the loss has the derivatives `found`."""
    _, m, units, features, _, used, speeds = system
    _, d_signal, d_noise, d_readout, d_head = found
    norm, dot = geometry[0], geometry[1]
    at = 0
    for h in range(units):
        for f in range(features):
            out[at] = -d_signal[h, f]
            at += 1
    for h in range(units):
        square = norm[h] * norm[h]
        own = d_noise[h, h]
        for k in range(units):
            if k != h:
                own -= d_noise[h, k] * dot[h, k]
        own = where(square > 0.0, own / square, 0.0)
        for i in range(units):
            value = own * rows[h, i]
            for k in range(units):
                if k != h:
                    value += d_noise[h, k] * rows[k, i]
            out[at + i] = -value
        at += units
    for j in range(m):
        for h in range(units):
            out[at] = -speeds[0] * d_readout[j, h] if used[j, h] else 0.0
            at += 1
    for j in range(m):
        for r in range(m):
            out[at] = -speeds[1] * d_head[j, r]
            at += 1
