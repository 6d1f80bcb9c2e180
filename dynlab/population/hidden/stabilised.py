r"""Steps for the long way to rest: an explicit method with as many stages as stability asks for, undecorated.

Runge-Kutta-Chebyshev of order 2 (Sommeijer, Shampine & Verwer, J. Comput. Appl. Math. 88, 1998). With s stages it is stable
for decays up to rate rho = 0.65 (s + 1)^2/h: the length of a step costs only its square root. With Chebyshev polynomials T_j
at w_0 = 1 + eps/s^2, eps = 2/13, w_1 = T_s'/T_s'', b_j = T_j''/T_j'^2 (b_0 = b_1 = b_2), a_j = 1 - b_j T_j:

    Y_0 = y,   Y_1 = y + b_1 w_1 h f(y)
    Y_j = (1 - mu - nu) y + mu Y_{j-1} + nu Y_{j-2} + m h (f(Y_{j-1}) - a_{j-1} f(y)),
          mu = 2 b_j w_0/b_{j-1},   nu = -b_j/b_{j-2},   m = 2 b_j w_1/b_{j-1}

and Y_s is the new state; its error is estimated by 4/5 (y - Y_s) + 2/5 h (f(y) + f(Y_s)). The spectral radius rho comes from
a power iteration on differences of f.
"""

from math import sqrt

from dynlab.population.hidden.rates import rates

DAMPING = 2.0 / 13.0
RADIUS_MARGIN = 1.2  # on the estimated spectral radius
POWER_TURNS = 30
CLOSE = 0.05  # relative change of the estimate at which the iteration ends
# Entries of rec: w_0, w_1, a and b of the stage before, T, T', T'' of the two before.
W0, W1, A_OLD, B_OLDER, B_OLD, T_OLDER, T_OLD, D_OLDER, D_OLD, DD_OLDER, DD_OLD = range(11)
RECURRENCES = 11


def stages_for(h, rho):
    """Number of stages that keeps a step of length h stable."""
    return max(2, 1 + int(sqrt(1.54 * h * rho + 1.0)))


def begin_chebyshev(h, count, y, velocity, work, rec):
    """The first two stages of a step of length h in `count` stages, into work, and the recurrences' numbers, into rec."""
    older, old = work[0], work[1]
    w0 = 1.0 + DAMPING / (count * count)
    w1 = ratio_at_end(w0, count)
    b1 = 0.25 / (w0 * w0)  # T_2''/T_2'^2
    for i in range(len(y)):
        older[i] = y[i]
        old[i] = y[i] + b1 * w1 * h * velocity[i]
    rec[W0], rec[W1], rec[A_OLD], rec[B_OLDER], rec[B_OLD] = w0, w1, 1.0 - b1 * w0, b1, b1
    rec[T_OLDER], rec[T_OLD], rec[D_OLDER], rec[D_OLD], rec[DD_OLDER], rec[DD_OLD] = 1.0, w0, 0.0, 1.0, 0.0, 0.0


def chebyshev_stage(h, y, velocity, there, work, rec):
    """From Y_{j-2}, Y_{j-1} in work, `there` being the velocity at the latter, to Y_{j-1}, Y_j."""
    older, old = work[0], work[1]
    w0, w1 = rec[W0], rec[W1]
    t = 2.0 * w0 * rec[T_OLD] - rec[T_OLDER]
    d = 2.0 * w0 * rec[D_OLD] - rec[D_OLDER] + 2.0 * rec[T_OLD]
    dd = 2.0 * w0 * rec[DD_OLD] - rec[DD_OLDER] + 4.0 * rec[D_OLD]
    b = dd / (d * d)
    mu, nu, m = 2.0 * b * w0 / rec[B_OLD], -b / rec[B_OLDER], 2.0 * b * w1 / rec[B_OLD]
    a_old = rec[A_OLD]
    for i in range(len(y)):
        value = (1.0 - mu - nu) * y[i] + mu * old[i] + nu * older[i]
        value += m * h * (there[i] - a_old * velocity[i])
        older[i] = old[i]
        old[i] = value
    rec[T_OLDER], rec[T_OLD], rec[D_OLDER], rec[D_OLD], rec[DD_OLDER], rec[DD_OLD] = (
        rec[T_OLD], t, rec[D_OLD], d, rec[DD_OLD], dd,
    )  # fmt: skip
    rec[B_OLDER], rec[B_OLD], rec[A_OLD] = rec[B_OLD], b, 1.0 - b * t


