"""The method's table (order conditions, stability) and the closed-form Jacobian of the cubic pair."""

from __future__ import annotations

import math
import types

import mpmath
import numpy as np
import pytest

from dynlab import Model, OrderParameters
from dynlab.formulas import cubic_flow_rates, rodas5p
from dynlab.population import gradient
from tests.population.pair.checkers import apart, run


def table():
    a, c = np.zeros((8, 8)), np.zeros((8, 8))
    for i in range(8):
        a[i, :i], c[i, :i] = rodas5p.A[i], rodas5p.C[i]
    return a, c, np.array(rodas5p.H), rodas5p.GAMMA


def classical(a, c, gamma):
    """alpha, beta, Gamma for stages k_i = h f(y + sum alpha k) + h J sum Gamma k, with u = Gamma k."""
    big = np.linalg.inv(np.eye(8) / gamma - c)
    return a @ big, a @ big + big, big


def order_conditions(alpha, beta):
    """Elementary weights Phi(t) and densities by order: sum_i b_i Phi_i(t) = 1/density (Hairer & Wanner II, IV.7)."""
    s, v = alpha.sum(1), beta.sum(1)
    return {
        1: [(np.ones(8), 1)],
        2: [(v, 2)],
        3: [(s**2, 3), (beta @ v, 6)],
        4: [(s**3, 4), (s * (alpha @ v), 8), (beta @ s**2, 12), (beta @ (beta @ v), 24)],
        5: [
            (s**4, 5), (s**2 * (alpha @ v), 10), (s * (alpha @ s**2), 15), (s * (alpha @ (beta @ v)), 30),
            ((alpha @ v) ** 2, 20), (beta @ s**3, 20), (beta @ (s * (alpha @ v)), 40), (beta @ (beta @ s**2), 60),
            (beta @ (beta @ (beta @ v)), 120),
        ],
    }  # fmt: skip


def reaches_order(weights, conditions, order, theta=1.0):
    """Largest violation of the conditions up to `order`; of an interpolant: sum b(theta) Phi = theta^p/density."""
    return max(abs(weights @ phi - theta**p / density) for p in range(1, order + 1) for phi, density in conditions[p])


def test_orders_of_the_table():
    a, c, h, gamma = table()
    alpha, beta, big = classical(a, c, gamma)
    conditions = order_conditions(alpha, beta)
    last = a[7] + np.eye(8)[7]
    assert reaches_order(last @ big, conditions, 5) < 1e-10
    embedded = a[7] @ big  # without u_8, the error estimate
    assert reaches_order(embedded, conditions, 4) < 1e-10
    assert reaches_order(embedded, conditions, 5) > 1e-5, "the error estimate would vanish"
    for theta in (0.1, 0.35, 0.5, 0.8, 0.99):
        inside = theta * last + theta * (1 - theta) * (h[0] + theta * (h[1] + theta * h[2]))
        assert reaches_order(inside @ big, conditions, 4, theta) < 1e-10
    assert np.abs(np.diagonal(big) - gamma).max() < 1e-14
    # Stiffly accurate: the last rows repeat row 6 and append ones, so y_new = (point of stage 8) + u_8.
    assert (a[6, :5] == a[5, :5]).all() and (a[7, :5] == a[5, :5]).all() and (a[7, 5:7] == 1.0).all() and a[6, 5] == 1.0


def stability(z, a, c, gamma):
    """R(z): the factor of one step on y' = z y / h."""
    stages = np.zeros(8, complex)
    for i in range(8):
        stages[i] = (z * (1.0 + a[i] @ stages) + c[i] @ stages) / (1.0 / gamma - z)
    return 1.0 + a[7] @ stages + stages[7]


def test_stability():
    a, c, _, gamma = table()
    assert abs(stability(-1e10, a, c, gamma)) < 1e-8
    assert abs(stability(1e10j, a, c, gamma)) < 1e-8
    axis = np.concatenate([np.linspace(0, 30, 601), np.geomspace(30, 1e6, 100)])
    assert max(abs(stability(1j * y, a, c, gamma)) for y in axis) <= 1 + 1e-10  # A-stable: poles are on the right
    for z in (0.01, -0.02, 0.02j):
        assert abs(stability(z, a, c, gamma) - np.exp(z)) < 10 * abs(z) ** 6


