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
MARGIN = 1.2  # on the estimated spectral radius
ITERATIONS = 30
CLOSE = 0.05  # relative change of the estimate at which the iteration ends


def stages_for(h, rho):
    """Number of stages that keeps a step of length h stable."""
    return max(2, 1 + int(sqrt(1.54 * h * rho + 1.0)))


def chebyshev_step(system, h, count, y, side, scratch, velocity, work, new, new_velocity):
    """One step of length h in `count` stages from y, whose velocity is given: fills new and new_velocity (n,).

    work (2, n): scratch.
    """
    n = len(y)
    older, old = work[0], work[1]
    w0 = 1.0 + DAMPING / (count * count)
    w1 = ratio_at_end(w0, count)
    b1 = 0.25 / (w0 * w0)  # T_2''/T_2'^2
    b_older = b1
    b_old = b1
    for i in range(n):
        older[i] = y[i]
        old[i] = y[i] + b1 * w1 * h * velocity[i]
    t_older, t_old = 1.0, w0
    d_older, d_old = 0.0, 1.0
    dd_older, dd_old = 0.0, 0.0
    a_old = 1.0 - b1 * w0
    for _ in range(2, count + 1):
        t = 2.0 * w0 * t_old - t_older
        d = 2.0 * w0 * d_old - d_older + 2.0 * t_old
        dd = 2.0 * w0 * dd_old - dd_older + 4.0 * d_old
        b = dd / (d * d)
        mu, nu, m = 2.0 * b * w0 / b_old, -b / b_older, 2.0 * b * w1 / b_old
        rates(system, old, side, scratch, new_velocity)
        for i in range(n):
            value = (1.0 - mu - nu) * y[i] + mu * old[i] + nu * older[i]
            value += m * h * (new_velocity[i] - a_old * velocity[i])
            older[i] = old[i]
            old[i] = value
        t_older, t_old, d_older, d_old, dd_older, dd_old = t_old, t, d_old, d, dd_old, dd
        b_older, b_old, a_old = b_old, b, 1.0 - b * t
    for i in range(n):
        new[i] = old[i]
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


def spectral_radius(system, y, side, scratch, velocity, scale, direction, work):
    """The largest rate of decay at y, with `MARGIN`, by power iteration from `direction` (n,), which it improves in place.

    In units of `scale`, so that the iteration sees relative changes. work (2, n): scratch.
    """
    n = len(y)
    point, moved = work[0], work[1]
    leave_out_held(system, y, direction)
    length = 0.0
    for i in range(n):
        length += (direction[i] / scale[i]) ** 2
    if not length > 0.0:
        for i in range(n):
            direction[i] = scale[i] if i % 2 == 0 else -scale[i]
        leave_out_held(system, y, direction)
        length = float(n)
    rho = 0.0
    for _ in range(ITERATIONS):
        small = 1e-6 / sqrt(length)
        for i in range(n):
            point[i] = y[i] + small * direction[i]
        rates(system, point, side, scratch, moved)
        length = 0.0
        for i in range(n):
            direction[i] = (moved[i] - velocity[i]) * 1e6
            length += (direction[i] / scale[i]) ** 2
        before = rho
        rho = sqrt(length)
        if not length > 0.0 or abs(rho - before) < CLOSE * rho:
            break
    return MARGIN * rho
