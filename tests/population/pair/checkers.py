"""What a flow must satisfy, as functions of a `runner`, so that a faulty runner can be given to each of them.

A runner has the signature of `run` and returns a `Run`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynlab.population.pair import flow
from dynlab.population.status import STATUS_NAMES

DEGREE = {"relu": 1, "cubic": 3, "relu3": 3, "linear": 1}


@dataclass(frozen=True)
class Run:
    """One trajectory: states at the chosen times and at its end, events, status."""

    signal: np.ndarray
    noise_gram: np.ndarray
    head: np.ndarray
    end: tuple
    time_end: float
    first: float
    second: float
    peak: float
    status: str


def run(model, start, head_rate, times, rtol) -> Run:
    """The flow of dynlab from `start` to times[-1]."""
    z, side = flow.encode(model, start)
    result = flow.run_flow(
        model, z[None], side[None], head_rate=head_rate, until=times[-1], rtol=rtol, settle=False, times=times
    )
    end = tuple(part[0] for part in flow.decode(model, result.end, side))
    states = flow.decode(model, result.at_times[0], side)
    return Run(*states, end, result.time[0], *result.marks[0], STATUS_NAMES[int(result.status[0])])


def apart(mine, reference) -> float:
    """Largest deviation over the three arrays, each relative to its own largest entry over all times."""
    worst = 0.0
    for name in ("signal", "noise_gram", "head"):
        a, b = getattr(mine, name), getattr(reference, name)
        if name == "head":
            identity = np.eye(b.shape[-1])
            a, b = a - identity, b - identity
        size = np.abs(b).max()
        worst = max(worst, np.abs(a - b).max() / size if size > 0.0 else np.abs(a).max())
    return worst


def agrees_with(runner, reference, model, start, head_rate, rtol, tolerance, clock):
    """The orbit of a DenseRun up to `tolerance`, and the times of its states and events up to `clock`, relative."""
    mine = runner(model, start, head_rate, reference.times, rtol)
    assert mine.status == "until", mine.status
    for k, time in enumerate(reference.times):
        state = mine.signal[k], mine.noise_gram[k], mine.head[k]
        nearest, expected = reference.orbit_at(state, time)
        found = max(np.abs(a - b).max() for a, b in zip(state, expected, strict=True))
        assert found < tolerance, f"off the orbit by {found:.1e} at {time}"
        # What moves by less than the tolerance within `clock` tells no time.
        late = max(np.abs(a - b).max() for a, b in zip(state, reference.at(time), strict=True))
        assert late < tolerance or abs(nearest / time - 1.0) < clock, f"late by {nearest / time - 1.0:.1e} at {time}"
    for name in ("first", "second", "peak"):
        expected, time = getattr(reference, name), getattr(mine, name)
        if not np.isnan(expected):
            assert abs(time / expected - 1.0) < clock, f"{name}: {time!r}, not {expected!r}"


def charges(activation, signal, gram, head, head_rate):
    """|w_j|^2/q + sum_r (E_jr^2 - E_rj^2)/r, (..., m), relative to nothing; |w_j|^2/q for r = 0."""
    square = (signal**2).sum(-1) + np.einsum("...jj->...j", gram)
    total = square / DEGREE[activation]
    if head_rate == 0.0:
        return total
    rows = (head**2).sum(-1) - (head**2).sum(-2)  # the diagonals cancel
    return total + rows / head_rate


def conserves(runner, model, start, head_rate, times, rtol, tolerance):
    """The m conserved quantities and the sum of the squared norms, at all times and at the end."""
    mine = runner(model, start, head_rate, times, rtol)
    assert mine.status == "until", mine.status
    before = charges(model.activation, start.signal, start.noise_gram, start.head, head_rate)
    arrays = (mine.signal, mine.noise_gram, mine.head)
    parts = [np.concatenate([part, end[None]]) for part, end in zip(arrays, mine.end, strict=True)]
    after = charges(model.activation, *parts, head_rate)
    assert np.isfinite(after).all()
    drift = np.abs(after / before - 1.0).max()
    assert drift < tolerance, f"conserved quantities drift by {drift:.1e}"
    total = np.abs(after.sum(-1) / before.sum() - 1.0).max()
    assert total < tolerance, f"sum of |w_j|^2 drifts by {total:.1e}"


def head_within_bound(runner, model, start, head_rate, times, rtol):
    """|E_jr| <= sqrt(r/q) |w_j(0)| wherever E_rj is below a thousandth of it (m = 2, head from the identity)."""
    mine = runner(model, start, head_rate, times, rtol)
    square = (start.signal**2).sum(1) + np.diagonal(start.noise_gram)
    for j, r in ((0, 1), (1, 0)):
        entry, back = np.abs(mine.head[:, j, r]), np.abs(mine.head[:, r, j])
        largest = entry[back <= 1e-3 * entry].max(initial=0.0)
        bound = np.sqrt(head_rate / DEGREE[model.activation] * square[j])
        assert largest <= bound * (1 + 1e-5), f"head entry {largest:.6g} above its bound {bound:.6g}"


def loss_never_rises(runner, model, start, head_rate, times, rtol):
    """Without a head the flow descends: every neuron's own loss falls, as it is a function of its own weights alone."""
    from dynlab.population import moments

    mine = runner(model, start, head_rate, times, rtol)
    losses = moments.losses(model, mine.signal, mine.noise_gram, mine.head)
    assert (np.diff(losses) <= 1e-9).all(), "the loss rises"


def mirror_neurons(runner, model, start, head_rate, times, rtol, tolerance):
    """Swapping the neurons of the start swaps those of the whole trajectory."""
    order = np.arange(model.neurons)[::-1]
    other = type(start)(start.signal[order], start.noise_gram[np.ix_(order, order)], start.head[np.ix_(order, order)])
    a = runner(model, start, head_rate, times, rtol)
    b = runner(model, other, head_rate, times, rtol)
    turned = Run(b.signal[:, order], b.noise_gram[:, order][:, :, order], b.head[:, order][:, :, order], *(None,) * 6)
    assert apart(turned, a) < tolerance, f"swapped neurons differ by {apart(turned, a):.1e}"
