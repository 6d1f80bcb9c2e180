"""Run folders as `dynlab.explain` needs them: one `RecordedRun` for each trajectory worth explaining."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dynlab.settings.model import LATER, Model
from dynlab.settings.optimisation import DESCENT_ETA
from dynlab.settings.training import Training, recorded_ratio
from dynlab.tools.checks import SettingError
from dynlab.tools.files import FolderError

READS = "explain reads the folders of dynlab.run (also --method sgd), dynlab.compare, dynlab.pretrain and dynlab.Monitor"


@dataclass(frozen=True, eq=False)
class RecordedRun:
    """A recorded trajectory of two neurons and two features, with what else its folder knows of it.

    model, training : settings. rate : of the head, in units of eta. method : "flow", "descent" or "sgd". eta : learning rate
    (1 for the flow); times are those of the flow, steps times eta. dim, seed : of the starts. number : of this start in
    their stream.
    time (n,), loss (n,), signal (n, 2, 2), gram (n, 2, 2), head (n, 2, 2). batch, data : of "sgd". optimiser : "sgd" for
    plain steps, else how steps are taken, in words.
    marks : times of events that are known better than from the records. summary : row of summary.csv, None for "sgd".
    ended : how the solver ended, "" where that is not recorded. until : the end time asked for, None for until rest.
    """

    model: Model
    training: Training
    rate: float
    method: str
    eta: float
    dim: int
    seed: int
    number: int
    time: np.ndarray
    loss: np.ndarray
    signal: np.ndarray
    gram: np.ndarray
    head: np.ndarray
    batch: int | None = None
    optimiser: str = "sgd"
    data: int | None = None
    marks: dict = dataclasses.field(default_factory=dict)
    summary: dict | None = None
    seeds: int = 0
    ended: str = ""
    until: float | None = None

    def __repr__(self) -> str:
        return f"Recorded({self.model.activation}, head {self.training.head}, {len(self.time)} times to {self.time[-1]:.3g})"

    @property
    def sampled(self) -> bool:
        """Whether it was trained on finite samples."""
        return self.method == "sgd"

    @property
    def pace(self) -> float:
        """Time of the flow for one unit of what is shown: 1, or the learning rate where steps are shown."""
        return self.eta if self.sampled else 1.0


def record_of(place: Path) -> dict:
    """run.json of a folder, whatever wrote it; FolderError of one line where there is none or it is damaged."""
    path = place / "run.json"
    if not place.is_dir():
        raise FolderError(place, "is no folder; " + READS if place.exists() else "does not exist")
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise FolderError(place, f"holds no run (run.json is missing); {READS}") from None
    except (ValueError, OSError) as error:
        raise FolderError(path, f"cannot be read ({error})") from None
    if not isinstance(found, dict):
        raise FolderError(path, f"is not the record of a run; {READS}")
    return found


def kind_of(place: Path, record: dict) -> str:
    """What made the folder: "main", "samples", "pictures" or "watched"; FolderError naming what explain reads for others."""
    settings = record.get("settings")
    if record.get("kind") == "pretraining":
        return "pictures"
    if record.get("kind") == "monitor":
        return "watched"
    if isinstance(settings, dict) and "seed_followed" in record:
        return "main"
    if isinstance(settings, dict) and "models" in record and "batch" in settings:
        return "samples"
    command = str(record.get("command", "")).split()
    what = next((word for word in command if word.startswith("dynlab")), "something else")
    raise FolderError(place, f"is a run of {what}; {READS}")


def main_runs(place: Path, record: dict, activation: str | None, head: str | None) -> list[RecordedRun]:
    """The followed trajectories of a run of dynlab.run."""
    try:
        return _main_runs(place, record, activation, head)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise damaged(place, error) from error


def sample_runs(place: Path, record: dict, activation: str | None, head: str | None) -> list[RecordedRun]:
    """Of a run on finite samples, for each activation and head the first seed of the largest batch."""
    try:
        return _sample_runs(place, record, activation, head)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise damaged(place, error) from error


def damaged(place: Path, error: Exception) -> Exception:
    """What is said of a folder in which something is missing or wrong."""
    if isinstance(error, SettingError) and error.name in ("activation", "head", "at"):
        return error
    what = f"{error.args[0]} is missing" if isinstance(error, KeyError) else str(error)
    return FolderError(place, f"is damaged ({what})")


def _main_runs(place: Path, record: dict, activation: str | None, head: str | None) -> list[RecordedRun]:
    settings = record["settings"]
    names = {field.name for field in dataclasses.fields(Model)} - {"activation"}
    # Settings that came later are their defaults in older records.
    shapes = {name: settings[name] for name in names if name in settings or name not in LATER}
    eta = settings.get("eta", DESCENT_ETA) if settings["method"] == "descent" else 1.0
    training = _training({"eta_head": recorded_ratio(settings, eta, str(place))} | settings.get("training", {}))
    table, summary, seeds = (whole_table(place / name) for name in ("trajectory.csv", "summary.csv", "ensemble.csv"))
    how = settings.get("optimisation", {})  # what differs from plain descent
    runs = []
    for (one, rule), rows in asked_for(table, activation, head):
        trained = dataclasses.replace(training, head=rule)
        number = int(record["seed_followed"][one])
        row = row_of(seeds, one, rule, "ensemble.csv", seed=number)
        runs.append(
            RecordedRun(
                model=Model(activation=one, **shapes), training=trained, rate=trained.head_rate,
                method=settings["method"], eta=eta, dim=int(settings["dim"]), seed=int(settings["seed"]), number=number,
                **_arrays(rows), marks={name: float(row[f"time_{name}"]) for name in ("first", "second", "peak")},
                summary=row_of(summary, one, rule, "summary.csv"), seeds=int(settings["seeds"]), ended=str(row["status"]),
                until=settings["until"], optimiser=", ".join(str(value) for value in how.values()) or "sgd",
            )
        )  # fmt: skip
    return runs


def _sample_runs(place: Path, record: dict, activation: str | None, head: str | None) -> list[RecordedRun]:
    settings = record["settings"]
    models = {one["activation"]: Model(**one) for one in record["models"]}
    table = whole_table(place / "trajectory.csv")
    ratio = recorded_ratio({"method": "sgd"} | settings, float(settings["lr"]), str(place))
    runs = []
    for (one, rule), rows in asked_for(table, activation, head):
        batch, rows = of_largest_batch(rows)
        training = Training(head=rule, eta_head=ratio)
        named = f"{one}, head {rule}, batch {batch}, seed {rows['seed'].iloc[0]}: "
        stops = [line.removeprefix(named) for line in record["stopped"] if line.startswith(named)]
        runs.append(
            RecordedRun(
                model=models[one], training=training, rate=training.head_rate, method="sgd",
                eta=float(settings["lr"]), dim=int(settings["dim"]), seed=int(settings["seed"]), number=0, **_arrays(rows),
                batch=batch, optimiser=settings["optimiser"], data=settings["data"], seeds=int(settings["seeds"]),
                ended=stops[0] if stops else "",
            )
        )  # fmt: skip
    return runs


def of_largest_batch(rows: pd.DataFrame) -> tuple[int, pd.DataFrame]:
    """The largest batch of runs on finite samples, and the rows of its first seed."""
    batch = int(rows["batch"].max())
    return batch, rows[(rows["batch"] == batch) & (rows["seed"] == rows["seed"].min())]


def _training(values: dict) -> Training:
    """A Training from what JSON holds, lists as tuples."""
    return Training(**{name: as_tuples(value) for name, value in values.items()})


def as_tuples(value: Any) -> Any:
    """Lists, and those in them, as tuples."""
    return tuple(as_tuples(part) for part in value) if isinstance(value, list) else value


def table_of(path: Path, columns: Iterable[str]) -> pd.DataFrame:
    """A table that must have these columns; FolderError of one line where it is missing, damaged or has none of them."""
    try:
        table = pd.read_csv(path)
    except FileNotFoundError:
        raise FolderError(path, "is missing") from None
    except (OSError, ValueError) as error:
        raise FolderError(path, f"cannot be read ({error})") from None
    for name in columns:
        if name not in table:
            raise FolderError(path, f"is damaged (no column {name})")
    return table


def whole_table(path: Path) -> pd.DataFrame:
    """A table of runs; FolderError where it is missing, damaged or empty."""
    table = table_of(path, ("activation", "head"))
    if table.empty:
        raise FolderError(path, "is damaged (no rows)")
    return table


def row_of(table: pd.DataFrame, activation: str, head: str, name: str, **more: Any) -> dict:
    """The row of a table for an activation, a head and perhaps a seed."""
    rows = table[(table["activation"] == activation) & (table["head"] == head)]
    for column, value in more.items():
        rows = rows[rows[column] == value]
    if rows.empty:
        raise ValueError(f"{name} has no row for {activation}, head {head}")
    return rows.iloc[0].to_dict()


def asked_for(table: pd.DataFrame, activation: str | None, head: str | None) -> list:
    """((activation, head), rows) of the trajectories asked for, in the order of the table."""
    for name, asked in (("activation", activation), ("head", head)):
        there = list(dict.fromkeys(table[name]))
        if asked is not None and asked not in there:
            raise SettingError(name, asked, f"one of {', '.join(there)}, which this run has")
    groups = table.groupby(["activation", "head"], sort=False)
    return [(key, rows) for key, rows in groups if activation in (None, key[0]) and head in (None, key[1])]


def _arrays(rows: pd.DataFrame) -> dict[str, Any]:
    """The arrays of a trajectory from its rows; the head's diagonal is 1 where it is not recorded."""
    n = len(rows)

    def entry(name: str, j: int, r: int, default: Any | None = None) -> np.ndarray:
        column = f"{name}_{j + 1}_{r + 1}"
        if default is not None and (column not in rows or rows[column].isna().all()):
            return np.full(n, default)
        return rows[column].to_numpy(dtype=float)

    def square(make: Callable) -> np.ndarray:
        return np.array([[make(j, r) for r in range(2)] for j in range(2)]).transpose(2, 0, 1)

    found = {
        "time": rows["time"].to_numpy(dtype=float),
        "loss": rows["loss"].to_numpy(dtype=float),
        "signal": square(lambda j, l: entry("signal", j, l)),
        "gram": square(lambda j, r: entry("noise", min(j, r), max(j, r))),
        "head": square(lambda j, r: entry("head", j, r, 1.0 if j == r else None)),
    }
    if "signal_3_1" in rows or "signal_1_3" in rows:
        raise ValueError("explain knows two neurons and two features only")
    for name, array in found.items():
        if name != "loss" and not np.isfinite(array).all():
            raise ValueError(f"trajectory.csv holds {name} that are not finite")
    if (np.diff(found["time"]) < 0.0).any():
        raise ValueError("the times of trajectory.csv decrease")
    return found
