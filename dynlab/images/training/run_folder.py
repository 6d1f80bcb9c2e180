"""The folder of a pretraining run: what is written while it goes on, and how a stopped run is continued.

run.json        settings, data, versions; status "running", "finished" or "stopped: step N: what is not finite"
metrics.csv     a line every `record` steps: the same bytes however often the run was stopped
epochs.jsonl    a JSON object a line, the same numbers at the end of every epoch and of the run (null: not known): likewise
times.csv       seconds since the start of this process at the lines of metrics.csv (not the same bytes)
checkpoints/    the last three states, each with the text of both up to it; none with numbers that are not finite
weights.npz     encoder, projector and head at the end
curves.png, .pdf
events.out.*    on request: metrics.csv for TensorBoard (`dynlab.images.training.event_files`)
"""

from __future__ import annotations

import io
import json
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from dynlab.images.ops import ops_of
from dynlab.images.settings import Pretraining
from dynlab.images.training.event_files import EventFile, event_files, require_tensorboard
from dynlab.images.verdict import METRIC_COLUMNS, NotFinite, json_line, metric_line, metric_numbers, middle, poor, verdict_of
from dynlab.machine.device import Device, chosen
from dynlab.tools import checkpoint, plots, show
from dynlab.tools.checks import SettingError
from dynlab.tools.files import FolderError, expanded, growing_folder, json_text, whole_file, write_whole

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from dynlab.images.data.datasets import ImageSet
    from dynlab.images.training.train import Trainer

KEPT = 3
WARNED = ("collapsed", "diverged")  # verdicts that are told while a run goes on, once
CHECKPOINTS, METRICS, TIMES, RUN, WEIGHTS = "checkpoints", "metrics.csv", "times.csv", "run.json", "weights.npz"
EPOCHS = "epochs.jsonl"


def settings_of(place: Path) -> Pretraining:
    """The settings in run.json of a run's folder; one line where they are none that a run can have."""
    try:
        return Pretraining(**run_of(place)["settings"])
    except (SettingError, TypeError) as error:
        raise FolderError(place / RUN, f"is damaged ({error})") from None


def run_of(place: Path) -> dict:
    """What run.json of a run's folder holds; one line where there is none or it is not one of pretraining."""
    path = place / RUN
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise FolderError(place, f"holds no run of dynlab.pretrain ({RUN} is missing)") from None
    except (ValueError, OSError) as error:
        raise FolderError(path, f"cannot be read ({error})") from None
    if not isinstance(found, dict) or found.get("kind") != "pretraining":
        raise FolderError(path, "is not the record of a run of dynlab.pretrain")
    for name, kind in (("settings", dict), ("status", str), ("data", str)):
        if not isinstance(found.get(name), kind):
            raise FolderError(path, f"is damaged ({name})")
    return found


@dataclass(frozen=True, eq=False)
class Recorded:
    """A run read from its folder `place`, finished or not; `read` makes it.

    settings: as it was started with. status: "running" (or stopped) or "finished". metrics: metrics.csv as it is now.
    """

    place: Path
    settings: Pretraining
    status: str
    metrics: pd.DataFrame

    def __repr__(self) -> str:
        if not len(self.metrics):
            return show.line("Recorded", [str(self.place)[-60:], f"{self.status}, no step recorded"])
        last = self.metrics.iloc[-1]
        numbers = f"loss {last['loss']:.4g}, rank of z {last['rank']:.4g}, head {last['head_norm']:.4g}"
        return show.line("Recorded", [str(self.place)[-40:], f"{self.status}, step {last['step']:.0f}", numbers])

    def _repr_html_(self) -> str:
        settings = show.pairs_table(self.settings.plain(), "settings")
        if not len(self.metrics):
            return settings
        rows = [(name, self.metrics[name].iloc[0], self.metrics[name].iloc[-1]) for name in self.metrics]
        return show.table(rows, ("", "first line", "last line"), repr(self)) + settings

    def weights(self) -> dict[str, np.ndarray]:
        """Encoder, projector and head at the end, by name; FolderError of one line where the run has not ended."""
        return read_weights(self.place)

    def plot(self) -> Figure:
        """Loss, spectrum, head and accuracy against the epoch; a matplotlib Figure that belongs to no window."""
        return plots.figure(self)


