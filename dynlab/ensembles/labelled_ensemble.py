"""An ensemble as labelled arrays: its table unfolded, and the states at both ends."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

import numpy as np

from dynlab.tools.labelled import Labelled, dataset, numbered

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    import pandas as pd
    import xarray

    from dynlab.settings.model import Model

TIMES = ("time_first", "time_second", "time_peak", "time_end", "period")
WORDS = {
    "outcome": "what was learnt",
    "status": "how the trajectory ended",
    "cosine": "squared cosine of weights and feature, at the end",
    "carried": "share of the output's variance that the feature carries, at the end",
    "time_first": "time at which a first feature is learnt",
    "time_second": "time at which a second feature is learnt",
    "head_peak": "largest off-diagonal |E|",
    "time_peak": "time of the head's peak",
    "head_bound": "bound on the peak, from what the flow conserves",
    "rank": "effective rank of the outputs' correlations",
    "head_end": "||E - I||_F at the end",
    "time_end": "end of the flow",
    "period": "time of a round, where the state goes round",
    "loss_end": "population loss at the end",
    "drift": "drift of the conserved quantities",
    "steps": "accepted steps",
    "rejected": "rejected steps",
    "features_carried": "features that all outputs carry together",
    "dead_units": "hidden units that have vanished",
}
FOLDED = re.compile(r"(cosine|carried)_(\d+)_(\d+)")
STATES = ("signal", "noise_gram", "head", "readout")


def labelled_ensemble(
    model: Model, settings: Mapping[str, Any], frame: pd.DataFrame, starts: tuple, ends: tuple
) -> xarray.Dataset:
    """What `Ensemble.to_xarray` returns of an ensemble with these fields."""
    row = "unit" if model.layered else "neuron"
    variables = {}
    for name in frame.columns.drop("seed"):
        if FOLDED.fullmatch(name) is None:
            unit = "steps x learning rate" if name in TIMES else "1"
            variables[name] = Labelled(("start",), frame[name].to_numpy(), WORDS.get(name, name), unit)
    for name in dict.fromkeys(match[1] for column in frame.columns if (match := FOLDED.fullmatch(column))):
        values = np.empty((len(frame), model.neurons, model.features))
        for j in range(model.neurons):
            for l in range(model.features):
                values[:, j, l] = frame[f"{name}_{j + 1}_{l + 1}"]
        variables[name] = Labelled(("start", "neuron", "feature"), values, WORDS[name])
    dims = {"signal": (row, "feature"), "noise_gram": (row, f"other_{row}")}
    dims |= {"head": ("neuron", "lender"), "readout": ("neuron", "unit")}
    for when, states in (("start", starts), ("end", ends)):
        for name, values in zip(STATES, states, strict=False):
            variables[f"{name}_at_{when}"] = Labelled(("start", *dims[name]), values, f"{name} at the {when}")
    coordinates = {"start": Labelled(("start",), frame["seed"].to_numpy(), "number of the start")}
    for name, count in (("neuron", model.neurons), ("lender", model.neurons), ("feature", model.features)):
        coordinates |= numbered(name, count, name)
    for name in dict.fromkeys((row, f"other_{row}")):
        coordinates |= numbered(name, model.units, row)
    return dataset(variables, coordinates, {"model": dataclasses.asdict(model), "settings": dict(settings)})
