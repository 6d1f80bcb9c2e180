"""Fields agree with the gradient, nullclines and fixed points are where rates vanish, basins are where flows end."""

import numpy as np
import pytest

import dynlab
from dynlab import Model, OrderParameters
from dynlab.planes.basins import basins, encoded, plane_end_states, trajectories
from dynlab.planes.plane import COORDINATES, Plane, Side, parse_side
from dynlab.population.any_training import stability
from dynlab.population.gradient import population_gradient
from dynlab.population.pair.phases import END_STATES
from dynlab.tools.checks import SettingError

CUBIC = Model()
HELD = {"w11": 0.8, "w12": 0.2, "w21": 0.3, "w22": -0.4, "E12": 0.1, "E21": 0.3, "s1": 0.5, "s2": 0.6}
DIVERSE = {"w11": 1.0, "w12": 0.0, "w21": 0.0, "w22": 1.0, "s1": 0.0, "s2": 0.0}


def plane(x, y, held=None, slaved=(), model=CUBIC, rate=0.01, reach=1.0):
    sides = (Side(name, 0.0 if name[0] == "s" else -reach, reach) for name in (x, y))
    given = {name: value for name, value in (HELD if held is None else held).items() if name not in (x, y, *slaved)}
    return Plane(model, rate, *sides, given, slaved)


def exact_rates(where, x, y):
    """Rates of all coordinates at one point, from the gradient of dense weights."""
    values = {name: part[0] for name, part in where.values(np.array([x]), np.array([y])).items()}
    head = where.states([x], [y])[2][0]
    weights = np.array(
        [[values["w11"], values["w12"], values["s1"], 0.0], [values["w21"], values["w22"], 0.0, values["s2"]]]
    )
    _, d_weights, d_head = population_gradient(where.model, weights, head)
    rates = {f"w{j + 1}{l + 1}": -d_weights[j, l] for j in range(2) for l in range(2)}
    rates |= {"E12": -where.eta_head * d_head[0, 1], "E21": -where.eta_head * d_head[1, 0]}
    return rates | {"s1": -d_weights[0, 2], "s2": -d_weights[1, 3]}


@pytest.mark.parametrize("activation", ["cubic", "relu", "relu3", "linear"])
@pytest.mark.parametrize("pair", [("w21", "w22"), ("E21", "w22"), ("s2", "E12"), ("w11", "s1")])
def test_rates_are_those_of_the_gradient(activation, pair):
    where = plane(*pair, model=Model(activation=activation))
    for x, y in ((0.31, 0.12), (0.7, 0.55)):
        expected = exact_rates(where, x, y)
        found = where.rates([x], [y])
        assert [part[0] for part in found[:2]] == pytest.approx([expected[name] for name in pair], rel=1e-9, abs=1e-14)
        if activation != "relu":
            rates, _ = where.linearised([x, y])
            assert rates == pytest.approx([expected[name] for name in pair], rel=1e-9, abs=1e-14)


def test_lengths_leave_the_rest_to_noise():
    where = plane("w21", "w22", {"w1": 1.2, "w2": 0.5})
    signal, norm, _, inside = where.states([0.3, 0.5, 0.3], [0.2, 0.2, -0.45])
    assert inside.tolist() == [True, False, False]
    assert norm[0, 1] ** 2 + (signal[0, 1] ** 2).sum() == pytest.approx(0.25)
    assert norm[0, 0] ** 2 + (signal[0, 0] ** 2).sum() == pytest.approx(1.44)
    assert np.isnan(where.rates([0.5], [0.2])[0]).all()


@pytest.mark.parametrize("model", [CUBIC, Model(activation="relu3"), Model(activation="linear", weak=0.6)])
def test_slaved_entries_are_at_rest(model):
    where = plane("w21", "w22", slaved=("E12", "E21"), model=model)
    x, y = np.array([[0.3, 0.2], [0.2, -0.6], [0.6, 0.7], [0.5, 0.6]]).T
    inside = where.states(x, y)[3]
    assert inside.sum() >= 2  # a response that agrees with nothing has no best head
    for rates in (exact_rates(where, *place) for place in zip(x[inside], y[inside], strict=True)):
        assert abs(rates["E12"]) < 1e-12 and abs(rates["E21"]) < 1e-12


def test_nullclines_are_where_rates_vanish():
    where = plane("w21", "w22", {"E21": 0.05})
    branches = where.nullclines()
    assert {name for name, _ in branches} == {"w21", "w22"}
    assert len(branches) >= 5  # the two axes, and curves that bend
    for name, column in (("w21", 0), ("w22", 1)):
        # A signal of degree 3 that is zero stays zero, whatever the sign of the force: exactly that line.
        assert any(at_rest == name and (line[:, column] == 0.0).all() for at_rest, line in branches)
    scale = np.nanmax(np.abs(where.rates(*np.meshgrid(*[np.linspace(-0.6, 0.6, 20)] * 2))[:2]))
    for name, line in branches:
        rates = where.rates(*line.T)[0 if name == "w21" else 1]
        assert np.nanmax(np.abs(rates)) < 0.02 * scale


@pytest.mark.parametrize("activation", ["cubic", "linear"])
def test_the_head_returns_at_the_diverse_state(activation):
    model = Model(activation=activation, weak=0.5)
    (point,) = plane("E12", "E21", DIVERSE, model=model).fixed_points()
    assert np.allclose(point.place, 0.0, atol=1e-12) and point.kind == "stable" and point.by == "eigenvalues"
    assert np.sort(point.eigenvalues.real) == pytest.approx(np.sort(stability.return_rates(model, 0.01)), rel=1e-9)