def read(place: str | Path) -> Recorded:
    """The run in the folder `place`. Raises `dynlab.tools.files.FolderError`, of one line, where there is none."""
    import pandas as pd

    place = expanded(place)
    status = run_of(place)["status"]
    try:
        metrics = pd.read_csv(place / METRICS)
    except (OSError, ValueError) as error:
        raise FolderError(place / METRICS, f"cannot be read ({error})") from None
    return Recorded(place, settings_of(place), status, metrics)


def pretrain(
    settings: Pretraining, data_set: ImageSet, place: Path, *, resume: bool = False, threads: int | None = None,
    every: int | None = None, device: str | Device = "cpu", quiet: bool = False, command: str = "",
    data: str | Path = "", draw: Callable[[Path], None] | None = None, tensorboard: bool = False,
) -> list[str]:  # fmt: skip
    """Train and fill the folder `place`, which `read` reads.

    Parameters
    ----------
    settings : Pretraining
    data_set : `dynlab.images.data.datasets.ImageSet`.
    place : a new or an empty folder, or with `resume` that of a run which was stopped.
    resume : whether to go on from the last checkpoint there.
    threads : to compute with (None: all cores).
    every : steps between checkpoints (None: an epoch).
    device : where to compute, of "cpu", "cuda", "auto".
    quiet : whether to print nothing.
    command, data : for run.json: how the run was started, and the folder of its pictures ("" where they come from none).
    draw : called with the folder at the end, before run.json says "finished": `dynlab.drawing.pretraining.write` (None: no
        curves).
    tensorboard : whether TensorBoard's event file is written too; a run that has one goes on with it in any case.

    Returns
    -------
    list of str : lines saying what stopped the training, none where it reached its end.

    Raises SettingError for settings that do not fit the pictures and where tensorboardX is asked for and not installed,
    FolderError for a folder that is not to be had.
    """
    started = time.perf_counter()
    tensorboard = tensorboard or (resume and bool(event_files(place)))
    if tensorboard:
        require_tensorboard()
    device = chosen(device)
    ops = ops_of(device, threads)
    settings.epoch_steps(len(data_set) if settings.limit is None else min(settings.limit, len(data_set)))  # refuses a batch
    with growing_folder(place, resume) as folder:
        if resume and finished(folder, quiet):
            return []
        from dynlab.images.training.train import Trainer

        if device.asked != "cpu":
            _say(quiet, f"computing on {device.words}")
        trainer = getattr(data_set, "trainer", Trainer)(settings, data_set, ops)  # recordings have one of their own
        run = Run(folder, settings, trainer, every, quiet, started)
        facts = {"command": command, "data": str(expanded(data).absolute()) if str(data) else "", "pictures": trainer.count}
        facts |= {"left_out": list(data_set.left_out)} if data_set.left_out else {}
        run.begin(resume, facts | {"content": data_set.content(settings.limit), "device": device.words}, tensorboard)
        stopped = run.go_on()
        run.end(draw, stopped)
        return stopped


def finished(place: Path, quiet: bool = True) -> bool:
    """Whether the run in a folder has reached its end; says so where it has, unless it is to be quiet."""
    ended = run_of(place)["status"] == "finished"
    if ended:
        _say(quiet, f"{place}: finished already")
    return ended


