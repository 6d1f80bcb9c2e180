"""Numbers with tangents: each operation, and Jacobians of the flow, against complex steps and differences at many digits.

The oracles run the undecorated formulas in Python, where nothing of the compiled numbers is left.
"""

from __future__ import annotations

import cmath
import math
from types import FunctionType, SimpleNamespace

import mpmath
import numpy as np
import pytest

from dynlab import Model, register_activation
from dynlab.formulas import activations, components, expansions, flow_rates, objective, pair
from dynlab.machine import jit
from dynlab.machine.tangents import TANGENT_ENTRIES, seed, with_tangents
from dynlab.population import gradient
from dynlab.population.pair import flow, solver
from dynlab.settings.activation_records import ACTIVATIONS

MODULES = expansions, activations, components, objective, pair, flow_rates, solver
FUNCTIONS = ("sqrt", "exp", "tanh", "cosh", "atan", "expm1", "log")
_jacobian = jit.compiled(solver.flow_jacobian)


def plain_expm1(x):
    """expm1 of a complex number whose imaginary part is tiny."""
    return complex(math.expm1(x.real), x.imag * math.exp(x.real)) if isinstance(x, complex) else math.expm1(x)


COMPLEX = SimpleNamespace(**{name: getattr(cmath, name, plain_expm1) for name in FUNCTIONS}, pi=math.pi)


def in_arithmetic(library):
    """`solver.other_rates`, undecorated, with the elementary functions of `library`."""
    numeric = {getattr(math, name): getattr(library, name) for name in FUNCTIONS}
    known: dict = {}
    for module in MODULES:
        made = jit.rebuild(module, known, numeric, lambda clone, name: clone)
        for function in vars(made).values():
            if "pi" in function.__globals__:
                function.__globals__["pi"] = library.pi
    return made.other_rates


def scratch_of(m, features, kind):
    """Arrays of Python objects for the general layout; None for the pair's."""
    if (m, features) == (2, 2):
        return None, None
    shapes = ((m, features), None, (m,), (m, m), (m, m), (m, m), (m, m), (m, features), (m, m), (m, m))
    geometry = tuple(np.zeros(s, kind) if s else np.zeros((m, features), np.int64) for s in shapes)
    return geometry, tuple(np.zeros(s, kind) for s in objective.workspace_sizes(m, features))


def by_complex_step(system, z, side):
    rates, n = in_arithmetic(COMPLEX), len(z)
    columns = np.zeros((n, n))
    for k in range(n):
        point, out = [complex(x) for x in z], [0j] * n
        point[k] += 1e-30j
        rates(system, point, side, *scratch_of(*system[1:3], object), out)
        columns[:, k] = [x.imag * 1e30 for x in out]
    return np.array([x.real for x in out]), columns


def by_many_digits(system, z, side):
    with mpmath.workdps(80):
        rates, n, step = in_arithmetic(mpmath), len(z), mpmath.mpf(10) ** -30
        system = (*system[:3], [mpmath.mpf(float(x)) for x in system[3]])

        def slope(k, change):
            point, out = [mpmath.mpf(float(x)) for x in z], [0] * n
            point[k] += change
            rates(system, point, side, *scratch_of(*system[1:3], object), out)
            return out

        both = [(slope(k, step), slope(k, -step)) for k in range(n)]
        columns = [[(a - b) / (2 * step) for a, b in zip(up, down, strict=True)] for up, down in both]
        return np.array(slope(0, 0), float), np.array(columns, float).T


@jit.kernel
def jacobian_kernel(kind, m, features, par, z, side, scratch, twins, rates, jac):
    _jacobian((kind, m, features, par), z, side, scratch, twins, rates, jac)


def compiled(model, z, side):
    """Rates and Jacobian as the solver takes them."""
    n = len(z)
    rates, jac, system = np.zeros(n), np.zeros((n, n)), system_of(model)
    jacobian_kernel(*system, z, side, *flow._scratch(model, n), rates, jac)
    return rates, jac


def system_of(model):
    kind = ACTIVATIONS[model.activation].kind
    return kind, model.neurons, model.features, gradient.parameter_vector(model, 0.3)


def states(model, count, seed_of_draws, extreme=False):
    """State vectors and sides; relu's signals on both sides of the kink and held at it."""
    rng = np.random.default_rng(seed_of_draws)
    m, cut = model.neurons, model.neurons * model.features
    n = cut + m + (1 if cut == m + 2 == 4 else m * m) + m * (m - 1)
    for _ in range(count):
        z, side = rng.normal(size=n) * 0.7, rng.choice([-1, 1], cut)
        if ACTIVATIONS[model.activation].degree == 1:
            side[rng.random(cut) < 0.2] = 0
            z[:cut] = side * np.abs(z[:cut]) * 10.0 ** -rng.uniform(0, 4 if extreme else 1, cut)
        if extreme:
            z[cut : cut + m] -= rng.choice([0.0, 3.0, 9.0], m)
            z[n - m * (m - 1) :] *= 10.0 ** -rng.uniform(0, 10, m * (m - 1))
            z[6] *= 1.0 if m > 2 else rng.choice([1.0, 10.0])
        yield z, side


