"""Pictures of one's own from files: PNG and JPEG in a folder, with a class in each of its sub-folders or with none.

    DIR/train/CLASS/.../x.png   DIR/test/CLASS/.../y.jpg      (val stands for test)
    DIR/CLASS/.../x.png         every fifth picture of each class is held out (`dynlab.images.data.held_out`)
    DIR/x.png                   no classes: all are for training; so are those of a folder with one sub-folder alone

**Size.** Each picture is turned upright as its EXIF says, and the square in its middle, as wide as its shorter side, is
brought to `side` x `side` pixels by Pillow's bilinear filter, whose triangle is widened where it makes smaller, so that
nothing is left out (antialiasing). Eight bits a channel: of sixteen the nearest of 256 levels. Transparency is dropped. One
channel where all pictures are grey, otherwise three.

**Order.** By a hash of the name below the folder, so that no class comes before another, and a file that is added moves
none of the rest. Files that are no pictures or cannot be read are left out, counted and named with the reason.

**Cache.** What was decoded is kept under the cache folder of dynlab (`pictures`), one file for a folder, split and side, and
is mapped into memory, not read as a whole. It is made anew where a file has another name, size or time than before;
`dynlab doctor --clear-cache` removes it.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.images.data import held_out
from dynlab.images.data.archives import DataError
from dynlab.images.data.datasets import ImageSet
from dynlab.machine.cache import cache_root
from dynlab.tools.checks import available_threads, choice
from dynlab.tools.files import FolderError, expanded, whole_file, write_whole
from dynlab.tools.progress import progress

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

SUFFIXES = (".png", ".jpg", ".jpeg")
TESTS = ("test", "val")  # names of the folder of test pictures
RULE = 1  # version of how pictures are decoded
BLOCK = 256  # pictures decoded before they are written


@dataclass(frozen=True)
class Listed:
    """Files of a split: names below `place` in the order of the set, the class of each ("" without); names of others."""

    place: Path
    names: tuple[str, ...]
    classes: tuple[str, ...]
    other: tuple[str, ...]
    held: bool = False  # whether every fifth is held out


def load_folder(
    folder: str | os.PathLike[str], split: str = "train", *, side: int = 32, verify: bool = True, quiet: bool = True
) -> ImageSet:
    """A split, "train" or "test", of the pictures in a folder; labels None where there are no classes.

    side: pixels of a side. verify: whether what was decoded before is compared with its digest. quiet: no progress is shown.
    Raises DataError, of one line, where there are no pictures or they lie in another way than this module says.
    """
    choice("split", split, ("train", "test"))
    root = expanded(folder)
    if not root.is_dir():
        raise DataError(
            root, f"a folder of pictures ({', '.join(SUFFIXES)})", "a file" if root.exists() else "no such folder"
        )
    listed = _listed(root, split)
    pictures, good, bad = _decoded(listed, split, side, verify, quiet)
    classes = sorted(set(listed.classes))
    labels: np.ndarray | None = None
    names: tuple[str, ...] = ()
    if len(classes) > 1:
        known = _classes_of_training(root) if split == "test" and not listed.held else classes
        kept = np.array([listed.classes[i] for i in good])
        try:
            labels, names = held_out.class_numbers(kept, known)
        except KeyError as error:
            raise DataError(listed.place, f"classes of the training pictures ({', '.join(known)})", error.args[0]) from None
    notes = [held_out.held_out_note(root, "sub-folders train and test")] if listed.held else []
    if listed.other:
        kinds = ", ".join(sorted({PurePosixPath(name).suffix or "without a suffix" for name in listed.other}))
        notes.append(f"{listed.place}: {len(listed.other)} files of other kinds are skipped ({kinds})")
    return ImageSet(pictures, labels, root.name, names, notes=tuple(notes), left_out=bad)


def _classes_of_training(root: Path) -> list[str]:
    return sorted(set(_listed(root, "train").classes))


def _listed(root: Path, split: str) -> Listed:
    """The files of a split, before any of them is opened."""
    if (root / "train").is_dir():
        places = [root / "train"] if split == "train" else [root / name for name in TESTS if (root / name).is_dir()]
        if not places:
            raise DataError(root, f"a folder {' or '.join(TESTS)} beside train", "none")
        return _files_of(places[0])
    found = _files_of(root)
    classes = sorted(set(found.classes))
    if len(classes) < 2:
        if split == "test":
            raise DataError(root, "pictures of two classes or more, or folders train and test", "no classes")
        return found
    rows = []
    for one in classes:
        own = np.array([i for i, name in enumerate(found.classes) if name == one])
        rows += own[held_out.rows_of(split, len(own))].tolist()
    rows.sort()
    names, kinds = tuple(found.names[i] for i in rows), tuple(found.classes[i] for i in rows)
    return Listed(root, names, kinds, found.other, held=True)


def _files_of(place: Path) -> Listed:
    """All pictures below a folder; the first folder of a name is its class, unless there is only one."""
    inside: list[str] = []
    other: list[str] = []
    for name in _walked(place):
        (inside if PurePosixPath(name).suffix.lower() in SUFFIXES else other).append(name)
    if not inside:
        raise DataError(
            place, f"pictures ({', '.join(SUFFIXES)})", f"{len(other)} files of other kinds" if other else "none"
        )
    inside.sort(key=lambda name: hashlib.blake2b(os.fsencode(name)).digest())
    classes = [name.partition("/")[0] if "/" in name else "" for name in inside]
    if "" in classes and len(set(classes)) > 1:
        loose = classes.count("")
        raise DataError(
            place, "pictures in sub-folders, one a class, or in none", f"{loose} in none and {len(classes) - loose} in some"
        )
    if len(set(classes)) == 1:
        classes = [""] * len(inside)
    return Listed(place, tuple(inside), tuple(classes), tuple(sorted(other)))


def _walked(place: Path) -> Iterator[str]:
    """Names of all files below a folder, with "/"; hidden ones and what lies in hidden folders left out. A first
    sub-folder may be a link."""
    tops = sorted(one for one in place.iterdir() if not one.name.startswith("."))
    yield from (one.name for one in tops if not one.is_dir())
    for top in tops:
        for folder, inside, files in os.walk(top) if top.is_dir() else ():
            inside[:] = sorted(name for name in inside if not name.startswith("."))
            below = os.path.relpath(folder, place).replace(os.sep, "/")
            yield from (f"{below}/{name}" for name in sorted(files) if not name.startswith("."))


def _decoded(
    listed: Listed, split: str, side: int, verify: bool, quiet: bool
) -> tuple[np.ndarray, list[int], tuple[str, ...]]:
    """(pictures uint8 (n, side, side, c), which of the listed files they are, the others with reasons), from the cache."""
    place = cached_folder()
    whose = hashlib.blake2b(
        f"{os.path.realpath(listed.place)}\0{split}\0{side}".encode(errors="surrogateescape"), digest_size=8
    )
    stem = f"{whose.hexdigest()}-{_key(listed, side)}"
    found = _kept(place / f"{stem}.json", side, len(listed.names), verify)
    if found is None:
        try:
            place.mkdir(parents=True, exist_ok=True)
            for old in place.glob(f"{whose.hexdigest()}-*"):  # of files that have changed since
                old.unlink(missing_ok=True)
            _decode(listed, side, place / f"{stem}.npy", quiet)
        except OSError as error:
            if isinstance(error, DataError):
                raise
            raise FolderError(
                place, f"cannot be written ({error.strerror or error}); DYNLAB_CACHE_DIR names another"
            ) from None
        found = _kept(place / f"{stem}.json", side, len(listed.names), False)
    if found is None:
        raise FolderError(place, "was changed while pictures were decoded; try again")
    return found


def cached_folder() -> Path:
    """Where decoded pictures are kept."""
    return cache_root() / "pictures"


def clear_cached() -> tuple[int, int]:
    """Remove all decoded pictures: (files, bytes). Only what this module writes is removed."""
    number = size = 0
    for path in sorted(cached_folder().glob("*-*.*")):
        if path.suffix in (".npy", ".json"):
            number, size = number + 1, size + path.stat().st_size
            path.unlink()
    if number and not any(cached_folder().iterdir()):
        cached_folder().rmdir()
    return number, size


def _key(listed: Listed, side: int) -> str:
    """A digest of names, sizes and times of the files, and of how they are decoded."""
    digest = hashlib.blake2b(f"{RULE} {side} {_pillow()}".encode(), digest_size=10)
    for name in listed.names:
        about = (listed.place / name).stat()
        digest.update(os.fsencode(name) + f"\0{about.st_size}\0{about.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _pillow() -> str:
    import PIL

    return PIL.__version__


def _kept(record: Path, side: int, listed: int, verify: bool) -> tuple[np.ndarray, list[int], tuple[str, ...]] | None:
    """What was decoded before, mapped into memory; None where it is not there or not whole."""
    try:
        facts = json.loads(record.read_text(encoding="utf-8"))
        mapped = np.load(record.with_suffix(".npy"), mmap_mode="c", allow_pickle=False)  # "c": writing would change no file
        good, bad, channels, digest = (facts[name] for name in ("good", "left_out", "channels", "digest"))
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        return None
    pictures = np.asarray(mapped)
    if pictures.shape != (len(good), side, side, channels) or len(good) + len(bad) != listed:
        return None
    return None if verify and _digest(pictures) != digest else (pictures, good, tuple(bad))


def _digest(pictures: np.ndarray) -> str:
    return hashlib.blake2b(pictures.data, digest_size=16).hexdigest()


def _decode(listed: Listed, side: int, path: Path, quiet: bool) -> None:
    """Decode the files on all cores and write them and, last, the record of what they are."""
    from PIL import Image

    Image.init()
    count, grey = len(listed.names), True
    good: list[int] = []
    bad: list[str] = []
    with whole_file(path) as partial:
        first = partial.with_name(f"{partial.name}.all")  # three channels, with rows for files that may turn out bad
        try:
            every = np.lib.format.open_memmap(first, "w+", np.uint8, (count, side, side, 3))
            with progress(count, "pictures decoded", quiet) as told, ThreadPoolExecutor(available_threads()) as pool:
                for start in range(0, count, BLOCK):
                    names = listed.names[start : start + BLOCK]
                    for i, found in enumerate(_block(pool, listed.place, names, side), start):
                        if isinstance(found, str):
                            bad.append(f"{listed.names[i]} ({found})")
                        else:
                            every[len(good)] = found
                            grey &= found.shape[2] == 1
                            good.append(i)
                    told(start + len(names))
            if not good:
                raise DataError(listed.place, "pictures that can be read", f"{len(bad)} that cannot, the first {bad[0]}")
            whole = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(good), side, side, 1 if grey else 3))
            for start in range(0, len(good), BLOCK):
                rows = slice(start, min(start + BLOCK, len(good)))
                whole[rows] = every[rows, ..., : whole.shape[3]]
            whole.flush()
            digest = _digest(np.asarray(whole))
        finally:
            first.unlink(missing_ok=True)
    facts = {"place": str(listed.place), "good": good, "channels": 1 if grey else 3, "left_out": bad, "digest": digest}
    write_whole(path.with_suffix(".json"), json.dumps(facts))


def _block(pool: ThreadPoolExecutor, place: Path, names: Sequence[str], side: int) -> list[np.ndarray | str]:
    """Each file as a picture, or in words why it is none."""

    def one(name: str) -> np.ndarray | str:
        try:
            return square_of(place / name, side)
        except MemoryError:
            raise
        except Exception as error:  # a corrupt file can make a decoder raise nearly anything
            return " ".join(str(error).split())[:200] or type(error).__name__

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is odd about a file that can be read all the same
        return list(pool.map(one, names))


def square_of(path: Path, side: int) -> np.ndarray:
    """The square in the middle of a picture, upright, uint8 (side, side, c), c = 1 for a grey one, 3 otherwise."""
    from PIL import Image, ImageOps

    with Image.open(path, formats=("PNG", "JPEG")) as image:
        plain = _eight_bits(ImageOps.exif_transpose(image))
    short = min(plain.size)
    left, top = ((length - short) // 2 for length in plain.size)
    middle = plain.crop((left, top, left + short, top + short))
    found = np.asarray(middle.resize((side, side), Image.Resampling.BILINEAR))
    return found if found.ndim == 3 else found[..., None]


def _eight_bits(image: Picture) -> Any:
    """The picture in eight bits: grey, or red, green and blue."""
    from PIL import Image

    if image.mode.startswith("I"):  # sixteen bits, 0 to 65535
        levels = np.asarray(image).astype(np.int64)
        return Image.fromarray(((levels.clip(0, 65535) * 255 + 32767) // 65535).astype(np.uint8))
    return image.convert("L" if image.mode in ("1", "L", "LA", "La") else "RGB")
