"""Ensembles of neurons with hidden units: what `dynlab.ensembles.ensemble` needs of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.population.hidden.flow import HiddenResult, run_hidden
from dynlab.population.hidden.moments import features_carried, hidden_carried, hidden_rank
from dynlab.population.outcomes import named_outcomes
from dynlab.population.starts import draw_start
from dynlab.population.status import STATUS_NAMES, SUCCESS

if TYPE_CHECKING:
    import pandas as pd

    from dynlab.population.order_parameters import OrderParameters
    from dynlab.settings.model import Model
    from dynlab.settings.training import Training

PIECE = 8  # trajectories a task: some take half a second
DEAD = 1e-3  # a hidden unit has died when its weights are shorter than this part of what they were


def run_piece(
    model: Model, training: Training, dim: int, seed: int, numbers: np.ndarray, until: float, rtol: float, settle: bool
) -> tuple[list[OrderParameters], HiddenResult]:
    """The starts with these numbers (N,) of the stream `seed`, and what became of them."""
    starts = [draw_start(model, dim, seed, int(number), training.start_scale) for number in numbers]
    rates: dict[str, Any] = {"head_rate": training.head_rate, "readout_rate": training.readout_rate}
    return starts, run_hidden(model, starts, **rates, until=until, rtol=rtol, settle=settle)


def collect(model: Model, pieces: list) -> dict[str, Any]:
    """Arrays over all seeds from the results of `run_piece`."""
    every = [start for starts, _ in pieces for start in starts]
    names = ("learnt", "head_peak", "time_peak", "time", "drift", "loss", "steps", "rejected", "status")
    flat: dict[str, Any] = {name: np.concatenate([getattr(found, name) for _, found in pieces]) for name in names}
    signal, gram, readout, head = (np.concatenate(group) for group in zip(*(found.ends for _, found in pieces), strict=True))
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


def frame(model: Model, training: Training, numbers: np.ndarray, parts: dict, settle: bool) -> pd.DataFrame:
    """`Ensemble.frame`, a row a seed; settle: whether the end is the default horizon.

    carried_j_l is the share of output j's variance that the sign of feature l carries (`population.hidden.moments`),
    features_carried how many features all outputs together carry, dead_units how many hidden units have vanished; times are
    those at which a feature is first carried.
    """
    import pandas as pd

    signal, gram, head, readout = parts["ends"]
    carried = hidden_carried(model, signal, gram, readout)
    ends = np.array(parts["status"], dtype=object)
    failed = ~np.isin(ends, SUCCESS)
    found = named_outcomes(model, carried, failed)
    waiting = np.isin(found, ("neither", "0")) & np.isin(ends, ("until", "waiting"))
    found[waiting] = "waiting"
    off = np.abs(head - np.eye(model.neurons))
    rows = off.max(-1).argmax(-1)
    columns = {"seed": numbers, "outcome": found}
    columns |= {f"carried_{j + 1}_{f + 1}": carried[:, j, f] for j in range(model.neurons) for f in range(model.features)}
    columns |= {
        "features_carried": features_carried(carried),
        "time_first": parts["marks"][:, 0],
        "time_second": parts["marks"][:, 1],
        "head_peak": parts["head_peak"],
        "time_peak": parts["marks"][:, 2],
        "head_bound": bounds(model, training, parts["starts"])[np.arange(len(numbers)), rows],
        "rank": hidden_rank(model, signal, gram, readout),
        "head_end": np.sqrt((off**2).sum((-1, -2))),
        "dead_units": dead_units(parts["starts"], parts["ends"]),
        "time_end": parts["time"],
        "loss_end": parts["loss"],
        "drift": parts["drift"],
        "status": np.where(waiting & settle, "waiting", ends),
        "steps": parts["steps"],
        "rejected": parts["rejected"],
    }
    return pd.DataFrame(columns)