def own_step(slope, jacobian, y, h):
    """One step of the table, written from the formulas in its docstring; (y_new, stages)."""
    a, c, _, gamma = table()
    matrix = np.eye(len(y)) / (h * gamma) - jacobian(y)
    stages = np.zeros((8, len(y)))
    for i in range(8):
        stages[i] = np.linalg.solve(matrix, slope(y + a[i] @ stages) + c[i] @ stages / h)
    return y + a[7] @ stages + stages[7], stages


def test_convergence_on_a_known_problem():
    """Predator and prey over one unit of time: the error falls like h^5 at the end and like h^4 or faster inside."""

    def slope(y):
        return np.array([y[0] * (1 - y[1]), y[1] * (y[0] - 1)])

    def jacobian(y):
        return np.array([[1 - y[1], -y[0]], [y[1], y[0] - 1]])

    def march(steps):
        y, h = np.array([1.5, 0.7]), 1.0 / steps
        for _ in range(steps):
            before = y
            y, stages = own_step(slope, jacobian, y, h)
        k = np.array(rodas5p.H) @ stages
        return y, 0.5 * (before + y + 0.5 * (k[0] + 0.5 * (k[1] + 0.5 * k[2])))

    exact = march(400)[0]
    errors = [np.abs(march(n)[0] - exact).max() for n in (4, 8, 16)]
    orders = np.log2(np.array(errors[:-1]) / errors[1:])
    assert (orders > 4.6).all() and (orders < 6.5).all(), orders
    # The middle of the last step, 1 - h/2, is a point of a march with twice as many steps and one fewer.
    middles = []
    for n in (4, 8):
        y, h = np.array([1.5, 0.7]), 0.5 / n / 20
        for _ in range(20 * (2 * n - 1)):
            y, _ = own_step(slope, jacobian, y, h)
        middles.append(np.abs(march(n)[1] - y).max())
    assert np.log2(middles[0] / middles[1]) > 3.8, middles


@pytest.mark.parametrize("activation", ["cubic", "relu3", "linear"])
def test_error_is_proportional_to_the_tolerance(activation):
    """Each tolerance a thousand times smaller makes the error at least fifty times smaller."""
    model = Model(weak=0.5, activation=activation)
    start = OrderParameters.sample(model, 40, np.random.default_rng(12))
    times = np.array([0.5, 1.0]) if activation == "linear" else np.array([50.0, 200.0, 500.0])
    reference = run(model, start, 0.1, times, 1e-12)
    errors = [apart(run(model, start, 0.1, times, rtol), reference) for rtol in (1e-4, 1e-7, 1e-10)]
    assert errors[1] < errors[0] / 50 and errors[2] < errors[1] / 50, errors


def with_digits(module, name):
    """The function `name` of a module of formulas, its elementary functions replaced by mpmath's."""
    space = dict(vars(module))
    for key, value in vars(module).items():
        if isinstance(value, types.BuiltinFunctionType) and getattr(math, key, None) is value:
            space[key] = getattr(mpmath, key)
    for key, value in vars(module).items():
        if isinstance(value, types.FunctionType) and value.__module__ == module.__name__:
            space[key] = types.FunctionType(value.__code__, space, key, value.__defaults__)
    space["exponentials"] = exact_exponentials
    return space[name]


def exact_exponentials(z, out):
    """What `cubic_flow.exponentials` computes by polynomials, at any number of digits."""
    out[:6] = [mpmath.exp(x) for x in (z[0], z[1], z[2], z[3] + z[2] + z[1] - z[0], z[4], z[5])]
    out[6:8] = mpmath.expm1(2 * abs(z[6])), mpmath.expm1(3 * z[3])


def test_exponentials():
    """Two units in the last place, beside the rounding of the arguments, down to delta = 1e-15."""
    for z, _ in state_vectors(200, True, np.random.default_rng(9)):
        mine, exact = np.zeros(9), [0] * 9
        cubic_flow_rates.exponentials(z, mine)
        with mpmath.workdps(40):
            exact_exponentials([mpmath.mpf(float(x)) for x in z], exact)
        size = 1.0 + np.array([*np.abs(z[:3]), np.abs(z[:4]).sum(), *np.abs(z[4:6]), 2 * abs(z[6]), 3 * abs(z[3])])
        exact = np.array(exact[:8], float)
        assert (np.abs(mine[:8] - exact) <= 4.5e-16 * size * np.abs(exact)).all()


