"""A store of finished ensembles, so that a long run that is interrupted goes on where it was.

Each ensemble is one file, written completely or not at all, named by a hash of its settings and of the sources that
decide its numbers: after an edit to the dynamics nothing old is taken for new.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from dynlab.formulas.activations import require_built_in
from dynlab.model import Model
from dynlab.sweep import Ensemble

SOURCES = ("model.py", "training.py", "heads.py", "sweep.py", "formulas", "population")
STATES = ("signal", "gram", "head")


@cache
def physics_key() -> str:
    """Hash of the sources that ensembles are computed by."""
    digest = hashlib.sha256()
    root = Path(__file__).parent
    for name in SOURCES:
        place = root / name
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


class Store:
    """Ensembles by their settings (JSON-able dicts, the model among them) in a folder."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, settings: dict) -> Path:
        """Where the ensemble of these settings is, or would be."""
        require_built_in(settings["model"]["activation"], "in a store, which outlives what a process registers")
        text = json.dumps(settings, sort_keys=True) + physics_key()
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"

    def __contains__(self, settings: dict) -> bool:
        return self.path(settings).exists()

    def put(self, settings: dict, run: Ensemble) -> None:
        """Keep an ensemble."""
        arrays: dict[str, Any] = {"marks": run.marks}
        for name, states in (("starts", run.starts), ("ends", run.ends), ("snapshots", run.snapshots)):
            arrays |= {f"{name}.{part}": array for part, array in zip(STATES, states, strict=True)}
        for name in run.frame:
            column = run.frame[name].to_numpy()
            arrays[f"frame.{name}"] = column.astype(str) if column.dtype == object else column
        arrays["settings"] = np.array(json.dumps(run.settings))
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        path = self.path(settings)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        try:
            with open(partial, "wb") as file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def get(self, settings: dict) -> Ensemble:
        """The ensemble of these settings, as it was put; KeyError where there is none."""
        path = self.path(settings)
        if not path.exists():
            raise KeyError(f"no ensemble of {settings}")
        import pandas as pd

        with np.load(path) as stored:
            groups = {name: tuple(stored[f"{name}.{part}"] for part in STATES) for name in ("starts", "ends", "snapshots")}
            columns = {name[6:]: stored[name] for name in stored.files if name.startswith("frame.")}
            own = json.loads(str(stored["settings"]))
            marks = stored["marks"]
        frame = pd.DataFrame({k: v.astype(object) if v.dtype.kind == "U" else v for k, v in columns.items()})
        return Ensemble(model=Model(**settings["model"]), settings=own, frame=frame, marks=marks, **groups)
