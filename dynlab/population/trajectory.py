"""What a run returns: the order parameters in time, with the events and the statistics of the solver."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.population import moments
from dynlab.population.hidden.moments import hidden_carried, odd_answers
from dynlab.population.outcomes import squared_cosines
from dynlab.population.status import SUCCESS, remedy
from dynlab.settings.activation_records import definition
from dynlab.settings.model import Model
from dynlab.settings.training import STEPPED, recorded_ratio
from dynlab.tools import plots, show
from dynlab.tools.files import csv_text, expanded, write_whole

if TYPE_CHECKING:
    import pandas as pd
    import xarray
    from matplotlib.figure import Figure

    from dynlab.population.order_parameters import OrderParameters

HEADING = "# dynlab trajectory "


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One run on the order parameters: m neurons, K features, n recorded times.

    Parameters
    ----------
    model : Model
    settings : dict
        How it was run (head, eta_head, until, method, rtol, ...); what JSON can hold.
    time : (n,) array
        Flow time (eta = 1), or step * eta for descent; from 0, never decreasing. Neighbours are equal where
        the motion between them is faster than float64 resolves at that time.
    signal : (n, m, K) array
        <w_j, v_l>.
    noise_gram : (n, m, m) array
        Inner products of the neurons' noise parts; of what is given the upper triangles are taken.
    head : (n, m, m) array
        E, with unit diagonal.
    loss : (n,) array
    events : dict
        Times of "first", "second" (a neuron aligns with the nth feature, its squared cosine passes 1/2: the paper's
        "Omega(1) of v_1 in w_1"), "peak" (largest off-diagonal |E_jr|), "stationary"; nan where it did not happen. What
        outputs carry is in `carried` and `carried_times`.
    status : str
        "until" (the end asked for, or at rest), "stationary" (nothing can change any more), "waiting" (the default horizon
        came before any feature was learnt), "vanished" (a neuron has no length left), "singular" (an online output lost all
        its variance, and the flow ends); or failures, "steps", "underflow", "not finite": see `dynlab.population.status`,
        which has a sentence of remedy for each.
    steps, rejected : int
        Accepted and rejected steps of the solver.
    readout : (n, m, M) array, optional
        a, where neurons have hidden units; signal and noise_gram then have a row for each of the M units.
    """

    model: Model
    settings: dict[str, Any]
    time: np.ndarray
    signal: np.ndarray
    noise_gram: np.ndarray
    head: np.ndarray
    loss: np.ndarray
    events: dict[str, float]
    status: str
    steps: int
    rejected: int
    readout: np.ndarray | None = None

    def __post_init__(self) -> None:
        m, k, n, rows = self.model.neurons, self.model.features, len(self.time), self.model.units
        shapes = {"time": (n,), "signal": (n, rows, k), "noise_gram": (n, rows, rows), "head": (n, m, m), "loss": (n,)}
        if self.model.layered:
            shapes["readout"] = (n, m, rows)
        if isinstance(self.loss, partial):
            object.__setattr__(self, "_later", vars(self).pop("loss"))
            del shapes["loss"]
        for name, shape in shapes.items():
            array = np.array(getattr(self, name), dtype=float)
            if array.shape != shape:
                raise ValueError(f"{name}: shape {array.shape}, must be {shape}")
            if name == "noise_gram":
                _mirror(array)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if n == 0 or np.any(np.diff(self.time) < 0):
            raise ValueError("time: must have at least one entry and never decrease")
        if not _free_diagonal(self.settings) and not np.all(np.diagonal(self.head, axis1=1, axis2=2) == 1.0):
            raise ValueError("head: the diagonal must be 1")

    if not TYPE_CHECKING:  # for a checker an attribute that there is not stays an error

        def __getattr__(self, name: str) -> Any:
            """The losses where they were given as `when_asked`: computed here, once, and kept."""
            if name != "loss" or "_later" not in vars(self):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            loss = np.array(vars(self)["_later"](), dtype=float)
            loss.setflags(write=False)
            object.__setattr__(self, "loss", loss)
            return loss

    def __repr__(self) -> str:
        what = f"{self.model.activation}, head {self.settings.get('head')}"
        when = f"{len(self.time)} times to {self.time[-1]:.3g}"
        return f"Trajectory({what}, {when}, {self.status} after {self.steps} steps)"

    def _repr_html_(self) -> str:
        rows = [("time", self.time[0], self.time[-1]), ("loss", self.loss[0], self.loss[-1])]
        for array, name, members in _columns(self.model, self.settings):
            values = getattr(self, array)
            rows += [(f"{name}_{j + 1}_{r + 1}", values[0, j, r], values[-1, j, r]) for j, r in members[:8]]
        events = {f"time of {name}": time for name, time in self.events.items() if not math.isnan(time)}
        told = events | {"status": self.status, "steps": self.steps, "rejected": self.rejected}
        if not self.success:
            told["what to do"] = remedy(self.status)
        return show.table(rows, ("", "start", "end"), repr(self)) + show.pairs_table(told)

    def plot(self) -> Figure:
        """Signals, head entries and loss against time, phases shaded; a matplotlib Figure that belongs to no window."""
        return plots.figure(self)

    @property
    def success(self) -> bool:
        """Whether the run ended where it should: at `until` or at stationarity."""
        return self.status in SUCCESS

    @property
    def cosines(self) -> np.ndarray:
        """(n, m, K) squared cosines <w_j, v_l>^2 / |w_j|^2; nan for a neuron that is 0."""
        return squared_cosines(self.model, self.signal, self.noise_gram)

    @property
    def answers(self) -> np.ndarray:
        """(n, m, K) what neuron j takes of feature l: its signal; with hidden units the odd part of its output's answer."""
        return self.signal if self.readout is None else odd_answers(self.model, self.signal, self.readout)

    @property
    def carried(self) -> np.ndarray:
        """(n, m, K) share of each output's variance that each feature carries (`dynlab.population.moments.carried`)."""
        if self.readout is not None:
            return hidden_carried(self.model, self.signal, self.noise_gram, self.readout)
        return moments.carried(self.model, self.signal, self.noise_gram)

    @property
    def carried_times(self) -> np.ndarray:
        """(K,) for each feature the first recorded time at which it carries more than `dynlab.population.moments.LEARNT` of
        some output's variance; nan where it never does."""
        learnt = (self.carried > moments.LEARNT).any(axis=1)
        return np.where(learnt.any(axis=0), self.time[learnt.argmax(axis=0)], np.nan)

    @property
    def final(self) -> OrderParameters:
        """The order parameters at the last time."""
        from dynlab.population.order_parameters import OrderParameters

        readout = None if self.readout is None else self.readout[-1]
        return OrderParameters(self.signal[-1], self.noise_gram[-1], self.head[-1], readout)

    @property
    def frame(self) -> pd.DataFrame:
        """One row a time: time, loss, signal_j_l, noise_j_r (j <= r), head_j_r (j != r, and j = r where the
        head's rule trains or makes the diagonal), with hidden units readout_j_h; neurons and units from 1."""
        import pandas as pd

        columns = {"time": self.time, "loss": self.loss}
        for array, name, members in _columns(self.model, self.settings):
            columns |= {f"{name}_{j + 1}_{r + 1}": getattr(self, array)[:, j, r] for j, r in members}
        return pd.DataFrame(columns)

    def to_xarray(self) -> xarray.Dataset:
        """The arrays with labelled dimensions, an xarray.Dataset (extra `xarray`), as NetCDF holds it.

        Dimensions time, neuron, feature, lender (of the head: E[neuron, lender]), with hidden units unit; counted from 1.
        Variables signal, noise_gram, head, loss, carried, with hidden units readout. Attributes: model and settings as JSON,
        status, steps, rejected, and the time of each event (nan where it did not happen).
        """
        from dynlab.tools.labelled import Labelled, dataset, numbered

        row = "unit" if self.model.layered else "neuron"
        variables = {
            "signal": Labelled(("time", row, "feature"), self.signal, "signal <w, v_l>"),
            "noise_gram": Labelled(("time", row, f"other_{row}"), self.noise_gram, "inner products of noise parts"),
            "head": Labelled(("time", "neuron", "lender"), self.head, "prediction head E, identity at the start"),
            "loss": Labelled(("time",), self.loss, "population loss, sum_j (2 - 2 rho_j)"),
            "carried": Labelled(("time", "neuron", "feature"), self.carried, "share of the output's variance"),
        }
        if self.readout is not None:
            variables["readout"] = Labelled(("time", "neuron", "unit"), self.readout, "readout a")
        coordinates = {"time": Labelled(("time",), self.time, "flow time", "steps x learning rate")}
        for name in ("neuron", "lender"):
            coordinates |= numbered(name, self.model.neurons, "neuron and its output")
        if self.model.layered:
            coordinates |= numbered("unit", self.model.units, "hidden unit")
        coordinates |= numbered(f"other_{row}", self.model.units, coordinates[row].long_name)
        coordinates |= numbered("feature", self.model.features, "feature, the strongest first")
        events = {f"time_of_{name}": time for name, time in self.events.items()}
        about = {"model": dataclasses.asdict(self.model), "settings": self.settings, "status": self.status}
        return dataset(variables, coordinates, about | events | {"steps": self.steps, "rejected": self.rejected})

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `frame` as CSV to the file `path`, floats exactly, under one comment line with all the rest as JSON."""
        rest = {
            "model": dataclasses.asdict(self.model),
            "settings": self.settings,
            "events": {name: None if math.isnan(time) else time for name, time in self.events.items()},
            "status": self.status,
            "steps": self.steps,
            "rejected": self.rejected,
        }
        if definition(self.model.activation) is not None:
            rest["phi"] = definition(self.model.activation)
        heading = HEADING + json.dumps(rest, allow_nan=False)
        write_whole(expanded(path), heading + "\n" + csv_text(self.frame))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trajectory:
        """The trajectory that `save` wrote to `path`, to the last bit; ValueError of one line for any other file."""
        try:
            heading, _, table = expanded(path).read_text(encoding="utf-8-sig").partition("\n")
        except UnicodeDecodeError as error:
            raise ValueError(f"{path}: is not a trajectory of dynlab ({error})") from None
        if not heading.startswith(HEADING):
            raise ValueError(f"{path}: is not a trajectory of dynlab")
        try:
            rest = json.loads(heading.removeprefix(HEADING))
            model, phi = Model(**rest.pop("model")), rest.pop("phi", None)
            if definition(model.activation) != phi:
                raise ValueError(f"activation {model.activation} was {phi}, here it is {definition(model.activation)}")
            events = {name: math.nan if time is None else time for name, time in rest.pop("events").items()}
            names, *rows = table.splitlines()
            _ratio_as_now(rest["settings"], path)
            values = np.array([[float(word) for word in row.split(",")] for row in rows])
            columns = dict(zip(names.split(","), values.T, strict=True))
            return cls(model=model, events=events, **arrays_of(model, rest["settings"], columns), **rest)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: is damaged ({error})") from error


def when_asked(losses: Callable[..., np.ndarray], *arguments: Any) -> Any:
    """losses(*arguments), (n,), in place of a trajectory's `loss`: computed when it is first asked for.

    To work out the losses of a trace takes as long as to follow it, and many a run is made for its events or its end.
    """
    return partial(losses, *arguments)


def _ratio_as_now(settings: dict, path: str | os.PathLike[str]) -> None:
    """Give settings of an older trajectory the eta_head that is meant now, in place."""
    if settings.get("method") in STEPPED and "eta_head" in settings and "eta" in settings:
        settings["eta_head"] = recorded_ratio(settings, settings["eta"], str(path))
        settings["head_rate"] = settings["eta_head"] * settings["eta"]


def _columns(model: Model, settings: dict) -> list[tuple[str, str, list[tuple[int, int]]]]:
    """The arrays that become columns: attribute, name of the columns, index pairs."""
    neurons, features, units = range(model.neurons), range(model.features), range(model.units)
    columns = [
        ("signal", "signal", [(j, l) for j in units for l in features]),
        ("noise_gram", "noise", [(j, r) for j in units for r in units if j <= r]),
        ("head", "head", [(j, r) for j in neurons for r in neurons if j != r or _free_diagonal(settings)]),
    ]
    if model.layered:
        columns.append(("readout", "readout", [(j, h) for j in neurons for h in units]))
    return columns


def _free_diagonal(settings: dict) -> bool:
    """Whether the head's rule lets its diagonal be other than 1; only then is it written."""
    return settings.get("head", "off-diagonal") not in ("none", "off-diagonal")


def arrays_of(model: Model, settings: dict, columns: dict[str, np.ndarray]) -> dict[str, Any]:
    """The arrays that the columns of `Trajectory.frame` came from."""
    n, m = len(columns["time"]), model.neurons
    arrays = {
        "signal": np.empty((n, model.units, model.features)),
        "noise_gram": np.empty((n, model.units, model.units)),
        "head": np.tile(np.eye(m), (n, 1, 1)),
    }
    if model.layered:
        arrays["readout"] = np.empty((n, m, model.units))
    for array, name, members in _columns(model, settings):
        for j, r in members:
            arrays[array][:, j, r] = columns[f"{name}_{j + 1}_{r + 1}"]
    _mirror(arrays["noise_gram"])
    return {"time": columns["time"], "loss": columns["loss"], **arrays}


@cache
def _below(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of what stands below the diagonal."""
    return np.tril_indices(size, -1)


def _mirror(matrices: np.ndarray) -> None:
    """Copy the upper triangles of (n, m, m) onto the lower ones."""
    rows, columns = _below(matrices.shape[1])
    matrices[:, rows, columns] = matrices[:, columns, rows]
