"""A monitor for anybody's training loop: `dynlab.Monitor`.

A folder holds `metrics.csv`, the columns of a run of dynlab.pretrain as far as they are known, `monitor.jsonl`, a JSON
object a line with more, and `run.json`. Each record is on the disk before `update` returns; what a killed process left of a
last line is dropped by the next one. `dynlab explain FOLDER` reads it.
"""

from __future__ import annotations

import json
import math
import sys
import warnings
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from dynlab._version import __version__
from dynlab.embeddings import passes
from dynlab.embeddings.diagnosis import look
from dynlab.embeddings.forecast import on_the_way
from dynlab.embeddings.given import host_array
from dynlab.embeddings.standing import verdict_on
from dynlab.images.verdict import METRIC_COLUMNS, json_line, metric_line, metric_numbers
from dynlab.images.worth.ranks import varying_between
from dynlab.population.head_matrices import norm_and_asymmetry
from dynlab.tools import show
from dynlab.tools.checks import integer, require
from dynlab.tools.files import LOCK, FolderError, FolderTaken, expanded, held_folder, json_text, write_whole

if TYPE_CHECKING:
    from dynlab.tools.types import Array

KIND = "monitor"  # in run.json
RECORD_FILE, METRIC_FILE, RUN = "monitor.jsonl", "metrics.csv", "run.json"
PLAIN = (1e-100, 1e100)  # largest entries whose squares and products are plain floats
NUMBERS = ("loss", "rank", "correlation", "head_norm", "head_asymmetry", "sd", "unit_sd")


class CollapseWarning(UserWarning):
    """A run is on the way to collapse, or its numbers are no longer finite."""


