"""Runs that are compared: made where they are missing, measured once, and their rows; here, or by an executor's workers.

A run is a folder of `dynlab.pretrain` with an evaluate.json in it. What is there already is not made again, and a run that
was stopped goes on from its last checkpoint.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from dynlab.images.settings import Pretraining
from dynlab.images.verdict import NotFinite
from dynlab.machine.device import Device
from dynlab.machine.workers import digest_of_sources, require_same_sources
from dynlab.tools.checks import SettingError, available_threads, require
from dynlab.tools.files import FolderError
from dynlab.tools.sharing import as_they_end

SAID = "evaluate.json"
ONE_RUN = threading.Lock()  # kernels share the threads of a process: of a worker with several one run at a time computes


@dataclass(frozen=True)
class OtherData:
    """A comparison on something else than pictures, by functions of a module, which workers can load.

    load(settings, folder): the data of runs. measure(settings, weights, data, two representations): the rows of a run. gate
    (recipe, method, name of the random encoder, means, verdicts): whether a method's is passed, and why. module: of these.
    """

    load: Callable[[Pretraining, Path], tuple]
    measure: Callable[[Pretraining, dict, tuple, tuple[str, str]], list[dict]]
    gate: Callable[..., tuple[bool, str]]
    module: str


@dataclass(frozen=True)
class Conditions:
    """What the runs of a comparison have in common.

    out: the folder of their folders. data, verify: where the pictures' files are, and whether they are compared with md5
    sums. device, threads: to compute with. command: for run.json. spread: whether the standard deviation of z at unit length
    on the test pictures is measured too. other: how to read and measure what is no picture.
    """

    out: Path
    data: Path
    verify: bool
    device: Device
    threads: int
    command: str
    spread: bool = False
    other: OtherData | None = None


@dataclass(frozen=True)
class Entry:
    """A run: its columns in the tables, by name; number of its seed; folder's name; settings. trained: or as it starts."""

    columns: tuple[tuple[str, str], ...]
    seed: int
    name: str
    settings: Pretraining
    trained: bool = True


@dataclass(frozen=True)
class Made:
    """What came of a run: its rows, none where it diverged; the line that says so; the line that says what was measured, ""
    where that was not now."""

    rows: list[dict]
    diverged: str = ""
    line: str = ""


def make(conditions: Conditions, entry: Entry, data: tuple) -> Made:
    """Train, or go on, and measure, each where that is missing. data: (train, test), `ImageSet` with labels, or of
    speech (`SpeechSet`,).

    Raises SettingError where the folder holds a run with other settings or of other pictures.
    """
    from dynlab.images.training import run_folder

    if not entry.trained:
        return _at_the_start(conditions, entry, data)
    place, of_run = conditions.out / entry.name, entry.settings
    said, begun = place / SAID, (place / run_folder.RUN).is_file()
    if begun and run_folder.settings_of(place) != of_run:
        raise SettingError("out", str(conditions.out), f"a folder of runs with these settings, which {place.name} has not")
    if begun and run_folder.run_of(place).get("content") != data[0].content(of_run.limit):
        allowed = f"the pictures that {place.name} was trained on, or --out another folder"
        raise SettingError("data", str(conditions.data), allowed)
    line, status = "", run_folder.run_of(place)["status"] if begun else ""
    if not said.is_file():
        stopped = [status.removeprefix("stopped: ")] if status.startswith("stopped") else run_folder.pretrain(
            of_run, data[0], place, resume=begun, threads=conditions.threads, device=conditions.device, quiet=True,
            command=conditions.command, data=conditions.data,
        )  # fmt: skip
        between = time.perf_counter()
        try:
            NotFinite.said(stopped)
            found, more = _measured(conditions, of_run, run_folder.read_weights(place), data, ("encoder", "z"))
        except NotFinite as error:
            return Made([], f"{place.name} diverged: {error}")
        trained = run_folder.seconds_of(place)
        _keep(said, found, {"training_seconds": trained} | more)
        line = _line(place.name, found, trained, time.perf_counter() - between)
    return Made(rows_of(said, entry), line=line)


def make_all(
    conditions: Conditions, chosen: Sequence[Entry], data: tuple, pool: Executor | None, told: Callable[[Made], None]
) -> dict[Entry, Made]:
    """All of them, in this process or by the workers of `pool`, which read the pictures' files themselves.

    told: called with each as it comes. Returns them in the order of `chosen`.
    """
    made: dict[Entry, Made] = {}
    several = ((entry, make(conditions, entry, data)) for entry in chosen)
    for entry, one in several if pool is None else _by_workers(conditions, chosen, data[0].content(None), pool):
        made[entry] = one
        told(one)
    return {entry: made[entry] for entry in chosen}


def job(conditions: Conditions, entry: Entry, content: str, sources: str) -> Made | tuple[str, str]:
    """What a worker does: `make`. content, sources: of the pictures and of dynlab where the call came from.

    What is wrong with a folder comes back as (folder, why), which any process can read.
    """
    from dynlab.images.data.own_pictures import picture_side

    base = entry.settings
    require_same_sources(sources, *_modules(conditions.other))
    conditions = replace(conditions, threads=min(conditions.threads, available_threads()))  # of the worker's machine
    try:
        if conditions.other is not None:
            data = conditions.other.load(base, conditions.data)
        else:
            data = _pictures(base.dataset, conditions.data, conditions.verify, picture_side(base))
        require(
            data[0].content(None) == content, "data", str(conditions.data), "a folder with the same pictures for all workers"
        )
        with ONE_RUN:
            return make(conditions, entry, data)
    except FolderError as error:
        return str(error.place), str(error).removeprefix(f"{error.place}: ")