def error(model, found, right, side):
    """Largest error of the columns, of their row's largest entry; columns of signals held at their kink are 0."""
    for k in np.flatnonzero(side == 0) if model.activation == "relu" else ():
        assert (found[1][:, k] == 0.0).all()
        right[1][:, k] = 0.0
    assert np.isfinite(found[1]).all()
    scale = np.abs(right[1]).max(1, keepdims=True) + np.abs(right[0])[:, None] + 1e-300  # rows of held signals are 0
    return max((np.abs(found[1] - right[1]) / scale).max(), (np.abs(found[0] - right[0])[:, None] / scale).max())


PAIRS = [Model(activation=name, weak=0.6) for name in ("relu", "relu3", "linear")]
WIDE = [
    Model(activation="relu", neurons=3, strengths=(1.0, 0.6)), Model(neurons=3, strengths=(1.0, 0.7, 0.4)),
    Model(activation="relu3", neurons=1, strengths=(1.0, 0.5)),
]  # fmt: skip


def registered():
    register_activation("relu2", lambda z: max(0.0, z) ** 2, degree=2)
    register_activation("quintic", lambda z: z**5, degree=5)
    return [Model(activation=name, weak=0.6) for name in ("relu2", "quintic")]


@pytest.mark.parametrize("extreme", [False, True], ids=["ordinary", "extreme"])
def test_columns_of_the_pair_are_complex_steps(extreme):
    for model in (*PAIRS, *registered()):
        for z, side in states(model, 40, 3, extreme):
            right = by_complex_step(system_of(model), z, side)
            assert error(model, compiled(model, z, side), right, side) < 1e-13, (model.activation, z, side)


def test_columns_of_the_pair_at_many_digits():
    for model in PAIRS:
        for z, side in states(model, 6, 4):
            right = by_many_digits(system_of(model), z, side)
            assert error(model, compiled(model, z, side), right, side) < 1e-13, (model.activation, z, side)


@pytest.mark.parametrize("model", WIDE, ids=lambda model: f"{model.activation}-{model.neurons}")
def test_columns_of_the_general_layout(model):
    """24, 27 and 4 coordinates: as many as fill passages, and others."""
    for z, side in states(model, 4, 5):
        right = by_complex_step(system_of(model), z, side)
        assert error(model, compiled(model, z, side), right, side) < 1e-13, (z, side)


def test_a_wrong_column_is_caught():
    model = PAIRS[0]
    z, side = next(states(model, 1, 3))
    right = by_complex_step(system_of(model), z, side)
    rates, jac = compiled(model, z, side)
    k = int(np.flatnonzero(side)[0])
    jac[8, k] += 1e-12 * np.abs(jac[8]).max()
    assert error(model, (rates, jac), right, side) > 1e-13


OPERATIONS = {
    "x+y": lambda x, y: x + y, "x-y": lambda x, y: x - y, "x*y": lambda x, y: x * y, "x/y": lambda x, y: x / y,
    "x+2": lambda x, y: x + 2, "2+x": lambda x, y: 2 + x, "x-2.5": lambda x, y: x - 2.5, "2.5-x": lambda x, y: 2.5 - x,
    "3*x": lambda x, y: 3 * x, "x*0.3": lambda x, y: x * 0.3, "x/3": lambda x, y: x / 3, "3/x": lambda x, y: 3 / x,
    "-x": lambda x, y: -x, "x**2.5": lambda x, y: x**2.5, "x**3": lambda x, y: x**3,
    "a branch": lambda x, y: x if x.real > y.real else 1.5,
    "sqrt": lambda x, y: sqrt(x), "exp": lambda x, y: exp(x), "expm1": lambda x, y: expm1(x), "log": lambda x, y: log(x),
    "tanh": lambda x, y: tanh(x), "cosh": lambda x, y: cosh(x), "atan": lambda x, y: atan(x),
}  # fmt: skip
sqrt, exp, expm1, log, tanh, cosh, atan = np.sqrt, np.exp, np.expm1, np.log, np.tanh, np.cosh, np.arctan


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation(name):
    """Values are float64's own bits; derivatives are those of the operation, in all nine directions."""
    operation = jit.inner(OPERATIONS[name])

    @jit.inner
    def both(point, rows, out, plain):
        seed(point, 0, rows)
        for k in range(1, TANGENT_ENTRIES):  # every direction carries both derivatives, weighted
            rows[0, k], rows[1, k] = k, 1.0 / k
        numbers = with_tangents((rows, out))
        numbers[1][0] = operation(numbers[0][0], numbers[0][1])
        plain[0] = operation(point[0], point[1])

    exact = FunctionType(OPERATIONS[name].__code__, vars(mpmath))
    for point in np.random.default_rng(1).uniform(0.2, 3.0, (20, 2)):
        rows, out, plain = np.zeros((2, TANGENT_ENTRIES)), np.zeros((1, TANGENT_ENTRIES)), np.zeros(1)
        both(point, rows, out, plain)
        assert out[0, 0] == plain[0]
        with mpmath.workdps(30):
            x, y = (mpmath.mpf(float(v)) for v in point)
            slopes = [float(mpmath.diff(exact, (x, y), order)) for order in ((1, 0), (0, 1))]
        k = np.arange(1, TANGENT_ENTRIES)
        expected, size = slopes[0] * k + slopes[1] / k, np.abs(slopes[0]) * k + np.abs(slopes[1]) / k
        assert (np.abs(out[0, 1:] - expected) <= 2e-15 * size + 1e-300).all()
