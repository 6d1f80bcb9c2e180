"""Pictures of one's own from arrays: uint8 (n, h, w, c), c = 1 or 3, or (n, h, w) for grey ones, in npz or npy files.

    FILE.npz       arrays train_pictures, train_labels, test_pictures, test_labels; or pictures and labels
    FILE.npy       pictures, mapped into memory; FILE_labels.npy beside it holds their labels
    DIR            train.npz or train.npy, and test.npz or test.npy; or pictures.npz or pictures.npy

Labels are optional: integers or words (n,) or (n, 1). In an npz file `images` and `x` stand for pictures, `y` for labels,
and the split may come last (x_train). Labels without a test part: every fifth picture is held out
(`dynlab.images.data.held_out`). Rows keep their order, but where they are sorted by class: then they are shuffled, always
alike, since a run that takes the first N pictures, or asks the last ones, would see some classes only.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dynlab.images.data import held_out
from dynlab.images.data.archives import DataError
from dynlab.images.data.datasets import ImageSet
from dynlab.tools.checks import choice
from dynlab.tools.damage import DAMAGED
from dynlab.tools.files import expanded

PICTURES, LABELS = ("pictures", "images", "x"), ("labels", "y")
KINDS = (".npz", ".npy")
FORM = "uint8 of shape (n, h, w, 3), (n, h, w, 1) or (n, h, w)"


@dataclass(frozen=True)
class Held:
    """A part that was found: what its errors call it, and what reads its pictures and its labels (None: there are none)."""

    path: Path
    pictures: Callable[[], np.ndarray]
    labels: Callable[[], np.ndarray] | None


def load_arrays(path: str | os.PathLike[str], split: str = "train") -> ImageSet:
    """A split, "train" or "test", of the pictures in a file or a folder of files; labels None where there are none.

    Raises DataError, of one line, for files and arrays that are missing or of another form than this module says.
    """
    choice("split", split, ("train", "test"))
    root = expanded(path)
    parts = _parts(root)
    if split == "test" and "train" in parts and "test" not in parts and parts["train"].labels is None:
        raise DataError(root, "pictures for the test, or labels", "neither")
    if split == "test" and "test" in parts:
        return _read(parts["test"], _read(parts["train"]).classes or None if "train" in parts else None)
    found = _read(parts["train"])
    if "test" in parts or found.labels is None:
        return found
    rows = held_out.rows_of(split, len(found))
    notes = (held_out.held_out_note(root, "a test part"), *found.notes)
    return ImageSet(found.pictures[rows], found.labels[rows], found.name, found.classes, notes=notes)


def _parts(root: Path) -> dict[str, Held]:
    """{"train": ..., "test": ...}, or "train" alone."""
    if root.is_dir():
        found = {}
        for split, stems in (("train", ("train", "pictures")), ("test", ("test",))):
            files = [root / f"{stem}{kind}" for stem in stems for kind in KINDS if (root / f"{stem}{kind}").is_file()]
            if files:
                found[split] = _of_file(files[0])
        if "train" not in found:
            raise DataError(root, "train.npz, train.npy, pictures.npz or pictures.npy", "none of these")
        return found
    if root.suffix.lower() not in KINDS:
        raise DataError(
            root,
            "a file of npz or npy, or a folder of such",
            f"one of {root.suffix[1:] or 'none of these'}" if root.exists() else "no such file",
        )
    if not root.is_file():
        raise DataError(root, "a file", "no such file")
    if root.suffix.lower() == ".npy":
        return {"train": _of_file(root)}
    keys = _keys(root)
    named = {split: held for split in ("train", "test") if (held := _of_names(root, keys, split)) is not None}
    return named if "train" in named else {"train": _of_file(root)}


def _of_file(path: Path) -> Held:
    """The part that a file holds as a whole."""
    if path.suffix.lower() == ".npy":
        beside = path.with_name(f"{path.stem}_labels.npy")
        return Held(path, lambda: _array(path, None), (lambda: _array(beside, None)) if beside.is_file() else None)
    keys = _keys(path)
    held = _of_names(path, keys, "")
    if held is None and len(keys) == 1:
        held = Held(path, lambda: _array(path, keys[0]), None)
    if held is None:
        raise DataError(
            path, f"an array called {', '.join(PICTURES)}, or train_ and one of these", ", ".join(keys[:8]) or "none"
        )
    return held


def _of_names(path: Path, keys: list[str], split: str) -> Held | None:
    """The arrays of a split by their names, in an npz file."""

    def called(words: tuple[str, ...]) -> str | None:
        names = [name for word in words for name in ((f"{split}_{word}", f"{word}_{split}") if split else (word,))]
        return next((name for name in names if name in keys), None)

    pictures, labels = called(PICTURES), called(LABELS)
    if pictures is None:
        return None
    return Held(path, lambda: _array(path, pictures), None if labels is None else lambda: _array(path, labels))


def _keys(path: Path) -> list[str]:
    try:
        with np.load(path, allow_pickle=False) as file:
            return list(file.files)
    except (*DAMAGED, OSError) as error:
        raise DataError(path, "an npz file", f"one that cannot be read ({_why(error)})") from None


def _array(path: Path, name: str | None) -> np.ndarray:
    """An array of a file; of an npy file mapped ("c": writing to it would change no file)."""
    try:
        if name is None:
            return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))
        with np.load(path, allow_pickle=False) as file:
            return np.asarray(file[name])
    except (*DAMAGED, OSError) as error:
        what = "an npy file of numbers" if name is None else f"an array {name} of numbers"
        raise DataError(path, what, f"one that cannot be read ({_why(error)})") from None


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__


def _read(held: Held, classes: tuple[str, ...] | None = None) -> ImageSet:
    """The pictures and labels of a part, checked; classes: those of the training part."""
    pictures = _pictures(held)
    if held.labels is None:
        return ImageSet(pictures, None, held.path.stem, ())
    given = held.labels()
    flat = given[:, 0] if given.ndim == 2 and given.shape[1] == 1 else given
    if flat.ndim != 1 or len(flat) != len(pictures) or flat.dtype.kind not in "iuU":
        raise DataError(held.path, f"labels, {len(pictures)} integers or words", f"{given.dtype} of shape {given.shape}")
    try:
        labels, known = held_out.class_numbers(flat, classes)
    except KeyError as error:
        raise DataError(held.path, f"classes of the training pictures ({', '.join(classes or ())})", error.args[0]) from None
    if len(known) < 2:
        return ImageSet(pictures, None, held.path.stem, ())
    notes: tuple[str, ...] = ()
    if classes is None and np.all(np.diff(labels) >= 0):
        order = np.random.default_rng(0).permutation(len(labels))
        pictures, labels = pictures[order], labels[order]
        notes = (f"{held.path}: is sorted by class, and is taken in a shuffled order, always the same",)
    return ImageSet(pictures, labels, held.path.stem, known, notes=notes)


def _pictures(held: Held) -> np.ndarray:
    found = held.pictures()
    shape = found.shape
    if found.dtype != np.uint8:
        raise DataError(held.path, f"pictures, {FORM}", f"{found.dtype} of shape {shape}")
    if found.ndim == 3:
        found = found[..., None]
    if found.ndim != 4 or found.shape[3] not in (1, 3) or 0 in shape:
        channels_first = len(shape) == 4 and shape[1] in (1, 3)
        more = " (transpose(0, 2, 3, 1) brings it there)" if channels_first else ""
        raise DataError(held.path, f"pictures, {FORM}{more}", f"uint8 of shape {shape}")
    return np.ascontiguousarray(found)
