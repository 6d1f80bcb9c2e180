"""Ensembles of neurons with hidden units: what `dynlab.ensembles.ensemble` needs of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.population.any_training.hidden_gradient import hidden_switched_losses
from dynlab.population.dense.hidden_descent import run_optimised_hidden
from dynlab.population.hidden.flow import ABREAST, NO_TIMES, HiddenResult, run_hidden, run_hidden_descent
from dynlab.population.hidden.moments import features_carried, hidden_carried, hidden_losses, hidden_rank
from dynlab.population.outcomes import named_outcomes
from dynlab.population.starts import draw_start
from dynlab.population.status import CYCLE, NOT_FINITE, STATUS_NAMES, SUCCESS, UNTIL

if TYPE_CHECKING:
    import pandas as pd

    from dynlab.population.order_parameters import OrderParameters
    from dynlab.settings.model import Model
    from dynlab.settings.optimisation import Optimisation
    from dynlab.settings.training import Training

PIECE = 8  # trajectories a task: some take half a second
# As many starts as that are followed eight abreast, in pieces which leave few lanes empty at their ends.
MANY_STARTS, LARGEST_PIECE, PIECES_A_WORKER = 192, 256, 3
DEAD = 1e-3  # a hidden unit has died when its weights are shorter than this part of what they were
ROUND = 32  # states of which means are taken where a run does not come to rest


def piece_size(count: int, workers: int, method: str) -> int:
    """How many of `count` starts a task takes."""
    if count < MANY_STARTS or method != "flow":
        return PIECE
    return min(LARGEST_PIECE, max(ABREAST, -(-count // (PIECES_A_WORKER * workers))))


def run_piece(
    model: Model, training: Training, dim: int, seed: int, numbers: np.ndarray, limits: tuple[float, float, bool],
    stepped: tuple[float, int, Optimisation] | None,
) -> tuple[list[OrderParameters], HiddenResult, dict]:  # fmt: skip
    """The starts with these numbers (N,) of the stream `seed`, what became of them, and what is told of that (`told_of`).

    limits: (until, rtol, settle), settle telling whether the end is the default horizon. stepped: (eta, number of steps, how
    they are taken) of descent, None for the flow.
    """
    starts = [draw_start(model, dim, seed, int(number), training.start_scale) for number in numbers]
    if stepped is None:
        return run_starts(model, training, starts, *limits)
    rates: dict[str, Any] = {"head_rate": training.head_rate, "readout_rate": training.readout_rate}
    eta, steps, how = stepped
    if how.is_plain and training.is_papers:
        found = run_hidden_descent(model, starts, **rates, eta=eta, steps=steps)
    else:
        frames = [(dim, seed, int(number)) for number in numbers] if how.optimiser == "adam" else None
        found, _ = run_optimised_hidden(model, training, starts, how, eta=eta, steps=steps, frames=frames)
    return starts, replace(found, at_times=()), told_of(model, training, found, False)


def run_starts(
    model: Model, training: Training, starts: list[OrderParameters], until: float, rtol: float, settle: bool
) -> tuple[list[OrderParameters], HiddenResult, dict]:
    """The same of the flow from starts that are given."""
    rates: dict[str, Any] = {"head_rate": training.head_rate, "readout_rate": training.readout_rate}
    times = until * (0.5 + 0.5 * np.arange(1, ROUND + 1) / ROUND) if settle else NO_TIMES
    found = run_hidden(model, starts, **rates, until=until, rtol=rtol, settle=settle, times=times)
    told = told_of(model, training, found, settle)
    return starts, replace(found, at_times=()), told  # the states on the way would be many


def told_of(model: Model, training: Training, found: HiddenResult, settle: bool) -> dict[str, np.ndarray]:
    """carried (N, m, K), rank, loss, head_end (N,) of the ends, or where a run does not come to rest of a round's mean.

    The mean is over one period of a limit cycle; for a run that is under way at the default horizon (settle) over the second
    half of its time. nan for what is not finite.
    """
    known = found.status != NOT_FINITE
    told = {}
    for name, values in _measured(model, training, *(part[known] for part in found.ends)).items():
        told[name] = np.full((len(known), *values.shape[1:]), np.nan)
        told[name][known] = values
    if training.is_papers:
        told["loss"] = np.array(found.loss)
    rounds = (found.status == CYCLE) | (settle & (found.status == UNTIL))
    for k in np.flatnonzero(rounds):
        states = [part[k] for part in found.at_times]
        for name, values in _measured(model, training, *states).items():
            told[name][k] = values.mean(0)
    return told


def _measured(
    model: Model, training: Training, signal: np.ndarray, gram: np.ndarray, readout: np.ndarray, head: np.ndarray
) -> dict[str, np.ndarray]:
    """What is told of states, arrays with one axis in front."""
    losses = partial(hidden_losses, model)
    if not training.is_papers:
        losses = partial(hidden_switched_losses, model, training)
    return {
        "carried": hidden_carried(model, signal, gram, readout),
        "rank": hidden_rank(model, signal, gram, readout),
        "loss": losses(signal, gram, head, readout),
        "head_end": np.sqrt(((head - np.eye(model.neurons)) ** 2).sum((-1, -2))),
    }


def collect(model: Model, pieces: list) -> dict[str, Any]:
    """Arrays over all seeds from the results of `run_piece`."""
    every = [start for starts, *_ in pieces for start in starts]
    names = ("learnt", "head_peak", "time_peak", "time", "drift", "period", "peak_row", "steps", "rejected", "status")
    flat: dict[str, Any] = {name: np.concatenate([getattr(found, name) for _, found, _ in pieces]) for name in names}
    flat |= {name: np.concatenate([told[name] for *_, told in pieces]) for name in pieces[0][2]}
    ends = (found.ends for _, found, _ in pieces)
    signal, gram, readout, head = (np.concatenate(group) for group in zip(*ends, strict=True))
    flat["status"] = [STATUS_NAMES[code] for code in flat["status"]]
    flat["ends"] = signal, gram, head, readout
    flat["starts"] = tuple(
        np.array([getattr(start, name) for start in every]) for name in ("signal", "noise_gram", "head", "readout")
    )
    times = np.sort(flat["learnt"], axis=1)  # nan last
    second = times[:, 1] if model.features > 1 else np.full(len(every), np.nan)
    peak = np.where(flat["head_peak"] > 0.0, flat["time_peak"], np.nan)
    flat["marks"] = np.stack([times[:, 0], second, peak], axis=1)
    flat["snapshots"] = ()
    return flat


def bounds(model: Model, training: Training, starts: tuple) -> np.ndarray:
    """Bound (N, m) on the entries of row j of the head while its column is 0: sqrt(r/r_a) |a_j(0)|.

    From sum_h a_jh^2/r_a + sum_r (E_jr^2 - E_rj^2)/r, which the flow conserves; with a fixed readout |w|^2/q of the neuron's
    units is in place of a^2/r_a.
    """
    signal, gram, _, readout = starts
    if model.readout == "fixed":
        square = (signal**2).sum(-1) + np.diagonal(gram, axis1=-2, axis2=-1)
        length = square.reshape(len(square), model.neurons, model.hidden).sum(-1)
    else:
        length = (readout**2).sum(-1) / training.readout_rate
    return np.sqrt(training.head_rate * length)


def dead_units(starts: tuple, ends: tuple) -> np.ndarray:
    """Number (N,) of hidden units whose weights have vanished."""
    square = [(signal**2).sum(-1) + np.diagonal(gram, axis1=-2, axis2=-1) for signal, gram, *_ in (starts, ends)]
    return (square[1] < DEAD**2 * square[0]).sum(-1)


def layered_frame(
    model: Model, training: Training, numbers: np.ndarray, starts: list[OrderParameters], *, until: float, rtol: float,
    settle: bool,
) -> pd.DataFrame:  # fmt: skip
    """`frame` of starts that are given, called `numbers` (N,). On the calling thread, without the GIL."""
    piece = run_starts(model, training, starts, until, rtol, settle)
    return frame(model, training, numbers, collect(model, [piece]), settle)


def frame(
    model: Model, training: Training, numbers: np.ndarray, parts: dict, settle: bool, bounded: bool = True
) -> pd.DataFrame:
    """`Ensemble.frame`, a row a seed; settle: whether the end is the default horizon, bounded: the head by the flow's law.

    carried_j_l is the share of output j's variance that the sign of feature l carries (`population.hidden.moments`),
    features_carried how many features all outputs together carry, dead_units how many hidden units have vanished; times are
    those at which a feature is first carried, period is that of a limit cycle ("cycle"), or of the last round of a run that
    goes round at the default end. Of a run that does not come to rest the
    outcome, carried_j_l, features_carried, rank, loss_end and head_end are of means over a round (`told_of`).
    """
    import pandas as pd

    carried = parts["carried"]
    ends = np.array(parts["status"], dtype=object)
    failed = ~np.isin(ends, SUCCESS)
    found = named_outcomes(model, carried, failed)
    waiting = np.isin(found, ("neither", "0")) & np.isin(ends, ("until", "waiting"))
    found[waiting] = "waiting"
    bound = bounds(model, training, parts["starts"])[np.arange(len(numbers)), parts["peak_row"].astype(np.int64)]
    columns = {"seed": numbers, "outcome": found}
    columns |= {f"carried_{j + 1}_{f + 1}": carried[:, j, f] for j in range(model.neurons) for f in range(model.features)}
    columns |= {
        "features_carried": features_carried(carried),
        "time_first": parts["marks"][:, 0],
        "time_second": parts["marks"][:, 1],
        "head_peak": parts["head_peak"],
        "time_peak": parts["marks"][:, 2],
        "head_bound": bound if bounded else np.full(len(numbers), np.nan),
        "rank": parts["rank"],
        "head_end": parts["head_end"],
        "dead_units": dead_units(parts["starts"], parts["ends"]),
        "time_end": parts["time"],
        "period": np.where(parts["period"] > 0.0, parts["period"], np.nan),
        "loss_end": parts["loss"],
        "drift": parts["drift"],
        "status": np.where(waiting & settle, "waiting", ends),
        "steps": parts["steps"],
        "rejected": parts["rejected"],
    }
    return pd.DataFrame(columns)