class Run:
    """A run being recorded in its folder."""

    def __init__(
        self, folder: Path, settings: Pretraining, trainer: Trainer, every: int | None, quiet: bool, started: float
    ) -> None:
        self.folder, self.settings, self.trainer, self.quiet, self.started = folder, settings, trainer, quiet, started
        self.epoch_steps, self.total = trainer.epoch_steps, trainer.total
        self.every = self.epoch_steps if every is None else every
        self.lines = [",".join(METRIC_COLUMNS) + "\n"]
        self.step = self.first = 0
        self.facts: dict = {}
        self.known: list[dict[str, float]] = []  # `lines` as numbers
        self.epochs: list[str] = []  # the lines of epochs.jsonl
        self.events: EventFile | None = None
        self.warned = False  # whether it was said that the run collapses

    def begin(self, resume: bool, facts: dict, tensorboard: bool) -> None:
        """Start anew, or where the last checkpoint stands."""
        self.facts = facts
        found = checkpoint.latest(self.folder / CHECKPOINTS) if resume else None
        if found is not None:
            state = checkpoint.load(found, self._fingerprint())
            self.step = self.first = int(state.pop("step"))
            self.lines = bytes(state.pop("metrics")).decode().splitlines(keepends=True)
            self.epochs = bytes(state.pop("epochs", b"")).decode().splitlines(keepends=True)  # none in older ones
            self.trainer.restore(state)
            self.known = [metric_numbers(line) for line in self.lines[1:]]
            so_far = (self.known[: n + 1] for n in range(len(self.known)))
            self.warned = any(verdict_of(self.settings, lines) in WARNED for lines in so_far)
            _say(self.quiet, f"going on from step {self.step} of {self.total}")
        self._write_run("running")
        write_whole(self.folder / METRICS, "".join(self.lines))
        write_whole(self.folder / EPOCHS, "".join(self.epochs))
        if found is None:
            write_whole(self.folder / TIMES, "step,seconds\n")
        if tensorboard:
            self._begin_events()

    def _begin_events(self) -> None:
        """The event file, with the lines so far: at the times at which they came, were there no pauses between processes."""
        self.events = EventFile(self.folder)
        times = dict(_elapsed(self.folder))
        last = max((times.get(int(line["step"]), 0.0) for line in self.known), default=0.0)
        for line in self.known:
            self.events.add(line, time.time() - last + times.get(int(line["step"]), last))
        self.events.flush()

    def go_on(self) -> list[str]:
        """Train to the end, a line of metrics every `record` steps and a checkpoint every `every` steps."""
        from dynlab.tools.progress import progress

        trainer = self.trainer
        with progress(self.total, "steps", self.quiet) as told, ExitStack() as opened:
            names = (METRICS, TIMES, EPOCHS)
            texts = {
                name: opened.enter_context(open(self.folder / name, "a", encoding="utf-8", newline="")) for name in names
            }
            if self.events is not None:
                opened.callback(self.events.close)
            while self.step < self.total:
                trainer.step(self.step)
                self.step += 1
                told(self.step)
                try:
                    self._record(texts)
                    if self.step % self.every == 0 and self.step < self.total:
                        self._checkpoint()
                    elif self.step == self.total:
                        trainer.weights()
                except NotFinite as error:
                    return [f"step {self.step}: {error}"]
        return []

    def _record(self, texts: Mapping[str, TextIO]) -> None:
        """A line of metrics and of epochs where one is due; raises `NotFinite` instead of writing one that is not."""
        epoch_over = self.step % self.epoch_steps == 0
        asked = epoch_over and bool(self.settings.knn_every) and self._knn_due()
        due = asked or self.step % self.settings.record == 0 or self.step in (1, self.total)
        if not (due or epoch_over):
            return
        if not due:
            self.trainer.weights()  # weights that are not finite are told as such, as by a checkpoint
        found = {"step": self.step, "epoch": self.step / self.epoch_steps, **self.trainer.measure(self.step - 1)}
        found["knn"] = self.trainer.knn() if asked else float("nan")
        if due:
            self._add(found, texts)
        if epoch_over or self.step == self.total:
            epoch = self.step // self.epoch_steps if epoch_over else found["epoch"]
            self.epochs.append(json_line({name: found[name] for name in METRIC_COLUMNS} | {"epoch": epoch}))
            _append(texts[EPOCHS], self.epochs[-1])

    def end(self, draw: Callable[[Path], None] | None, stopped: list[str]) -> None:
        """Write weights and curves; the run is finished unless it was stopped."""
        if stopped:
            self._write_run("stopped: " + stopped[0])
            return
        with whole_file(self.folder / WEIGHTS) as partial, open(partial, "wb") as file:
            weights: dict[str, Any] = self.trainer.weights()
            np.savez(file, **weights)
        if draw is not None:
            draw(self.folder)
        self._write_run("finished")
        last = self.known[-1]
        seconds = time.perf_counter() - self.started
        _say(
            self.quiet,
            f"{self.folder}: {self.total} steps, loss {last['loss']:.4f}, rank of z {last['rank']:.1f}, "
            f"mean correlation {last['correlation']:.2f}, head {last['head_norm']:.2f}, in {seconds:.0f} s",
        )

    def _knn_due(self) -> bool:
        return self.step // self.epoch_steps % self.settings.knn_every == 0 or self.step == self.total

    def _add(self, found: dict, texts: Mapping[str, TextIO]) -> None:
        """A line of metrics, on the disk before the training goes on."""
        line = metric_line(found)
        self.lines.append(line)
        self.known.append(metric_numbers(line))
        _append(texts[METRICS], line)
        _append(texts[TIMES], f"{self.step},{time.perf_counter() - self.started:.3f}\n")
        if self.events is not None:
            self.events.add(self.known[-1], time.time())
            self.events.flush()
        if not self.warned:
            self._warn()
        if not self.quiet and not sys.stderr.isatty() and len(self.lines) % 20 == 0:
            _say(False, self._progress_line(found))

    def _warn(self) -> None:
        """Say once that the outputs have collapsed or grown beyond measure, at the line that shows it."""
        found = verdict_of(self.settings, self.known)
        self.warned = found in WARNED
        if self.warned and not self.quiet:
            what = "; ".join(poor(self.settings, middle(self.known)))
            if found == "diverged":
                what = "the outputs or the head have grown a million-fold"
            print(f"step {self.step}: {found}: {what} (dynlab explain {self.folder})", file=sys.stderr, flush=True)

    def _progress_line(self, found: dict) -> str:
        left = (time.perf_counter() - self.started) * (self.total - self.step) / max(self.step - self.first, 1)
        knn = "" if np.isnan(found["knn"]) else f", kNN {found['knn']:.3f}"
        shape = "" if np.isnan(found["head_asymmetry"]) else f" (asymmetry {found['head_asymmetry']:.2f})"
        return (
            f"step {self.step} of {self.total}: loss {found['loss']:.4f}, rank of z {found['rank']:.1f}, "
            f"mean correlation {found['correlation']:.2f}, head {found['head_norm']:.2f}{shape}{knn}, "
            f"{left:.0f} s left"
        )

    def _checkpoint(self) -> None:
        kept = {"metrics": self.lines, "epochs": self.epochs}
        arrays = self.trainer.state() | {"step": np.array(self.step)}
        arrays |= {name: np.frombuffer("".join(lines).encode(), np.uint8) for name, lines in kept.items()}
        checkpoint.save(self.folder / CHECKPOINTS, self.step, self._fingerprint(), arrays, KEPT)

    def _fingerprint(self) -> dict:
        return {"settings": self.settings.plain(), "pictures": [self.facts["pictures"], self.facts["content"]]}

    def _write_run(self, status: str) -> None:
        from dynlab.tools.provenance import provenance

        plain = self.settings.plain()
        options = plain | {"data": self.facts["data"]}  # what dynlab.pretrain --config takes
        record = {"kind": "pretraining", "program": "dynlab.pretrain", "status": status, **self.facts, "options": options,
                  "settings": plain}  # fmt: skip
        write_whole(self.folder / RUN, json_text(record | provenance(self.started)))


