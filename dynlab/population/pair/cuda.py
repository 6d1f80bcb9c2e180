r"""Trajectories of the flow on a CUDA device: the sources of the CPU's solver, one trajectory a thread.

Two neurons and two features, any activation but the linear one, the paper's training (the layout `PAIR` of `formulas.flow`).

**No waiting for the slowest.** Trajectories differ in length. A thread takes `BURST` steps of its trajectory
(`integrate.advance`), then looks whether it has ended; if so it writes the results and takes the next start from a queue, a
counter that all threads share. So the lanes of a warp, which run one instruction at a time, all take steps, of whatever
trajectories, until the queue is empty. A trajectory does not know who else is computed: results do not depend on the launch.

Scratch is local memory (about 3.5 kB a thread), which the device interleaves so that the lanes' accesses lie side by side;
the matrix that each step factorises likewise (cubic), or it is in shared memory, interleaved (relu, relu3). Products and
sums are not contracted, so that results are the CPU's bits but for exp and log.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynlab.formulas import (
    activations,
    components,
    cubic_flow_rates,
    expansions,
    flow_rates,
    held_coordinates,
    lanewise,
    objective,
    pair,
    rectified_flow_rates,
    rectified_noise,
    rectified_tangents,
)
from dynlab.formulas.activations import CUBIC, RELU, RELU3
from dynlab.machine import gpu
from dynlab.machine.gpu import cuda
from dynlab.population import gradient
from dynlab.population.choices import closed_form
from dynlab.population.pair import at_rest, clock, events, integrate, kinks, solver, step_control
from dynlab.population.pair.events import REJECTED, STEPS
from dynlab.population.pair.flow import MAX_STEPS, FlowResult, by_units, layout_of, result_of, scales
from dynlab.population.scaling import in_strength_units
from dynlab.population.stepping import method_table
from dynlab.settings.activation_records import ACTIVATIONS

N, M, SIGNALS, CONTROLS = 9, 2, 4, step_control.CONTROLS  # coordinates; neurons and features; signals; entries of control
STAGES = (8, 9)
# Threads of a block: the matrices of 64 fit in the 48 KiB of shared memory that a kernel may have.
BLOCK = 8 if gpu.SIMULATED else 64
BURST = 1  # on an H200 250000 trajectories a second with 1, 148000 with 4, 104000 with 16
PER_PROCESSOR = 4  # blocks for each multiprocessor
ROOM = 100_000  # points of a trace
RUNNING = step_control.RUNNING
AXES = (0,) * N
CUBIC_FORM, RECTIFIED_FORM = (True, None, None), (None, True, None)  # of `solver.flow_rates` and of its Jacobian
float64, int64 = np.float64, np.int64

for _part in (expansions, activations, components, objective, pair, flow_rates):
    gpu.compile_module(_part)
gpu.compile_module(lanewise, inlined=("where", "anywhere", "taken", "two_to_the"))
gpu.compile_module(cubic_flow_rates, inlined=tuple(name for name in vars(cubic_flow_rates) if name != "cubic_pair_jacobian"))
for _part in (rectified_noise, held_coordinates, rectified_tangents, rectified_flow_rates):
    gpu.compile_module(_part)
gpu.compile_module(solver, inlined=("flow_rates", "rates_by", "factor", "choose_pivot", "substitute", "size", "log_signal"))
gpu.compile_module(clock, inlined=("log_speed", "elapsed"))
for _part in (kinks, events, at_rest, step_control):
    gpu.compile_module(_part)
_integrate = gpu.compile_module(integrate)
_begin, _advance = _integrate.begin, _integrate.advance


def _load(i, starts, z, side, arc, cap, tally, counts):
    """Start i, from global memory; nothing has happened yet."""
    for k in range(N):
        z[k] = starts[0][i, k]
        arc[k] = starts[2][i, k]
        cap[k] = starts[3][i, k]
    for k in range(SIGNALS):
        side[k] = starts[1][i, k]
        counts[k] = 0
    for k in range(3):
        tally[k] = 0.0


def _store(i, state, starts, results, z, side, tally, counts):
    """The end of trajectory i, over its start."""
    for k in range(N):
        starts[0][i, k] = z[k]
    for k in range(SIGNALS):
        starts[1][i, k] = side[k]
        results[4][i, k] = counts[k]
    for k in range(3):
        results[3][i, k] = tally[k]
    results[5][i] = state


_load, _store = gpu.inner(_load), gpu.inner(_store)


def _follow_queue(kind, matrix, form, pars, table, limits, starts, records, results, queue):
    """Take starts from the queue until it is empty; arguments as those of the kernels below."""
    z = cuda.local.array(N, float64)
    side = cuda.local.array(SIGNALS, int64)
    arc = cuda.local.array(N, float64)
    cap = cuda.local.array(N, float64)
    rates = cuda.local.array(N, float64)
    jac = cuda.local.array((N, N), float64)
    new_rates = cuda.local.array(N, float64)
    new_jac = cuda.local.array((N, N), float64)
    pivots = cuda.local.array(N, int64)
    stages = cuda.local.array(STAGES, float64)
    point = cuda.local.array(N, float64)
    new = cuda.local.array(N, float64)
    last = cuda.local.array(N, float64)
    normal = cuda.local.array(N, float64)
    clock = cuda.local.array(M, float64)
    charge0 = cuda.local.array(M, float64)
    charge1 = cuda.local.array(M, float64)
    floors = cuda.local.array(N, float64)
    control = cuda.local.array(CONTROLS, float64)
    tally = cuda.local.array(3, float64)
    counts = cuda.local.array(SIGNALS, int64)
    buffers = (
        rates, jac, new_rates, new_jac, matrix, pivots, stages, point, new, last, normal, clock, charge0, charge1, floors,
        control,
    )  # fmt: skip
    weights = (arc, cap)
    rtol, settle, max_steps, burst = limits
    times, at_times, trace_time, trace, per_step = records
    learnt, marks, snapshots = results[0], results[1], results[2]
    spare = (form, form, buffers)
    i = int64(0)
    idle = True
    while True:
        if idle:
            i = cuda.atomic.add(queue, 0, 1)
            if i >= len(starts[0]):
                return
            _load(i, starts, z, side, arc, cap, tally, counts)
        problem = ((kind, M, M, pars[starts[4][i]]), AXES, table, weights, (starts[5][i], rtol, settle, max_steps))
        noted = (learnt[i], marks[i], snapshots[i], tally, counts)
        if idle:
            state = _begin(problem, z, side, noted, spare)
            idle = False
        else:
            stop_at = min(counts[STEPS] + counts[REJECTED] + burst, max_steps)
            records = (times, at_times[i], trace_time, trace, per_step)
            state = _advance(problem, z, side, stop_at, records, noted, spare)
        if state != RUNNING:
            _store(i, state, starts, results, z, side, tally, counts)
            idle = True


_follow_queue = gpu.inner(_follow_queue, inline=True)


def _cubic(pars, table, limits, starts, records, results, queue):
    """Cubic trajectories.

    pars (G, ...): vectors of `gradient.parameter_vector`; table: `flow.method_table`; limits: (rtol, settle, largest number
    of steps, burst). For N trajectories: starts: (z (N, 9), overwritten by the ends, sides (N, 4), likewise, arc-length
    weights and error floors (N, 9), which of pars (N,), end times (N,)); records: (times (T,), states there (N, T, 9), times
    and points of the trace, points a step); results: (learnt, marks, snapshots, tally, counts, status) as in
    `flow.run_flow`. queue (1,): the next start.
    """
    matrices = cuda.shared.array((N, N, BLOCK), float64)
    matrix = matrices[:, :, cuda.threadIdx.x]
    _follow_queue(CUBIC, matrix, CUBIC_FORM, pars, table, limits, starts, records, results, queue)


def _cubic_local(pars, table, limits, starts, records, results, queue):
    """The same with the matrix in local memory: blocks of any size."""
    matrix = cuda.local.array((N, N), float64)
    _follow_queue(CUBIC, matrix, CUBIC_FORM, pars, table, limits, starts, records, results, queue)


def _relu(pars, table, limits, starts, records, results, queue):
    """relu trajectories."""
    matrices = cuda.shared.array((N, N, BLOCK), float64)
    matrix = matrices[:, :, cuda.threadIdx.x]
    _follow_queue(RELU, matrix, RECTIFIED_FORM, pars, table, limits, starts, records, results, queue)


def _relu3(pars, table, limits, starts, records, results, queue):
    """relu3 trajectories."""
    matrices = cuda.shared.array((N, N, BLOCK), float64)
    matrix = matrices[:, :, cuda.threadIdx.x]
    _follow_queue(RELU3, matrix, RECTIFIED_FORM, pars, table, limits, starts, records, results, queue)


CUBIC_SHARED, CUBIC_LOCAL = gpu.kernel()(_cubic), gpu.kernel()(_cubic_local)
# On an H200 the matrix in local memory is 12 % faster than in shared memory.
BY_KIND = {CUBIC: CUBIC_LOCAL, RELU: gpu.kernel()(_relu), RELU3: gpu.kernel()(_relu3)}


def missing(model, training, method: str = "flow") -> str | None:
    """What keeps an ensemble from running on a device, in words; None where nothing does."""
    if method != "flow":
        return f'method "{method}" of ensembles has no kernel'
    if model.layered:
        return "neurons with hidden units have no kernel"
    if layout_of(model) != flow_rates.PAIR or ACTIVATIONS[model.activation].kind not in BY_KIND:
        return f"kernels are for two neurons and two features, relu, cubic or relu3 (here: {model.activation})"
    if not closed_form(model, training):
        return "kernels are for the paper's training (head off-diagonal or none)"
    return None


@dataclass(frozen=True)
class Group:
    """Starts (N, 9), (N, 4) of one model with one head rate, to one end."""

    model: object
    starts: np.ndarray
    sides: np.ndarray
    head_rate: float
    until: float


def arguments(groups, *, rtol, settle, times=(), trace_points=0, max_steps=MAX_STEPS) -> tuple:
    """Host arrays of groups of one activation as the kernels take them (all but the queue); see `flow.run_flow`."""
    z = np.concatenate([group.starts for group in groups]).astype(np.float64)
    side = np.concatenate([group.sides for group in groups]).astype(np.int64)
    weights = [scales(group.model, group.starts, group.head_rate) for group in groups]
    arcs, caps = (np.concatenate(part) for part in zip(*weights, strict=True))
    sizes = [len(group.starts) for group in groups]
    which = np.repeat(np.arange(len(groups)), sizes)
    until = np.repeat([float(group.until) for group in groups], sizes)
    small = [in_strength_units(group.model) for group in groups]
    pars = np.array([gradient.parameter_vector(model, group.head_rate) for model, group in zip(small, groups, strict=True)])
    times, count = np.asarray(times, dtype=np.float64), len(z)
    room = ROOM if trace_points else 0
    records = times, np.full((count, len(times), N), np.nan), np.zeros(room), np.zeros((room, N)), int(trace_points)
    results = (
        np.full((count, M), -1.0), np.full((count, 3), -1.0), np.full((count, 3, N), np.nan), np.zeros((count, 3)),
        np.zeros((count, 4), np.int64), np.zeros(count, np.int64),
    )  # fmt: skip
    limits = float(rtol), bool(settle), int(max_steps), BURST
    return pars, method_table(), limits, (z, side, arcs, caps, which, until), records, results


def run_flow(model, starts, sides, *, head_rate, until, times=(), trace_points=0, **options) -> FlowResult:
    """`dynlab.population.pair.flow.run_flow` on the device; a trace for a single start only."""
    if trace_points and len(starts) != 1:
        raise ValueError("a trace is of one trajectory")

    def run(model, starts, sides, *, head_rate, until, times):
        group = Group(model, starts, sides, head_rate, until)
        return run_groups([group], trace_points=trace_points, times=times, **options)

    return by_units(model, starts, sides, run, head_rate=head_rate, until=until, times=times)


def run_groups(groups, **options) -> FlowResult:
    """The trajectories of all groups, one group after another in the arrays of the result; options as in `arguments`."""
    host = arguments(groups, **options)
    device = gpu.to_device(host)
    launch(BY_KIND[ACTIVATIONS[groups[0].model.activation].kind], len(host[3][0]), device)
    *_, (z, side, *_), (_, at_times, trace_time, trace, _), results = gpu.to_host(device)
    learnt, marks, snapshots, tally, counts, status = results
    return result_of(z, side, at_times, trace_time, trace, learnt, marks, snapshots, tally, counts, status)


def launch(kernel, count, device, block=BLOCK, per_processor=PER_PROCESSOR) -> None:
    """Run a kernel on arguments that are on the device: so many threads as there are trajectories, at most
    `per_processor` blocks for each multiprocessor, which share the queue."""
    blocks = min(gpu.blocks_for(count, block), per_processor * gpu.processors())
    queue = gpu.to_device(np.zeros(1, np.int64))
    kernel[blocks, block](*device, queue)


def _examples() -> tuple:
    from dynlab.settings.model import Model

    state = np.zeros((5, N)), np.ones((5, SIGNALS), np.int64)
    host = arguments([Group(Model(), *state, 0.01, 1.0)], rtol=1e-6, settle=True)
    return (*host, np.zeros(1, np.int64))


KERNELS = {
    "flow_cubic": (CUBIC_LOCAL, _examples), "flow_cubic_shared": (CUBIC_SHARED, _examples),
    "flow_relu": (BY_KIND[RELU], _examples), "flow_relu3": (BY_KIND[RELU3], _examples),
}  # fmt: skip