def chebyshev_step(system, h, count, y, side, scratch, velocity, work, rec, new, new_velocity):
    """One step of length h in `count` stages from y, whose velocity is given: fills new and new_velocity (n,).

    work (2, n), rec (RECURRENCES,): scratch.
    """
    begin_chebyshev(h, count, y, velocity, work, rec)
    for _ in range(2, count + 1):
        rates(system, work[1], side, scratch, new_velocity)
        chebyshev_stage(h, y, velocity, new_velocity, work, rec)
    for i in range(len(y)):
        new[i] = work[1, i]
    return rates(system, new, side, scratch, new_velocity)


def ratio_at_end(w0, count):
    """w_1 = T_s'(w_0)/T_s''(w_0)."""
    t_older, t_old = 1.0, w0
    d_older, d_old = 0.0, 1.0
    dd_older, dd_old = 0.0, 0.0
    for _ in range(2, count + 1):
        t = 2.0 * w0 * t_old - t_older
        d = 2.0 * w0 * d_old - d_older + 2.0 * t_old
        dd = 2.0 * w0 * dd_old - dd_older + 4.0 * d_old
        t_older, t_old, d_older, d_old, dd_older, dd_old = t_old, t, d_old, d, dd_old, dd
    return d_old / dd_old


def chebyshev_error(h, rtol, scale, y, new, velocity, new_velocity):
    """The largest error of the step in units of the tolerance; nan if anything is not finite."""
    worst = 0.0
    for i in range(len(y)):
        error = 0.8 * (y[i] - new[i]) + 0.4 * h * (velocity[i] + new_velocity[i])
        ratio = abs(error) / (rtol * scale[i])
        # A nan compares as false: it must stay.
        if not ratio <= worst:
            worst = ratio
    return worst


def leave_out_held(system, y, direction):
    """Leave noise parts that are held at 0 where they are: beside it their force is another one."""
    _, _, units, features, _, _, _ = system
    for h in range(units):
        at = units * features + h * units
        square = 0.0
        for i in range(at, at + units):
            square += y[i] * y[i]
        if square == 0.0:
            for i in range(at, at + units):
                direction[i] = 0.0


def begin_power(system, y, scale, direction):
    """Make a direction ready for the power iteration, in place; its length in units of scale, squared."""
    n = len(y)
    leave_out_held(system, y, direction)
    length = 0.0
    for i in range(n):
        length += (direction[i] / scale[i]) ** 2
    if not length > 0.0:
        for i in range(n):
            direction[i] = scale[i] if i % 2 == 0 else -scale[i]
        leave_out_held(system, y, direction)
        length = float(n)
    return length


def point_along(y, direction, length, point):
    """Fill point with the place beside y where the velocity is asked for."""
    small = 1e-6 / sqrt(length)
    for i in range(len(y)):
        point[i] = y[i] + small * direction[i]


def turn_direction(velocity, moved, scale, direction):
    """After an iteration: the new direction, by the velocities at y and beside it; its length squared."""
    length = 0.0
    for i in range(len(direction)):
        direction[i] = (moved[i] - velocity[i]) * 1e6
        length += (direction[i] / scale[i]) ** 2
    return length


def is_known(rho, before):
    """Whether the iteration may end with this estimate."""
    return not rho > 0.0 or abs(rho - before) < CLOSE * rho


def spectral_radius(system, y, side, scratch, velocity, scale, direction, work):
    """The largest rate of decay at y, with `RADIUS_MARGIN`, by power iteration from `direction` (n,), improved in place.

    In units of `scale`, so that the iteration sees relative changes. work (2, n): scratch.
    """
    length = begin_power(system, y, scale, direction)
    rho = 0.0
    for _ in range(POWER_TURNS):
        point_along(y, direction, length, work[0])
        rates(system, work[0], side, scratch, work[1])
        length = turn_direction(velocity, work[1], scale, direction)
        before = rho
        rho = sqrt(length)
        if is_known(rho, before):
            break
    return RADIUS_MARGIN * rho
