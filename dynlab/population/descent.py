r"""Gradient descent on the order parameters: the exact map of one step, any number of times.

A step w <- w - eta dL/dw, E <- E - eta_E dL/dE with dL/dw~_p = sum_q D_pq w~_q maps

    A' = A - eta dL/dA,     w~' = (I - eta D) w~,  so  Q' = (I - eta D) Q (I - eta D)^T,     E' = E - eta_E dL/dE:

(for correlated features A' = A - eta (dL/dA) G, see `dynlab.population.order_parameters`):
discrete training is as exact as the flow, and its cost does not depend on the dimension either. The noise parts are
kept as m vectors in their own span, so that nearly parallel ones lose no digits in Q.
"""

from __future__ import annotations

import numpy as np

from dynlab.machine import jit
from dynlab.population import gradient, invariants, moments
from dynlab.population.order_parameters import OrderParameters
from dynlab.population.stepping import DOMINANT, FIRST, PEAK, SECOND
from dynlab.population.trajectory import Trajectory
from dynlab.settings.activation_records import ACTIVATIONS
from dynlab.tools.checks import SettingError

DEFAULT_STEPS = 200_000
MOST_STEPS = 10**12  # a day of computing each trajectory
RECORDS = 400  # default number of recorded steps, evenly spaced in log(step)
EMPTY = np.zeros(0, np.int64)


def steps_until(until: float, eta: float) -> int:
    """Number of steps of the learning rate eta that reach the time; SettingError for one that no number of steps reaches."""
    if not until / eta < MOST_STEPS:
        raise SettingError("until", until, f"less than {MOST_STEPS * eta:g}, which takes {MOST_STEPS:g} steps")
    return int(np.ceil(until / eta))


def noise_rows(gram: np.ndarray) -> np.ndarray:
    """m vectors (m, m) with the given Gram matrix."""
    values, vectors = np.linalg.eigh(gram)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def _geometry_of(rows, norm, dot, wedge, eps):
    """Norms, products, |w~_j||w~_r| sin and pi - angle of the noise parts rows (m, m); the sine without cancellation."""
    m = len(rows)
    for j in range(m):
        total = 0.0
        for i in range(m):
            total += rows[j, i] * rows[j, i]
        norm[j] = np.sqrt(total)
        dot[j, j] = total
        for r in range(j):
            product = 0.0
            for i in range(m):
                product += rows[j, i] * rows[r, i]
            # The sum of squared 2 x 2 minors (Lagrange's identity) does not cancel for nearly parallel rows.
            area = 0.0
            for i in range(m):
                for k in range(i + 1, m):
                    area += (rows[j, i] * rows[r, k] - rows[j, k] * rows[r, i]) ** 2
            dot[j, r] = dot[r, j] = product
            wedge[j, r] = wedge[r, j] = np.sqrt(area)
            eps[j, r] = eps[r, j] = np.arctan2(wedge[j, r], -product)


def _note_events(step, signal, to_axes, norm, head, marks, peak, shots, k, rows):
    """Times (in steps) and states of the first and second feature learnt and of the head's peak."""
    m, features = signal.shape
    for f in range(features):
        best = 0.0
        for j in range(m):
            total = norm[j] * norm[j]
            for i in range(features):
                part = signal[j, i]
                if len(to_axes) > 0:
                    part = 0.0
                    for l in range(i + 1):
                        part += to_axes[i, l] * signal[j, l]
                total += part * part
            best = max(best, signal[j, f] * signal[j, f] / total)
        if best > DOMINANT and not shots[3][k, f]:
            shots[3][k, f] = True
            row = FIRST if marks[FIRST] < 0.0 else SECOND
            if marks[row] < 0.0:
                _keep(row, step, signal, rows, head, marks, shots, k)
    largest = 0.0
    for j in range(m):
        for r in range(m):
            if r != j:
                largest = max(largest, abs(head[j, r]))
    if largest > peak[k]:
        peak[k] = largest
        _keep(PEAK, step, signal, rows, head, marks, shots, k)


def _keep(row, step, signal, rows, head, marks, shots, k):
    marks[row] = step
    shots[0][k, row] = signal
    shots[1][k, row] = rows
    shots[2][k, row] = head


_geometry_of, _keep = jit.inner(_geometry_of), jit.inner(_keep)
_note_events = jit.inner(_note_events)
_gradient = gradient.compiled.gradient


@jit.kernel
def _descent_kernel(kind, par, metric, states, eta, head_rate, steps, record_at, tally, shots, records, work):
    """Follow all states, signals (N, m, K), rows (N, m, n), heads (N, m, m), in place; tally: marks, peak, status, taken.

    metric: (G, R^-1) of correlated features, empty for orthonormal ones.
    """
    gram, to_axes = metric
    (signals, all_rows, heads), (marks, peak, status, taken) = states, tally
    count, m, features = signals.shape
    side = np.zeros((m, features), np.int64)
    norm, dot, wedge, eps = np.zeros(m), np.zeros((m, m)), np.zeros((m, m)), np.zeros((m, m))
    d_signal, d_noise, d_head = np.zeros((m, features)), np.zeros((m, m)), np.zeros((m, m))
    for k in range(count):
        signal, rows, head = signals[k], all_rows[k], heads[k]
        next_record = 0
        _geometry_of(rows, norm, dot, wedge, eps)
        _note_events(0, signal, to_axes, norm, head, marks[k], peak, shots, k, rows)
        for step in range(1, steps + 1):
            for j in range(m):
                for f in range(features):
                    side[j, f] = 1 if signal[j, f] > 0.0 else (-1 if signal[j, f] < 0.0 else 0)
            loss = _gradient(kind, m, features, par, signal, side, norm, dot, wedge, eps, head, work, d_signal, d_noise,
                             d_head)  # fmt: skip
            if not np.isfinite(loss):
                status[k] = 1
                break
            if len(gram) > 0:
                d_signal = np.dot(d_signal, gram)
            signal -= eta * d_signal
            rows -= eta * np.dot(d_noise, rows)
            head -= head_rate * d_head
            taken[k] = step
            _geometry_of(rows, norm, dot, wedge, eps)
            _note_events(step, signal, to_axes, norm, head, marks[k], peak, shots, k, rows)
            if next_record < len(record_at) and record_at[next_record] == step:
                records[0][k, next_record] = signal
                records[1][k, next_record] = rows
                records[2][k, next_record] = head
                next_record += 1