def state_vectors(count, extreme, rng):
    """Vectors (log|A_11|, log|A_12|, log|A_21|, delta, logs of norms, atanh c, E_12, E_21) and signs."""
    for _ in range(count):
        z = np.concatenate([rng.uniform(-2, 0.3, 3), rng.uniform(-1, 1, 1), rng.uniform(-1, 0.5, 2), rng.normal(size=3)])
        if extreme:
            z[:3] -= rng.choice([0.0, 3.0, 8.0], 3)
            z[3] = rng.choice([-1, 1]) * 10.0 ** rng.uniform(-12, 0)
            z[4:6] -= rng.choice([0.0, 6.0, 12.0], 2)
            z[6] *= rng.choice([0.0, 1.0, 10.0])
            z[7:] = rng.choice([-1, 1], 2) * 10.0 ** rng.uniform(-15, 0.5, 2)
        yield z, rng.choice([-1, 1], 4)


def at_digits(par, z, side):
    with mpmath.workdps(80):
        rates = with_digits(cubic_flow_rates, "cubic_pair_rates")
        base, step = [mpmath.mpf(float(x)) for x in z], mpmath.mpf(10) ** -30
        par = [mpmath.mpf(float(x)) for x in par]
        side = [int(s) for s in side]

        def slope(point):
            out = [0] * 9
            rates(par, point, side, out)
            return out

        columns = []
        for k in range(9):
            up, down = list(base), list(base)
            up[k] += step
            down[k] -= step
            columns.append([(a - b) / (2 * step) for a, b in zip(slope(up), slope(down), strict=True)])
        return np.array(slope(base), float), np.array(columns, float).T


def jacobian_error(jacobian, extreme):
    """Largest error of the closed form against differences at 80 digits, relative to its row's largest term."""
    rng, worst = np.random.default_rng(7), 0.0
    par = gradient.parameter_vector(Model(weak=0.3), 0.01)
    for z, side in state_vectors(12, extreme, rng):
        rates, jac = np.zeros(9), np.zeros((9, 9))
        jacobian(par, z, side, rates, jac)
        expected_rates, expected = at_digits(par, z, side)
        scale = np.abs(expected).max(1, keepdims=True) + np.abs(expected_rates)[:, None]
        worst = max(worst, (np.abs(jac - expected) / scale).max())
    return worst


@pytest.mark.parametrize("extreme", [False, True], ids=["ordinary", "extreme"])
def test_jacobian_of_the_cubic_pair(extreme):
    assert jacobian_error(cubic_flow_rates.cubic_pair_jacobian, extreme) < 1e-11


@pytest.mark.parametrize("entry", [(0, 0), (3, 3), (5, 8), (6, 5), (7, 3), (8, 8)])
def test_a_wrong_jacobian_is_caught(entry):
    def faulty(par, z, side, rates, jac):
        cubic_flow_rates.cubic_pair_jacobian(par, z, side, rates, jac)
        jac[entry] *= 1.001

    assert jacobian_error(faulty, extreme=False) > 1e-9


def test_cubic_rates_are_the_gradient():
    """The rates in logarithmic coordinates against dense gradients, by the chain rule."""
    model = Model(weak=0.6)
    par = gradient.parameter_vector(model, 0.2)
    for z, side in state_vectors(30, False, np.random.default_rng(8)):
        rates = np.zeros(9)
        cubic_flow_rates.cubic_pair_rates(par, z, side, rates)
        logs = np.array([z[0], z[1], z[2], z[3] + z[2] + z[1] - z[0]])
        signal = (side * np.exp(logs)).reshape(2, 2)
        n1, n2, c = np.exp(z[4]), np.exp(z[5]), np.tanh(z[6])
        noise = np.array([[n1, 0.0], [n2 * c, n2 / np.cosh(z[6])]])
        head = np.array([[1.0, z[7]], [z[8], 1.0]])
        _, d_weights, d_head = gradient.population_gradient(model, np.hstack([signal, noise]), head)
        growth = (-d_weights[:, :2] / signal).ravel()
        d_noise = -d_weights[:, 2:]
        norms = [d_noise[0] @ noise[0] / n1**2, d_noise[1] @ noise[1] / n2**2]
        dot = (d_noise[0] @ noise[1] + noise[0] @ d_noise[1]) / (n1 * n2)
        turn = (dot - c * sum(norms)) / (1 - c * c)
        expected = [*growth[:3], growth[3] - growth[2] - growth[1] + growth[0], *norms, turn]
        expected += [-0.2 * d_head[0, 1], -0.2 * d_head[1, 0]]
        np.testing.assert_allclose(rates, expected, rtol=1e-8, atol=1e-10 * np.abs(expected).max())
