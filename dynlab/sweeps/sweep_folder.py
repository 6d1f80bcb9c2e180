"""The folder of a sweep: its plan, and a small file for each finished point, whole or not there.

plan.json          the plan as it was given, and in words which points it has
swept/KEY.json     settings and results of a point, with the digest of both and of the sources that made them
runs/KEY/          of pretraining: the folder of `dynlab.pretrain`
sweep.csv, run.json

A point is known by its settings, so a plan with more points, or with the same in another order, goes on with what is there.
One that lacks a point is refused: a mistyped value would begin another sweep among the results of the first.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dynlab.tools.files import LOCK, FolderError, FolderTaken, held_folder, json_text, write_whole

POINTS, RUNS, PLAN = "swept", "runs", "plan.json"
NOT_FINITE = ("nan", "inf", "-inf")  # which JSON cannot hold as numbers


def point_key(command: str, settings: Mapping[str, Any]) -> str:
    """What a point is known by: a digest of the command and of all its settings, the defaults among them."""
    text = json.dumps({"command": command, "settings": settings}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def check_sweep_folder(out: Path) -> None:
    """FolderTaken where something else than a sweep stands there."""
    if (out.exists() or out.is_symlink()) and not (out / POINTS).is_dir():
        if not out.is_dir() or any(path.name != LOCK for path in out.iterdir()):
            raise FolderTaken(out, "holds other files; must be a new or an empty folder, or one of dynlab.sweep")


@contextmanager
def sweep_folder(out: Path) -> Iterator[SweepFolder]:
    """The folder, made where it is missing, and held against other processes."""
    check_sweep_folder(out)
    with held_folder(out):
        try:
            (out / POINTS).mkdir(exist_ok=True)
        except OSError as error:
            raise FolderError(out, f"cannot be written ({error.strerror})") from error
        yield SweepFolder(out)


class SweepFolder:
    """A sweep's folder, held. damage: a line for each file found damaged."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.damage: list[str] = []

    def planned(self) -> dict[str, str]:
        """{key of a point: the point in words} of the plan that is recorded; empty where there is none yet."""
        path = self.out / PLAN
        try:
            found = json.loads(path.read_text(encoding="utf-8-sig"))
            points = found["points of the sweep"]
            return {str(key): str(words) for key, words in points.items()}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            why = f"cannot be read ({type(error).__name__}: {error}); remove it, and points that are finished are kept"
            raise FolderError(path, why) from None

    def plan(self, given: Mapping[str, Any], points: Mapping[str, str]) -> None:
        """Record the plan as it was given, and its points in words, by key."""
        text = json_text({**given, "points of the sweep": points})
        path = self.out / PLAN
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            write_whole(path, text)

    def keep(self, key: str, settings: Mapping[str, Any], row: Mapping[str, Any], sources: str) -> None:
        """Keep what came of a point."""
        held = {"settings": settings, "results": {name: _written(value) for name, value in row.items()}, "sources": sources}
        write_whole(self._path(key), json_text(held | {"digest": _digest(held)}))

    def row(self, key: str, sources: str) -> dict[str, Any] | None:
        """What came of a point; None where it was not finished, by other sources, or its file is damaged."""
        path = self._path(key)
        try:
            held = json.loads(path.read_text(encoding="utf-8"))
            whole = isinstance(held, dict) and held.pop("digest") == _digest(held)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError):
            whole = False
        if not whole:
            self.damage.append(f"{path}: is damaged: computed again")
            if path.is_dir():
                raise FolderError(path, "is a folder, where the results of a point belong; remove it")
            return None
        return {name: _read(value) for name, value in held["results"].items()} if held["sources"] == sources else None

    def _path(self, key: str) -> Path:
        return self.out / POINTS / f"{key}.json"


def _digest(held: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def _written(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def _read(value: Any) -> Any:
    return float(value) if value in NOT_FINITE else value