def run_descent(model, starts, *, head_rate, eta, steps, record_at=EMPTY):
    """Follow `steps` steps from each OrderParameters of `starts`; head_rate is eta_E, the head's own (0: a frozen head).

    Returns a dict of arrays as `collect` joins them; record_at (T,), increasing step numbers: states after them under
    "records" (signal (N, T, m, K), gram (N, T, m, m), head (N, T, m, m)).
    """
    m, features, count = model.neurons, model.features, len(starts)
    signal = np.array([start.signal for start in starts])
    rows = np.array([noise_rows(start.noise_gram) for start in starts])
    head = np.array([start.head for start in starts])
    grams = rows @ np.swapaxes(rows, -1, -2)
    begin = (signal.copy(), grams, head.copy())
    marks, peak, status = np.full((count, 3), -1.0), np.zeros(count), np.zeros(count, np.int64)
    taken = np.zeros(count, np.int64)
    shape = (count, 3)
    shots = (
        np.zeros((*shape, m, features)), np.zeros((*shape, m, m)), np.zeros((*shape, m, m)),
        np.zeros((count, features), np.bool_),
    )  # fmt: skip
    shape = (count, len(record_at))
    records = (np.zeros((*shape, m, features)), np.zeros((*shape, m, m)), np.zeros((*shape, m, m)))
    _descent_kernel(
        ACTIVATIONS[model.activation].kind, gradient.parameter_vector(model), _metric(model), (signal, rows, head),
        float(eta), float(head_rate), int(steps), np.asarray(record_at, np.int64), (marks, peak, status, taken), shots,
        records, gradient.new_workspace(m, features),
    )  # fmt: skip
    marks = np.where(marks < 0, np.nan, marks * eta)
    ends = (signal, rows @ np.swapaxes(rows, -1, -2), head)
    pairs = [(part, part @ np.swapaxes(part, -1, -2)) for part in (shots[1], records[1])]
    kept = [invariants.conserved(model, *state, head_rate / eta) for state in (begin, ends)]
    return {
        "starts": begin, "ends": ends, "marks": marks, "peak": peak, "time": taken * eta, "steps": taken,
        "snapshots": (shots[0], pairs[0][1], shots[2]), "records": (records[0], pairs[1][1], records[2]),
        "rejected": np.zeros(count, np.int64), "rest": np.zeros(count, bool),
        "drift": np.abs(kept[1] / kept[0] - 1.0).max(1),
        "status": ["until" if code == 0 else "not finite" for code in status],
    }  # fmt: skip


def _metric(model) -> tuple[np.ndarray, np.ndarray]:
    """(G, R^-1) of correlated features, empty arrays for orthonormal ones."""
    if model.correlation is None:
        return np.zeros((0, 0)), np.zeros((0, 0))
    return np.array(model.feature_gram), np.linalg.inv(np.array(model.feature_rows))


def collect(pieces) -> dict:
    """Join the dicts of several `run_descent` calls."""
    joined: dict = {}
    for name, first in pieces[0].items():
        if isinstance(first, tuple):
            joined[name] = tuple(np.concatenate(parts) for parts in zip(*(p[name] for p in pieces), strict=True))
        elif isinstance(first, list):
            joined[name] = [entry for piece in pieces for entry in piece[name]]
        else:
            joined[name] = np.concatenate([piece[name] for piece in pieces])
    return joined


def steps_to_record(times, eta, steps) -> np.ndarray:
    """The numbers of the steps next to `times`, or, if there are none, of about `RECORDS` log-spaced ones."""
    if len(times):
        record_at = np.unique(np.rint(times / eta).astype(np.int64))
    else:
        record_at = np.unique(np.geomspace(1, steps, RECORDS).astype(np.int64))
    return record_at[(record_at >= 1) & (record_at <= steps)]


def follow(model, start: OrderParameters, head_rate, eta, steps, times, settings) -> Trajectory:
    """`simulate` for descent: recorded at the steps next to `times`, else at about `RECORDS` log-spaced steps."""
    record_at = steps_to_record(times, eta, steps)
    run = run_descent(model, [start], head_rate=head_rate, eta=eta, steps=steps, record_at=record_at)
    reached = record_at <= run["steps"][0]
    begin, records = [tuple(part[0] for part in run[name]) for name in ("starts", "records")]
    signal, gram, head = (np.concatenate([first[None], rest[reached]]) for first, rest in zip(begin, records, strict=True))
    first, second, peak = run["marks"][0]
    events = {"first": first, "second": second, "peak": peak if run["peak"][0] > 0 else np.nan, "stationary": np.nan}
    return Trajectory(
        model=model, settings=settings, time=np.concatenate([[0.0], record_at[reached] * eta]), signal=signal,
        noise_gram=gram, head=head, loss=moments.losses(model, signal, gram, head),
        events={name: float(time) for name, time in events.items()}, status=run["status"][0],
        steps=int(run["steps"][0]), rejected=0,
    )  # fmt: skip