def seconds_of(place: Path) -> float:
    """Seconds that a run took, from times.csv: those of every process that had a part in it."""
    return max((seconds for _, seconds in _elapsed(place)), default=0.0)


def _elapsed(place: Path) -> list[tuple[int, float]]:
    """(step, seconds since the beginning of the run, without pauses between processes) of every line of times.csv."""
    rows = [line.split(",") for line in (place / TIMES).read_text(encoding="utf-8").splitlines()[1:]]
    found, ended, before = [], 0.0, 0.0
    for step, seconds in rows:
        ended += before if float(seconds) < before else 0.0  # a new process began
        before = float(seconds)
        found.append((int(step), ended + before))
    return found


def _append(file: TextIO, text: str) -> None:
    file.write(text)
    file.flush()


def read_weights(place: Path) -> dict:
    """The arrays of weights.npz; one line where the run has not ended."""
    path = place / WEIGHTS
    if not path.is_file():
        status = run_of(place)["status"]
        if status.startswith("stopped"):
            raise FolderError(place, f"the run was {status.replace('stopped:', 'stopped at')}, and has no weights")
        go_on = f"dynlab pretrain --resume --out {shlex.quote(str(place))}"
        raise FolderError(place, f"the run is not finished (no {WEIGHTS}); go on with it by: {go_on}")
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (*checkpoint.ARCHIVE_ERRORS, OSError) as error:
        raise FolderError(path, f"cannot be read ({error})") from None


def _say(quiet: bool, line: str) -> None:
    if not quiet:
        print(line, flush=True)
