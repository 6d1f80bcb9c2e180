"""Trajectories of a pair, eight abreast: bit by bit those of the solver of single ones, in any company."""

from __future__ import annotations

import numpy as np
import pytest

from dynlab import Model
from dynlab.machine import jit
from dynlab.machine.lanes import LANE_COUNT, in_lanes, lane_array
from dynlab.population import gradient
from dynlab.population.pair import events, flow, integrate, solver, step_control
from dynlab.population.starts import draw_starts
from dynlab.population.status import AT_REST, STATUS_NAMES, UNTIL
from dynlab.population.stepping import method_table
from dynlab.settings.activation_records import ACTIVATIONS

MODEL = Model()
# How long, so that single ones in Python do not take long; relu meets kinks by then.
FOLLOWED = {"cubic": (3e5, 1e9), "relu": (40.0,), "relu3": (1e7,)}
AXES = (0,) * 9
_factor, _substitute = jit.compiled(solver.factor), jit.compiled(solver.substitute)
OPTIONS = {"head_rate": 0.01, "until": 1e9, "rtol": 1e-6, "settle": True}
TRACES = ("trace_time", "trace")


@jit.kernel
def solve_in_lanes(matrix, order, b, out):
    matrices, orders, sides, solutions = in_lanes((matrix, order, b, out))
    _factor(AXES, matrices, orders)
    _substitute(AXES, matrices, orders, sides, solutions)


def starts(count, dim=1000, model=MODEL):
    signal, gram = draw_starts(model, dim, 3, np.arange(count), 1.0)
    return flow.encode_arrays(model, signal, gram, np.tile(np.eye(2), (count, 1, 1)))


def run(z, side, model=MODEL, **options):
    return flow.run_flow(model, z, side, **OPTIONS | options)


def assert_same(found, expected, rows=slice(None)):
    """All that is known of trajectories; `rows` of the second are those of the first."""
    for name, value in vars(expected).items():
        if name not in TRACES:
            np.testing.assert_array_equal(getattr(found, name), value[rows], err_msg=name)


def followed(z, side, times=(), trace_points=0, model=MODEL, **options):
    """(end, learnt, marks, snapshots, tally, counts, status) of one start by the undecorated `integrate`, in Python."""
    options = OPTIONS | options
    arcs, caps = flow.scales(model, z[None], options["head_rate"])
    system = ACTIVATIONS[model.activation].kind, 2, 2, gradient.parameter_vector(model, options["head_rate"])
    limits = options["until"], options["rtol"], options["settle"], options.get("max_steps", flow.MAX_STEPS)
    problem = system, (0,) * 9, method_table(), (arcs[0], caps[0]), limits
    spare = *flow._scratch(model, 9), flow._buffers(2, 9)
    noted = np.full(2, -1.0), np.full(3, -1.0), np.full((3, 9), np.nan), np.zeros(3), np.zeros(4, np.int64)
    at_times, trace_time, trace = np.full((len(times), 9), np.nan), np.empty(1000), np.empty((1000, 9))
    records = np.array(times), at_times, trace_time, trace, trace_points
    z, side = z.copy(), side.copy()
    state = integrate.begin(problem, z, side, noted, spare)
    if state == step_control.RUNNING:
        state = integrate.advance(problem, z, side, limits[3], records, noted, spare)
    traced = noted[4][events.TRACED]
    return z, side, *noted, state, at_times, trace_time[:traced], trace[:traced]


def assert_followed(found, i, single):
    end, side, learnt, marks, snapshots, tally, counts, state, at_times, _, _ = single
    learnt[learnt < 0.0], marks[marks < 0.0] = np.nan, np.nan
    expected = {
        "end": end, "side": side, "learnt": learnt, "marks": marks, "snapshots": snapshots, "peak": tally[0],
        "drift": tally[1], "time": tally[2], "steps": counts[0], "rejected": counts[1], "at_times": at_times,
    }  # fmt: skip
    for name, value in expected.items():
        np.testing.assert_array_equal(getattr(found, name)[i], value, err_msg=f"{name} of {i}")
    assert found.status[i] == (UNTIL if state == AT_REST else state)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("activation", "until"), [(name, until) for name, some in FOLLOWED.items() for until in some])
