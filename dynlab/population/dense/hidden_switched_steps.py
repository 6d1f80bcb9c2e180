"""The steps of `dynlab.population.dense.hidden_descent` under switches of `Training` that are not the paper's, compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from dynlab.machine import jit
from dynlab.population.any_training.hidden_gradient import hidden_switched_kernel
from dynlab.population.dense.dense_steps import project_rows
from dynlab.population.dense.hidden_steps import angles_between, keep_record, move_all, note_carried
from dynlab.population.hidden import measures

if TYPE_CHECKING:
    from dynlab.tools.types import Array


class HiddenSwitches(NamedTuple):
    """The switches: names and numbers as `formulas.switched` has them, the weights' decay, the target's rate, 0 where it has
    the online weights, and whether the readout trains."""

    choice: Array
    values: Array
    weight_decay: float
    target_rate: float
    trains: bool


class HiddenGoal(NamedTuple):
    """The target: weights (M, d), readout (m, M), then as in `HiddenPoint` signal, geometry and directions of the weights.

    Arrays of the online side where the target shares its weights.
    """

    weights: Array
    readout: Array
    signal: Array
    geometry: tuple
    directions: Array


def _see_switched(rules, switches, state, goal, point, spare):
    """Fill the point of the state, and the head where its rule makes it; return the loss."""
    kind, _, _, features, par, used, _ = rules.system
    project_rows(state.weights, rules.axes, point.signal, point.geometry[0])
    angles_between(state.weights, features, point.directions, point.geometry)
    if switches.target_rate > 0.0:
        project_rows(goal.weights, rules.axes, goal.signal, goal.geometry[0])
        angles_between(goal.weights, features, goal.directions, goal.geometry)
    found = (point.forces[1], point.forces[2], point.forces[3], point.forces[4])
    loss = hidden_switched_kernel(
        kind, par, (switches.choice, switches.values), (point.signal, point.geometry), (goal.signal, goal.geometry),
        (state.readout, goal.readout), state.head, (point.work, spare[0], spare[1], spare[2]), found,
    )  # fmt: skip
    d_readout = point.forces[3]
    for j in range(d_readout.shape[0]):
        for h in range(d_readout.shape[1]):
            if not used[j, h]:
                d_readout[j, h] = 0.0
            elif switches.trains:
                d_readout[j, h] += switches.weight_decay * state.readout[j, h]
    return loss


def _follow_behind(share, rows, behind):
    """behind += share (rows - behind)"""
    for j in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            behind[j, i] += share * (rows[j, i] - behind[j, i])


_see_switched, _follow_behind = jit.inner(_see_switched), jit.inner(_follow_behind)


@jit.kernel
def take_switched_hidden_steps(rules, switches, state, goal, point, spare, found, first, rates, begun, record_at):
    """`hidden_steps.take_hidden_steps` under these switches; begun: (time, records written) before them.

    spare: scratch of `hidden_switched.hidden_switched_forces` for the target's units, for outputs, and VICReg's corner.
    """
    time, recorded = begun
    if first == 0:
        found.tally[measures.LOSS] = _see_switched(rules, switches, state, goal, point, spare)
        note_carried(rules, 0.0, state, point, found)
    for n in range(len(rates)):
        step = first + n + 1
        move_all(rules, switches.weight_decay, step, rates[n], state, point)
        if switches.target_rate > 0.0:
            share = min(rates[n, 0] * switches.target_rate, 1.0)
            _follow_behind(share, state.weights, goal.weights)
            _follow_behind(share, state.readout, goal.readout)
        time += rates[n, 0]
        found.tally[measures.LOSS] = _see_switched(rules, switches, state, goal, point, spare)
        if not abs(found.tally[measures.LOSS]) < 1e300:
            return time, n + 1, recorded
        note_carried(rules, time, state, point, found)
        if recorded < len(record_at) and record_at[recorded] == step:
            keep_record(recorded, state, point, found)
            recorded += 1
    return time, len(rates), recorded
