"""A store of finished ensembles, so that a long run that is interrupted goes on where it was.

Each ensemble is one file, written completely or not at all, named by a hash of its settings and of the sources that
decide its numbers: after an edit to the dynamics nothing old is taken for new. The last bytes of a file are a digest of
those before: one that is damaged counts as not there, and is named.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dynlab.ensembles.ensemble import Ensemble
from dynlab.machine.workers import digest_of_sources
from dynlab.settings.activation_records import require_built_in
from dynlab.settings.model import Model
from dynlab.tools.files import FolderError, FolderTaken, expanded, flock, whole_file

# Modules that make the numbers of an ensemble, which are those of their sources and of all that these import.
PHYSICS = (
    "dynlab.ensembles.ensemble", "dynlab.population.any_training.flow", "dynlab.population.descent",
    "dynlab.population.pair.cuda", "dynlab.population.pair.flow",
)  # fmt: skip
STATES = ("signal", "gram", "head", "readout")  # the last with hidden units
LOCK = ".lock"
DIGEST = 32  # bytes


@cache
def physics_key() -> str:
    """Hash of the sources that ensembles are computed by: all that the modules of `PHYSICS` load, how they are compiled,
    too."""
    return digest_of_sources(*PHYSICS)


class Store:
    """Ensembles by their settings (JSON-able dicts, the model among them) in a folder, which it holds as long as it lives.

    damage : list of str, a line for each file found damaged.

    Raises FolderTaken where another process has it open, FolderError where it cannot be written.
    """

    def __init__(self, folder: Path):
        self.folder = expanded(folder)
        self.damage: list[str] = []
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise FolderError(self.folder, f"cannot be written ({error.strerror})") from error
        weakref.finalize(self, os.close, lock)
        if flock(lock) is False:
            raise FolderTaken(self.folder, "another process is working there")
        for leftover in self.folder.glob(".*.partial"):  # of a process that was killed
            leftover.unlink()

    def path(self, settings: dict) -> Path:
        """Where the ensemble of these settings is, or would be."""
        require_built_in(settings["model"]["activation"], "in a store, which outlives what a process registers")
        text = json.dumps(settings, sort_keys=True) + physics_key()
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"

    def __contains__(self, settings: dict) -> bool:
        path = self.path(settings)
        if not path.exists():
            return False
        if self._content(path) is None:
            self.damage.append(f"{path}: is damaged: computed again")
            return False
        return True

    def put(self, settings: dict, run: Ensemble) -> None:
        """Keep an ensemble."""
        arrays: dict[str, Any] = {"marks": run.marks}
        for name, states in (("starts", run.starts), ("ends", run.ends), ("snapshots", run.snapshots)):
            arrays |= {f"{name}.{part}": array for part, array in zip(STATES, states, strict=False)}
        for name in run.frame:
            column = run.frame[name].to_numpy()
            arrays[f"frame.{name}"] = column.astype(str) if column.dtype == object else column
        arrays["settings"] = np.array(json.dumps(run.settings))
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        content = buffer.getvalue()
        with whole_file(self.path(settings)) as partial:
            partial.write_bytes(content + hashlib.sha256(content).digest())

    def get(self, settings: dict) -> Ensemble:
        """The ensemble of these settings, as it was put; KeyError where there is none."""
        content = self._content(self.path(settings))
        if content is None:
            raise KeyError(f"no ensemble of {settings}")
        import pandas as pd

        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            places = {name: [f"{name}.{part}" for part in STATES] for name in ("starts", "ends", "snapshots")}
            groups = {name: tuple(stored[at] for at in parts if at in stored) for name, parts in places.items()}
            columns = {name[6:]: stored[name] for name in stored.files if name.startswith("frame.")}
            own = json.loads(str(stored["settings"]))
            marks = stored["marks"]
        frame = pd.DataFrame({k: v.astype(object) if v.dtype.kind == "U" else v for k, v in columns.items()})
        return Ensemble(model=Model(**settings["model"]), settings=own, frame=frame, marks=marks, **groups)

    @staticmethod
    def _content(path: Path) -> bytes | None:
        """A file without its digest; None where it is missing, cannot be read or does not match."""
        try:
            content = path.read_bytes()
        except OSError:
            return None
        whole = hashlib.sha256(content[:-DIGEST]).digest() == content[-DIGEST:]
        return content[:-DIGEST] if whole else None