class Monitor:
    """Records what embeddings look like while somebody's own loop trains, and warns once where they are about to collapse.

    Parameters
    ----------
    folder : new or empty, or that of a monitor before, whose records are continued (which is said on standard error).
    quiet : whether to say nothing there; the warning is given all the same.

    One process at a time holds the folder; `close`, the end of a `with` block or of the process let it go. Raises
    FolderTaken of one line where another process writes there or the folder holds something else, FolderError where it
    cannot be written.
    """

    def __init__(self, folder: str | Path, *, quiet: bool = False) -> None:
        self.folder, self.quiet = expanded(folder), quiet
        self.lines: list[dict[str, float]] = []  # the numbers of metrics.csv
        self.warned: int | None = None  # the step of the warning
        self._texts: list[tuple[str, str]] = []  # a line of each file
        self._files: tuple[TextIO, TextIO] | None = None
        self._open = ExitStack()
        before = _before(self.folder)
        self._open.enter_context(held_folder(self.folder))
        if before is not None:
            self._take_up(before)
        self._rewrite("running")

    def __repr__(self) -> str:
        last = self.lines[-1] if self.lines else None
        said = f"step {last['step']:.0f}, rank {last['rank']:.3g}" if last else "no record yet"
        return show.line("Monitor", [str(self.folder)[-60:], f"{len(self.lines)} records", said])

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end("finished" if kind is None else "stopped")

    def update(self, step: int, z: Any, head: Any = None, loss: Any = None) -> dict[str, Any]:
        """Record a step.

        Parameters
        ----------
        step : an integer >= 0. One that is not beyond the last record's takes the place of all records from it on, as where
            training goes on from a checkpoint; this is said on standard error.
        z : (n, m) array or tensor, n >= 2: the embeddings of the batch, before the head.
        head : (m, m), the matrix of a linear head, or None.
        loss : a number, or None.

        Returns
        -------
        dict : what was found: the numbers of metrics.csv, rows, outputs, dead, head_diagonal, verdict.

        Raises SettingError of one line for arrays that do not fit. Numbers that are not finite are recorded as unknown, and
        warned of: training goes on.
        """
        if self._files is None:
            raise FolderError(self.folder, "this monitor was closed; a new one goes on")
        step = integer("step", step, at_least=0)
        found: dict[str, Any] = {"step": step} | measure(z, head)
        if loss is not None:
            value = host_array("loss", loss)
            require(value.size == 1, "loss", value.shape, "one number")
            found["loss"] = float(value.reshape(-1)[0])
        if loss is not None and not math.isfinite(found["loss"]):
            found["verdict"] = "diverged"
        if self.lines and step <= self.lines[-1]["step"]:
            self._go_back(step)
        self._write(found)
        self._warn(found)
        return found

    def close(self) -> None:
        """Say in run.json that the run has ended, and let the folder go; a second time does nothing."""
        self._end("finished")

    def _write(self, found: dict[str, Any]) -> None:
        row = {name: found.get(name, math.nan) for name in METRIC_COLUMNS}
        texts = (metric_line(row), json_line(found))
        assert self._files is not None
        for file, line in zip(self._files, texts, strict=True):
            file.write(line)
            file.flush()
        self.lines.append(row)
        self._texts.append(texts)

    def _warn(self, found: dict[str, Any]) -> None:
        """The one warning, where it is due."""
        if self.warned is not None:
            return
        if found["verdict"] == "diverged":
            what = "z, the head or the loss are not finite"
        elif on_the_way(self.lines, min(found["outputs"], found["rows"] - 1)):
            what = f"on the way to collapse: rank {found['rank']:.3g}, mean |correlation| {found['correlation']:.2f}"
        else:
            return
        self.warned = int(found["step"])
        self._write_run("running")
        warnings.warn(f"step {found['step']}: {what} (dynlab explain {self.folder})", CollapseWarning, stacklevel=3)

    def _take_up(self, before: dict) -> None:
        """Go on with the records of a monitor before."""
        self.warned = before.get("warned")
        self._texts = _pairs(self.folder)
        self.lines = [_numbers(self.folder, row) for row, _ in self._texts]
        last = f"after step {self.lines[-1]['step']:.0f}" if self.lines else "from the beginning"
        self._say(f"goes on {last} ({len(self.lines)} records)")

    def _go_back(self, step: int) -> None:
        """Drop the records from a step on."""
        kept = sum(line["step"] < step for line in self.lines)
        self._say(
            f"step {step} after step {self.lines[-1]['step']:.0f}: {len(self.lines) - kept} records from it on are dropped"
        )
        del self.lines[kept:], self._texts[kept:]
        if self.warned is not None and self.warned >= step:
            self.warned = None
        self._rewrite("running")

    def _rewrite(self, status: str) -> None:
        """All files anew, and open for more."""
        self._close_files()
        heading = ",".join(METRIC_COLUMNS) + "\n"
        write_whole(self.folder / METRIC_FILE, heading + "".join(row for row, _ in self._texts))
        write_whole(self.folder / RECORD_FILE, "".join(line for _, line in self._texts))
        self._write_run(status)
        names = (METRIC_FILE, RECORD_FILE)
        files = [open(self.folder / name, "a", encoding="utf-8", newline="") for name in names]
        self._files = (files[0], files[1])

    def _write_run(self, status: str) -> None:
        record = {"kind": KIND, "program": "dynlab.Monitor", "status": status, "warned": self.warned, "dynlab": __version__}
        write_whole(self.folder / RUN, json_text(record))

    def _close_files(self) -> None:
        for file in self._files or ():
            file.close()
        self._files = None

    def _end(self, status: str) -> None:
        if self._files is not None:
            self._close_files()
            self._write_run(status)
            self._open.close()

    def _say(self, text: str) -> None:
        if not self.quiet:
            print(f"dynlab.Monitor: {self.folder}: {text}", file=sys.stderr, flush=True)