def test_a_lane_is_the_single_trajectory(activation, until):
    """Of eleven starts, with times that are recorded and a last one that is traced."""
    model = Model(activation=activation)
    z, side = starts(11, model=model)
    options = {"until": until, "times": [1.0, 3e-3 * until, 9e-3 * until], "model": model}
    found = run(z, side, **options, trace_points=2)
    for i in (0, 9, 10):
        single = followed(z[i], side[i], **options, trace_points=2)
        assert_followed(found, i, single)
    np.testing.assert_array_equal(found.trace_time, single[-2])
    np.testing.assert_array_equal(found.trace, single[-1])
    assert (found.steps > 30).any() and found.rejected.any() and np.isfinite(found.learnt).any()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_lane_that_gives_up_is_the_single_trajectory():
    z, side = starts(3)
    found = run(z, side, max_steps=60)
    assert_followed(found, 1, followed(z[1], side[1], max_steps=60))
    assert [STATUS_NAMES[code] for code in found.status] == ["steps"] * 3


def test_lanes_exchange_rows_each_for_itself():
    """Some need no exchange, others one in every column; one is not finite, one is singular."""
    rng = np.random.default_rng(5)
    matrices = rng.normal(size=(LANE_COUNT, 9, 9))
    matrices[::2] += 20.0 * np.eye(9)
    matrices[3], matrices[5, 2], matrices[7, 4, 4] = np.roll(20.0 * np.eye(9), 4, 0) + matrices[3], 0.0, np.nan
    b = rng.normal(size=(LANE_COUNT, 9))
    matrix, order, sides, out = lane_array(9, 9), lane_array(9), lane_array(9), lane_array(9)
    matrix[:], sides[:] = np.moveaxis(matrices, 0, -1), b.T
    solve_in_lanes(matrix, order, sides, out)
    exchanged = (order != np.arange(9)[:, None]).any(0)
    assert exchanged.tolist() == [False, True, False, True, False, True, False, True]
    for lane in range(LANE_COUNT):
        alone, places, solution = matrices[lane].copy(), np.zeros(9, np.int64), np.zeros(9)
        with np.errstate(all="ignore"):
            solver.factor(AXES, alone, places)
            solver.substitute(AXES, alone, places, b[lane], solution)
        np.testing.assert_array_equal(order[:, lane], places)
        np.testing.assert_array_equal(matrix[:, :, lane], alone)
        np.testing.assert_array_equal(out[:, lane], solution)
        if lane not in (5, 7):
            np.testing.assert_allclose(solution, np.linalg.solve(matrices[lane], b[lane]), rtol=1e-9)


def test_company_changes_no_bit():
    """Alone; in another order; twice in one register; beside what is not finite, or far shorter, or of another dimension."""
    z, side = starts(20)
    together = run(z, side)
    for i in (0, 7, 19):
        assert_same(run(z[i : i + 1], side[i : i + 1]), together, slice(i, i + 1))
    order = np.random.default_rng(0).permutation(20)
    assert_same(run(z[order], side[order]), together, order)
    twice = np.repeat(np.arange(20), 2)
    assert_same(run(z[twice], side[twice]), together, twice)
    other, signs = starts(20, dim=10)
    other[3], other[8, 2] = np.nan, np.inf
    mixed = run(np.concatenate([other, z]), np.concatenate([signs, side]))
    assert_same(mixed.part(20, 40), together)
    assert [STATUS_NAMES[code] for code in mixed.status[[3, 8]]] == ["not finite"] * 2


def test_lanes_are_filled_again_as_they_become_free():
    """Counted in calls of one round of steps each: not groups of eight that wait for their slowest."""
    z, side = starts(64)
    rounds = []

    def counted(*arguments):
        rounds.append(0)
        return kernel(*arguments)

    kernel, flow._abreast_flow_kernel = flow._abreast_flow_kernel, counted
    before, flow.BURST = flow.BURST, 81
    try:
        found = run(z, side)
    finally:
        flow._abreast_flow_kernel, flow.BURST = kernel, before
    attempts = found.steps + found.rejected
    in_groups = attempts.reshape(-1, 8).max(1).sum()
    assert attempts.sum() / 8 <= len(rounds) < 0.5 * (attempts.sum() / 8 + in_groups), (len(rounds), in_groups)