def _by_workers(
    conditions: Conditions, chosen: Sequence[Entry], content: str, pool: Executor
) -> Iterator[tuple[Entry, Made]]:
    """(entry, what came of it) as they come."""
    # A worker of a cluster has a working folder of its own.
    there = replace(conditions, out=conditions.out.absolute(), data=conditions.data.absolute())
    sources = _sources(conditions.other)
    for entry, found in as_they_end(pool, ((one, job, (there, one, content, sources)) for one in chosen)):
        if not isinstance(found, Made):
            raise FolderError(_as_given(conditions, Path(found[0])), found[1])
        yield entry, found


def _as_given(conditions: Conditions, place: Path) -> Path:
    """A place of a worker's, as the caller calls it."""
    for given in (conditions.out, conditions.data):
        if place.is_relative_to(given.absolute()):
            return given / place.relative_to(given.absolute())
    return place


def _sources(other: OtherData | None = None) -> str:
    """Digest of the sources that decide the numbers of a run."""
    return digest_of_sources(*_modules(other))


def _modules(other: OtherData | None) -> tuple[str, ...]:
    """Whose sources decide the numbers of a run. other: on what is no picture."""
    more = () if other is None else (other.module,)
    return "dynlab.images.training.train", "dynlab.images.worth.representations", *more


@cache
def _pictures(dataset: str, folder: Path, verify: bool, side: int) -> tuple:
    """(train, test), kept for the next run of this worker."""
    from dynlab.images.worth import representations

    return representations.labelled(dataset, folder, None, verify, side=side)


def _at_the_start(conditions: Conditions, entry: Entry, data: tuple) -> Made:
    """Rows of the networks before training."""
    said = conditions.out / f"{entry.name}.json"
    if not said.is_file():
        found, more = _measured(conditions, entry.settings, {}, data, ("random encoder", "random z"))
        conditions.out.mkdir(parents=True, exist_ok=True)
        _keep(said, [row | {"representation": row["representation"].removeprefix("random ")} for row in found], more)
    return Made(rows_of(said, entry))


def _measured(
    conditions: Conditions, settings: Pretraining, weights: dict, data: tuple, which: tuple[str, str]
) -> tuple[list[dict], dict]:
    """Rows of two representations, and where it is asked for the spread of z."""
    from dynlab.images import layers
    from dynlab.images.worth import accuracy, representations

    if conditions.other is not None:
        return conditions.other.measure(settings, weights, data, which), {}
    found = representations.appraise(settings, weights, *data, which=which)
    if not conditions.spread:
        return found, {}
    networks = representations.networks_of(settings, data[1].pictures, layers)
    if weights:
        networks.load(weights)
    z = representations.features_of(networks, data[1].pictures, settings)[1]
    return found, {"unit_sd": accuracy.spread(z)[1]}


def _keep(path: Path, found: list[dict], more: dict) -> None:
    from dynlab.images.worth import representations
    from dynlab.tools.files import json_text, write_whole

    write_whole(path, json_text({"rows": [representations.plain(row) for row in found]} | more))


def rows_of(path: Path, entry: Entry) -> list[dict]:
    """The rows in a file of measurements, with the columns of the entry; FolderError of one line for a damaged file."""
    from dynlab.images.comparison import tables

    try:
        held = json.loads(path.read_text(encoding="utf-8-sig"))
        spread = {"unit_sd": held["unit_sd"]} if "unit_sd" in held else {}
        found: list[dict[str, Any]] = [
            {**dict(entry.columns), "seed": entry.seed, **row, **(spread if row["representation"] == "z" else {})}
            for row in held["rows"]
        ]
        tables.frame(found)[list(tables.MEASURES)].astype(float)
    except (ValueError, KeyError, TypeError, OSError) as error:
        why = f"cannot be read ({type(error).__name__}: {error}); remove it, and the run is measured again"
        raise FolderError(path, why) from None
    return found


def at_the_start(base: Pretraining, columns: tuple[tuple[str, str], ...], seed: int) -> Entry:
    """The networks before training, of a number of seed counted from the settings' own."""
    of_run = replace(base, seed=base.seed + seed)
    return Entry(columns, seed, f"random-seed{of_run.seed}", of_run, trained=False)


def _line(name: str, found: list[dict], trained: float, measured: float) -> str:
    rows = {row["representation"]: row for row in found}
    inside, z = rows["encoder"], rows["z"]
    if "cosine" in inside:
        return (
            f"{name}: EER {inside['cosine'].eer:.3f} (z {z['cosine'].eer:.3f}), rank of z {z['shape'].rank:.1f}, "
            f"correlation of z {z['shape'].mean_abs_correlation:.2f}; {trained:.0f} s, measured in {measured:.0f} s"
        )
    return (
        f"{name}: probe {inside['probe'].share:.3f} (z {z['probe'].share:.3f}), kNN {inside['knn'].share:.3f}, rank of z "
        f"{z['shape'].singular_rank:.1f}, correlation of z {z['shape'].mean_abs_correlation:.2f}; {trained:.0f} s, measured "
        f"in {measured:.0f} s"
    )
