"""Checkpoints: whole or not there, the last few kept. The last 32 bytes of the npz are the SHA-256 of those before."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from dynlab.tools.checks import OneLine, SettingError
from dynlab.tools.files import expanded, whole_file

KEPT = 2
PATTERN = "step-*.npz"
SETTINGS = "settings"
DIGEST = 32  # bytes of a checksum
# What the readers of zip and npy raise where a file is damaged; RuntimeError: it looks encrypted.
ARCHIVE_ERRORS = (ValueError, EOFError, KeyError, RuntimeError, struct.error, zipfile.BadZipFile, zlib.error)


class CheckpointError(OneLine, OSError):
    """A checkpoint from which no run can go on; the text is one line saying which, why, and what to do instead."""

    def __init__(self, path: Path, why: str):
        super().__init__(f"{path}: {why}")


def save(folder: Path, step: int, settings: dict, arrays: dict, kept: int = KEPT) -> None:
    """Write folder/step-STEP.npz under its name only when whole on the disk; remove all but the last `kept`."""
    folder.mkdir(parents=True, exist_ok=True)
    packed = io.BytesIO()
    everything: dict[str, Any] = {**arrays, SETTINGS: _text(settings)}
    np.savez(packed, **everything)
    contents = packed.getvalue()
    with whole_file(folder / f"step-{step:012d}.npz") as partial:
        partial.write_bytes(contents + hashlib.sha256(contents).digest())
    for old in sorted(folder.glob(PATTERN))[:-kept]:
        old.unlink()


def load(path: Path, settings: dict, named: bool = False) -> dict:
    """The arrays of a checkpoint, the last one of its folder or, with `named`, one that was asked for by its name.

    Raises CheckpointError where it is damaged, naming the one before it, or belongs to a run with other settings.
    """
    packed = path.read_bytes()
    if hashlib.sha256(packed[:-DIGEST]).digest() != packed[-DIGEST:]:
        raise CheckpointError(path, f"is damaged; {_instead(path, named)}")
    with np.load(io.BytesIO(packed[:-DIGEST]), allow_pickle=False) as file:
        contents = {name: file[name] for name in file.files}
    theirs = contents.pop(SETTINGS)
    if not np.array_equal(theirs, _text(settings)):
        other = _differing(json.loads(theirs.tobytes()), json.loads(_text(settings).tobytes()))
        raise CheckpointError(path, f"belongs to a run with other {other}; give those of that run, or another folder")
    return contents


def _differing(theirs: dict, ours: dict) -> str:
    """The names whose values differ, in words; of what holds settings by name, the names in it."""
    return " and ".join(_names(theirs, ours)) or SETTINGS


def _names(theirs: dict, ours: dict) -> list[str]:
    names: list[str] = []
    for name in {**theirs, **ours}:
        one, other = theirs.get(name), ours.get(name)
        if isinstance(one, dict) and isinstance(other, dict):
            names += _names(one, other)
        elif one != other:
            names.append(name)
    return names


def latest(folder: Path, resume: str | None = None) -> Path | None:
    """The checkpoint to go on from: the last one in the folder, or the one called `resume`; None where there is none."""
    if resume is not None:
        path = expanded(resume) if Path(resume).parent != Path(".") else folder / resume
        if not path.is_file():
            raise SettingError("resume", resume, f"a checkpoint, as those in {folder}")
        return path
    found = sorted(folder.glob(PATTERN))
    return found[-1] if found else None


def _instead(path: Path, named: bool) -> str:
    """What to do about a damaged checkpoint, where every command that keeps checkpoints can do it."""
    earlier = [other.name for other in sorted(path.parent.glob(PATTERN)) if other.name < path.name]
    if named:
        return f"the one before it is {earlier[-1]}" if earlier else "there is none before it"
    return f"remove it to go on from {earlier[-1]}" if earlier else "remove it to begin anew: there is none before it"


def _text(settings: dict) -> np.ndarray:
    return np.frombuffer(json.dumps(settings, sort_keys=True).encode(), np.uint8)
