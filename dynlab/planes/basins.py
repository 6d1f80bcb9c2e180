"""Exact trajectories of the whole system from points of a plane: which end state each reaches, and the way there."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, as_completed

import numpy as np

from dynlab.planes.plane import Plane
from dynlab.population.moments import MERGED, output_rank
from dynlab.population.outcomes import squared_cosines
from dynlab.population.pair import flow
from dynlab.population.pair.phases import END_STATES, MARGIN
from dynlab.population.status import STATUS_NAMES, SUCCESS

CHUNK = 64  # trajectories a task; results do not depend on it


def plane_end_states(model, signal, gram, failed) -> np.ndarray:
    """Numbers (N,) in `END_STATES` of signals (N, 2, 2), noise Gram (N, 2, 2), as `dynlab.population.pair.phases` defines
    them.

    failed (N,): whether the run did not come to its end.

    Squared cosines are taken within the span of the features: a neuron whose noise goes last is on its feature.
    """
    near = squared_cosines(model, signal, np.zeros((len(signal), 2, 2))) > 1.0 - MARGIN
    found = np.full(len(signal), END_STATES.index("mixed"))
    one = output_rank(model, signal, gram) < MERGED
    found[one] = END_STATES.index("merged")
    found[one & near[:, 0, 0] & near[:, 1, 0]] = END_STATES.index("collapsed on strong")
    found[one & near[:, 0, 1] & near[:, 1, 1]] = END_STATES.index("collapsed on weak")
    found[(near[:, 0, 0] & near[:, 1, 1]) | (near[:, 0, 1] & near[:, 1, 0])] = END_STATES.index("diverse")
    found[failed] = END_STATES.index("failed")
    return found


def encoded(plane: Plane, x, y):
    """Starts (N, n), sides (N, m K) of the flow at points (N,), and whether (N,) there is such a state."""
    signal, norm, head, inside = plane.states(x, y)
    gram = norm[:, :, None] ** 2 * np.eye(2)
    return *flow.encode_arrays(plane.model, signal, gram, head), inside


def basins(plane: Plane, count: int, *, until: float, rtol: float = 1e-6, threads: int = 1, progress=None) -> np.ndarray:
    """End states (count, count) reached from the centres of equal cells, y along the first axis; -1 outside the plane.

    The whole system moves, the head at the plane's rate, until it rests or until the time `until`.
    """
    mesh = np.meshgrid(plane.x.centres(count), plane.y.centres(count))
    z, side, inside = encoded(plane, *mesh)
    rows = np.flatnonzero(inside)
    found = np.full(count * count, -1)

    def task(some):
        result = flow.run_flow(
            plane.model, z[some], side[some], head_rate=plane.eta_head, until=until, rtol=rtol, settle=True
        )
        failed = np.array([STATUS_NAMES[code] not in SUCCESS for code in result.status.tolist()])
        signal, gram, _ = flow.decode(plane.model, result.end, result.side)
        return some, plane_end_states(plane.model, signal, gram, failed)

    done = 0
    with ThreadPoolExecutor(threads) as pool:
        tasks = [pool.submit(task, rows[i : i + CHUNK]) for i in range(0, len(rows), CHUNK)]
        try:
            for finished in as_completed(tasks):
                some, states = finished.result()
                found[some] = states
                done += len(some)
                if progress is not None:
                    progress(done, len(rows))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found.reshape(count, count)


def trajectories(plane: Plane, count: int, *, until: float, rtol: float = 1e-6) -> list:
    """Exact trajectories [(times (P,), coordinates {name: (P,)})] from about `count` points spread over the plane."""
    wide = max(1, round(count**0.5))
    mesh = np.meshgrid(plane.x.centres(wide), plane.y.centres(wide))
    z, side, inside = encoded(plane, *mesh)
    found = []
    for i in np.flatnonzero(inside):
        result = flow.run_flow(
            plane.model, z[i : i + 1], side[i : i + 1], head_rate=plane.eta_head, until=until, rtol=rtol, settle=True,
            trace_points=1,
        )  # fmt: skip
        states = np.concatenate([z[i : i + 1], result.trace, result.end])
        signal, gram, head = flow.decode(plane.model, states, result.side)
        values = {f"w{j + 1}{l + 1}": signal[:, j, l] for j in range(2) for l in range(2)}
        values |= {"E12": head[:, 0, 1], "E21": head[:, 1, 0]}
        values |= {f"s{j + 1}": np.sqrt(gram[:, j, j]) for j in range(2)}
        found.append((np.concatenate([[0.0], result.trace_time, result.time]), values))
    return found
