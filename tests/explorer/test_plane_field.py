"""The field beside a trajectory: exact rates, nullclines where they change sign, resting points by hand."""

from __future__ import annotations

import numpy as np
import pytest

import dynlab
from dynlab.explorer import panels, plane_field
from dynlab.explorer.explored import Explored


@pytest.fixture(
    scope="module", params=[{}, {"activation": "relu"}, {"head": "linear"}], ids=["cubic", "relu", "linear head"]
)
def moment(request):
    shown = panels.followed(Explored(**request.param))
    return plane_field.HeldMoment(shown, shown.nearest(0.55), shown.borrower)


def test_the_field_at_the_trajectory_is_its_velocity(moment):
    """By the dense gradient, whose weights have the noise parts' own angle."""
    signal, gram, neuron = moment.signal, moment.gram, moment.neuron
    weights = np.concatenate([signal, np.linalg.cholesky(gram)], axis=1)
    chosen = moment.chosen
    found = dynlab.training_gradient(chosen.model, chosen.training, weights, moment.head)
    rates = moment.rates(*signal[neuron][:, None])
    assert np.array(rates)[:, 0] == pytest.approx(-found[1][neuron, :2], rel=1e-9, abs=1e-300)
    assert abs(gram[0, 1]) > 1e-6 * np.sqrt(gram[0, 0] * gram[1, 1])  # noise parts at right angles would not be tested


def test_nullclines_are_where_the_rate_changes_sign(moment):
    field = plane_field.plane_field(moment)
    assert field.strong and field.weak and len(field.x) == plane_field.ARROWS**2
    step = 0.05 * field.reach
    for number, lines in enumerate((field.strong, field.weak)):
        line = max(lines, key=len)
        if len(line) < 5:
            continue  # the axis of degree 3 alone
        middle, along = line[len(line) // 2], line[len(line) // 2 + 1] - line[len(line) // 2 - 1]
        across = step * np.array([-along[1], along[0]]) / np.hypot(*along)
        sides = [moment.forces(*(middle + side * across)[:, None])[number][0] for side in (1.0, -1.0)]
        assert sides[0] * sides[1] < 0.0


def test_crossings_of_two_lines():
    square = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0]])
    flat = np.array([[-1.0, 0.5], [3.0, 0.5]])
    assert np.array(plane_field.crossings(square, flat)) == pytest.approx(np.array([[0.5, 0.5], [1.5, 0.5]]))
    assert plane_field.crossings(square, flat + 2.0) == []


class ByHand:
    """A field that is known: x' = first x, y' = second y; with "square" x' = x^2, of which one side comes and one goes."""

    def __init__(self, first, second):
        self.first, self.second = first, second

    def rates(self, x, y):
        x, y = np.asarray(x), np.asarray(y)
        return x**2 if self.first == "square" else self.first * x, self.second * y


@pytest.mark.parametrize(
    ("slopes", "kind"),
    [((-1.0, -2.0), "stable"), ((-1.0, 1.0), "saddle"), ((3.0, -1.0), "saddle"), ((1.0, 2.0), "unstable"),
     (("square", -1.0), "saddle")],
)  # fmt: skip
def test_kinds_of_a_resting_point(slopes, kind):
    lines = [np.array([[0.0, -1.0], [0.0, 1.0]])], [np.array([[-1.0, 0.0], [1.0, 0.0]])]
    empty = np.zeros(0)
    field = plane_field.PlaneField(0, 1.0, empty, empty, empty, empty, *lines)
    (point,) = plane_field.resting_points(ByHand(*slopes), field)
    assert (point.x, point.y, point.kind) == (0.0, 0.0, kind)


def test_hidden_units_have_no_field():
    chosen = Explored(activation="relu", hidden=4)
    assert plane_field.why_no_field(chosen).startswith("With hidden units") and plane_field.why_no_field(Explored()) == ""