def test_slaving_eliminates():
    """With E_21 slaved, eigenvalues are those of the Schur complement, here against differences of the slaved field."""
    where = plane("w21", "s2", slaved=("E21",), model=Model(activation="linear", weak=0.6))
    at = np.array([0.3, 0.4])
    _, matrix = where.linearised([*at, *where._slaved_at(at)])
    step = 1e-5
    columns = [
        np.array(where.rates(*(at + step * e)[:, None])[:2]) - where.rates(*(at - step * e)[:, None])[:2] for e in np.eye(2)
    ]
    assert np.allclose(where._eliminate(matrix), np.hstack(columns) / (2 * step), rtol=1e-5, atol=1e-9)


def test_the_heads_equilibrium_at_given_weights():
    """On the two head entries there is one fixed point, stable, where both are slaved."""
    where = plane("E12", "E21", {"w11": 0.6, "w12": 0.5, "w21": 0.4, "w22": 0.7, "s1": 0.3, "s2": 0.4}, reach=8.0)
    (point,) = where.fixed_points()
    assert point.residual < 1e-12 and point.kind == "stable"
    best = plane("w21", "w22", {"w11": 0.6, "w12": 0.5, "s1": 0.3, "s2": 0.4}, slaved=("E12", "E21"))
    head = best.states([0.4], [0.7])[2][0]
    assert point.place == pytest.approx([head[0, 1], head[1, 0]], rel=1e-9)


def test_motion_tells_where_eigenvalues_do_not():
    """Noise alone (w_2 = 0) is left in every direction, by powers."""
    points = plane("w21", "w22", {"E21": 0.05}, reach=0.5).fixed_points()
    assert [(point.kind, point.by) for point in points] == [("unstable", "motion")]
    assert np.abs(points[0].place).max() == 0.0 and np.abs(points[0].eigenvalues).max() == 0.0


def test_on_a_kink_there_are_no_eigenvalues():
    """relu: w_2 = 0 is left, and near v_1 the other signal is held at its kink, where rates of both sides point to it."""
    where = plane(
        "w21", "w22", {"w1": 1.0, "w2": 1.0, "w11": 0.99, "w12": 0.01, "E21": 0.05}, model=Model(activation="relu")
    )
    points = where.fixed_points()
    assert any((np.abs(point.place) == 0.0).all() and point.kind == "unstable" for point in points)
    held = next(point for point in points if point.place[0] > 0.9)
    assert held.place[1] == 0.0 and held.kind == "stable" and held.by == "motion" and np.isnan(held.eigenvalues).all()
    rates = where.rates([held.place[0]] * 2, [1e-3, -1e-3])[1]
    assert rates[0] < 0.0 < rates[1]


def test_basins_are_where_single_runs_end():
    where = plane("w21", "w22", {"w11": 0.99, "w12": 0.01, "E21": 0.03}, reach=0.2)
    found = basins(where, 4, until=1e9)
    again = basins(where, 4, until=1e9, threads=2)
    assert (found == again).all() and found.min() >= 0
    for i, k in ((0, 0), (1, 3), (3, 2)):
        signal, norm, head, _ = where.states(where.x.centres(4)[k : k + 1], where.y.centres(4)[i : i + 1])
        start = OrderParameters(signal[0], np.diag(norm[0] ** 2), head[0])
        run = dynlab.simulate(CUBIC, start, eta_head=0.01, until=1e9)
        assert plane_end_states(CUBIC, run.signal[-1:], run.noise_gram[-1:], np.array([False]))[0] == found[i, k]
    assert {END_STATES[code] for code in np.unique(found)} >= {"diverse", "collapsed on strong"}


def test_outside_of_the_disc_there_is_nothing():
    found = basins(plane("w21", "w22", {}), 6, until=1e3)
    corners = found[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert (corners == -1).all() and found[2, 2] >= 0


def test_trajectories_start_on_the_plane_and_follow_the_field():
    where = plane("w21", "w22", {"E21": 0.05}, reach=0.5)
    paths = trajectories(where, 4, until=1e6)
    assert len(paths) == 4
    for times, values in paths:
        assert set(values) == set(COORDINATES) and times[0] == 0.0 and (np.diff(times) >= 0).all()
        x, y = values["w21"][0], values["w22"][0]
        assert (abs(x), abs(y)) == pytest.approx((0.25, 0.25)) and values["E21"][0] == 0.05
        k = int(np.searchsorted(np.abs(values["w21"] - x) + np.abs(values["w22"] - y), 1e-3)) or 1
        moved = np.array([values["w21"][k] - x, values["w22"][k] - y])
        rates = np.array([part[0] for part in where.rates([x], [y])[:2]])
        assert moved @ rates > 0.95 * np.linalg.norm(moved) * np.linalg.norm(rates)
    assert encoded(where, [0.1], [0.1])[2].all()


def test_sides_as_typed():
    assert parse_side("x", "w21") == Side("w21", -1.0, 1.0) and parse_side("y", "s2") == Side("s2", 0.0, 1.0)
    assert parse_side("x", "E21=-0.5:2") == Side("E21", -0.5, 2.0)
    with pytest.raises(SettingError, match="a range from a lower"):
        parse_side("x", "E21=2:1")