def measure(z: Any, head: Any = None) -> dict[str, Any]:
    """What a record holds of embeddings (n, m) and of a head (m, m) or None; verdict "diverged" where not all is finite."""
    z = host_array("z", z)
    require(
        z.ndim == 2 and len(z) >= 2 and z.shape[1] > 0, "z", z.shape, "a matrix of two rows or more, a row for each input"
    )
    n, m = z.shape
    found = {"rows": n, "outputs": m, "dead": 0} | dict.fromkeys(NUMBERS, math.nan) | {"head_diagonal": math.nan}
    if head is not None:
        matrix = np.asarray(host_array("head", head), dtype=np.float64)
        require(matrix.shape == (m, m), "head", matrix.shape, f"{m} x {m}, a row for each output of z")
        found["head_norm"], found["head_asymmetry"] = norm_and_asymmetry(matrix)
        found["head_diagonal"] = float(np.abs(np.diagonal(matrix) - 1.0).max())
    low, high = z.min(0).astype(np.float64), z.max(0).astype(np.float64)
    largest = float(max(-low.min(), high.max()))
    finite = math.isfinite(largest) and (head is None or math.isfinite(found["head_norm"] + found["head_diagonal"]))
    if not finite:
        return found | {"verdict": "diverged"}
    if PLAIN[0] < largest < PLAIN[1]:
        alive = varying_between(low, high, float(np.finfo(z.dtype if z.dtype.kind == "f" else np.float64).eps))
        covariance, found["unit_sd"] = _plain_sums(z.astype(np.float64), alive)
        found["sd"], found["dead"] = float(np.sqrt(np.diagonal(covariance)).mean()), int(m - alive.sum())
    else:
        cloud = passes.cloud("z", z)
        covariance, found["unit_sd"], found["dead"] = cloud.covariance, cloud.unit_sd, int(m - cloud.alive.sum())
        found["sd"] = float(np.sqrt(np.diagonal(covariance)).mean() * cloud.unit)
    _, found["rank"], found["correlation"] = look(covariance)
    return found | {"verdict": verdict_on(found["rank"], found["correlation"], found["unit_sd"], n, m)[0]}


def _plain_sums(z: Array, alive: np.ndarray) -> tuple[Array, float]:
    """Covariance (m, m) and deviation at unit length of a batch z (n, m) in float64, which is overwritten."""
    n = len(z)
    ones = np.ones(n)
    lengths = np.einsum("ij,ij->i", z, z)
    small = bool(lengths.min() < passes.TINY * lengths.max())
    units = passes.unit_rows(z) if small else z * (1.0 / np.sqrt(lengths))[:, None]
    units -= ones @ units / n
    z -= ones @ z / n
    if not alive.all():
        z[:, ~alive] = 0.0
    return z.T @ z / n, float(np.sqrt(np.einsum("ij,ij->j", units, units) / n).mean())


def _before(place: Path) -> dict | None:
    """run.json of a monitor that wrote to this folder before; None for a new or empty one; FolderTaken for any other."""
    if place.exists() and not place.is_dir():
        raise FolderTaken(place, "is a file; must be a new or an empty folder, or that of a monitor")
    names = {path.name for path in place.iterdir()} - {LOCK} if place.is_dir() else set()
    if not names:
        return None
    try:
        found = json.loads((place / RUN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FolderTaken(place, "holds other files; must be a new or an empty folder, or that of a monitor") from None
    except (ValueError, OSError) as error:
        raise FolderError(place / RUN, f"cannot be read ({error})") from None
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise FolderTaken(place, "holds another run; must be a new or an empty folder, or that of a monitor")
    return found


def records_of(path: Path) -> list[tuple[int, int]]:
    """(rows, outputs) of every whole line of a monitor's records; FolderError of one line where they cannot be read."""
    try:
        whole = [line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.endswith("\n")]
        return [(int(one["rows"]), int(one["outputs"])) for one in map(json.loads, whole)]
    except FileNotFoundError:
        raise FolderError(path, "is missing") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FolderError(path, f"is damaged ({error})") from None


def _pairs(place: Path) -> list[tuple[str, str]]:
    """The lines of both files that are whole in both, in order."""
    try:
        rows = (place / METRIC_FILE).read_text(encoding="utf-8").splitlines(keepends=True)[1:]
        records = (place / RECORD_FILE).read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError) as error:
        raise FolderError(place, f"cannot be continued ({error})") from None
    return [pair for pair in zip(rows, records, strict=False) if all(line.endswith("\n") for line in pair)]


def _numbers(place: Path, row: str) -> dict[str, float]:
    try:
        return metric_numbers(row)
    except ValueError as error:
        raise FolderError(place / METRIC_FILE, f"is damaged ({error})") from None
