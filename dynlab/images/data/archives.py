"""The formats in which sets of pictures are published, read as streams: nothing is unpacked, nothing from a file is run.

An `ArchivePart` is one file as its publisher wrote it, uncompressed. It may lie in a folder as it is, compressed (.gz), or
inside a tar.gz; `parts_in` finds it and hands over a `Stream`, which counts and hashes what is read. Every fault of a file
is a `DataError`: one line with the path, what was expected and what was found.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import pickle
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO, cast

import numpy as np

from dynlab.tools.checks import OneLine

CHUNK = 1 << 22
INTEGERS = tuple(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8))  # what a pickled array may hold
BROKEN = (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError)


class DataError(OneLine, OSError):
    """A file of a data set that is missing, short, long or corrupt; the text is one line."""

    def __init__(self, path: object, expected: object, found: object):
        super().__init__(f"{path}: expected {expected}, found {found}")


class MissingData(DataError):
    """A set of pictures of which nothing is there; the text says what fetches it, `typed` the same for a command."""

    def __init__(self, folder: Path, name: str, files: str):
        super().__init__(folder, f"{name} ({files})", "nothing of it" if folder.is_dir() else "no such folder")
        self.name, self.folder, self.plain = name, folder, super().__str__()

    def __str__(self) -> str:
        return f"{self.plain}; dynlab.images.data.download.fetch({self.name!r}, {str(self.folder)!r}) fetches it"

    @property
    def typed(self) -> str:
        """What a command says that has --data and --download."""
        return f"--data {self.plain}; --download fetches it"


@dataclass(frozen=True)
class ArchivePart:
    """One published file: its name, its size in bytes and its md5 where they are known; all of it uncompressed."""

    name: str
    size: int | None = None
    md5: str | None = None


class Stream:
    """A part being read: `read` gives exactly as many bytes as asked for, `finish` checks that no more are left and the md5.

    path : what errors call it. size : of all of it; None where that is not known. verify : False leaves out the md5 alone.
    """

    def __init__(self, raw: IO[bytes], path: str, part: ArchivePart, verify: bool = True):
        self.raw, self.path, self.part = raw, path, part
        self.count, self.digest = 0, hashlib.md5(usedforsecurity=False) if verify and part.md5 else None

    def _some(self, most: int) -> bytes:
        try:
            data = self.raw.read(most)
        except BROKEN as error:
            raise DataError(self.path, "a whole compressed file", f"a corrupt one ({_line(error)})") from None
        self.count += len(data)
        if self.digest is not None:
            self.digest.update(data)
        return data

    def read(self, count: int) -> bytes:
        """The next `count` bytes."""
        pieces, missing = [], count
        while missing:
            pieces.append(self._some(min(missing, CHUNK)))
            if not pieces[-1]:
                size = self.part.size
                raise DataError(self.path, f"{size or 'at least ' + str(self.count + missing)} bytes", self.count)
            missing -= len(pieces[-1])
        return b"".join(pieces)

    def rest(self, most: int) -> bytes:
        """All that is left; an error where that is more than `most` bytes."""
        pieces, total = [], 0
        while data := self._some(CHUNK):
            pieces.append(data)
            total += len(data)
            if total > most:
                raise DataError(self.path, f"at most {most} bytes", "more")
        return b"".join(pieces)

    def finish(self) -> None:
        """Check that this was all of it."""
        if self._some(1):
            raise DataError(self.path, f"{self.count - 1} bytes", "more")
        if self.part.size is not None and self.count != self.part.size:
            raise DataError(self.path, f"{self.part.size} bytes", self.count)
        if self.digest is not None and self.digest.hexdigest() != self.part.md5:
            raise DataError(self.path, f"md5 {self.part.md5}", self.digest.hexdigest())


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def file_md5(path: Path) -> str:
    """The md5 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


@dataclass(frozen=True)
class Archive:
    """The tar.gz in which parts are published: its name, the folder inside it, its md5."""

    name: str
    inside: str
    md5: str | None = None


def find_parts(
    folder: Path, inside: Sequence[str], archive: Archive | None, parts: Sequence[ArchivePart]
) -> dict[str, Path] | None:
    """Where the parts lie: path by name of the part. None where there is not one of them.

    Looked for in the subfolders `inside` and in the folder, each as the file itself and compressed; then in the archive,
    whose path then stands for all that were not found. A part that is nowhere has the path where it was expected first.
    """
    found, places = {}, [*(folder / name for name in inside), folder]
    for part in parts:
        names = [place / (part.name + ending) for place in places for ending in ("", ".gz")]
        path = next((name for name in names if name.is_file()), None)
        if path is not None:
            found[part.name] = path
    packed = folder / archive.name if archive is not None else None
    packed = packed if packed is not None and packed.is_file() else None
    if not found and packed is None:
        return None
    home = next(iter(found.values())).parent if found else folder
    return {part.name: found.get(part.name) or packed or home / part.name for part in parts}


def parts_in(
    where: dict[str, Path], archive: Archive | None, parts: Sequence[ArchivePart], verify: bool = True
) -> Iterator[Stream]:
    """Streams of the parts, each to be read before the next is asked for: loose files first, then those in the archive in
    the order in which they lie there."""
    packed = []
    for part in parts:
        path = where[part.name]
        if archive is not None and path.name == archive.name:
            packed.append(part)
            continue
        with _opened(path, part) as raw:
            stream = Stream(raw, str(path), part, verify)
            yield stream
            stream.finish()
    if packed and archive is not None:
        yield from _members(where[packed[0].name], archive, packed, verify)


@contextlib.contextmanager
def _opened(path: Path, part: ArchivePart) -> Iterator[IO[bytes]]:
    try:
        size = path.stat().st_size
        raw: BinaryIO = cast(BinaryIO, gzip.open(path, "rb")) if path.suffix == ".gz" else open(path, "rb")
    except FileNotFoundError:
        raise DataError(path, "a file" if part.size is None else f"a file of {part.size} bytes", "nothing") from None
    except OSError as error:
        raise DataError(path, "a readable file", error.strerror) from None
    with raw:
        if path.suffix != ".gz" and part.size is not None and size != part.size:
            raise DataError(path, f"{part.size} bytes", size)
        yield raw


def _members(path: Path, archive: Archive, parts: Sequence[ArchivePart], verify: bool) -> Iterator[Stream]:
    """Streams of the parts that lie in an archive, in one pass over it."""
    if verify and archive.md5 and any(part.md5 is None for part in parts):
        found = file_md5(path)
        if found != archive.md5:
            raise DataError(path, f"md5 {archive.md5}", found)
    wanted = {f"{archive.inside}/{part.name}": part for part in parts}
    try:
        with tarfile.open(path, "r|gz") as tar:
            for member in tar:
                part = wanted.pop(member.name.removeprefix("./"), None)
                if part is None:
                    continue
                name = f"{path}:{member.name}"
                if not member.isreg() or (part.size is not None and member.size != part.size):
                    there = member.size if member.isreg() else "no regular file"
                    raise DataError(name, f"{part.size or 'any number of'} bytes", there)
                inside = tar.extractfile(member)
                assert inside is not None  # a regular file has contents
                stream = Stream(inside, name, part, verify)
                yield stream
                stream.finish()
                if not wanted:
                    return
    except BROKEN as error:
        raise DataError(path, "a whole tar.gz", f"a corrupt one ({_line(error)})") from None
    raise DataError(path, f"{next(iter(wanted))} in it", "none")


class _Refused(Exception):
    """What a pickle holds or asks for, and does not get."""


class _Dtype:
    """Stands for the data type in a pickled array: integers of 1 to 8 bytes, and nothing else."""

    def __init__(self, kind: Any, *_: Any):
        name = kind.decode("ascii", "replace") if isinstance(kind, bytes) else kind
        if name not in INTEGERS:
            raise _Refused(f"an array of {kind!r}")
        self.type = np.dtype(name)

    def __setstate__(self, state: Any) -> None:
        order = state[1].decode("ascii", "replace") if isinstance(state[1], bytes) else state[1]
        if order == ">":
            self.type = self.type.newbyteorder(">")
        elif order == "<":
            self.type = self.type.newbyteorder("<")
        elif order not in ("|", "="):
            raise pickle.UnpicklingError(f"an array in the order {order!r}")


class _Array:
    """Stands for a pickled array until its bytes are there."""

    array: np.ndarray

    def fill(self, shape: Any, dtype: Any, fortran: bool, data: Any) -> _Array:
        """Take the bytes."""
        if not isinstance(dtype, _Dtype) or not isinstance(data, (bytes, bytearray)):
            raise pickle.UnpicklingError("an array of other things than numbers")
        self.array = np.frombuffer(bytes(data), dtype.type).reshape(shape, order="F" if fortran else "C")
        return self

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        self.fill(shape, dtype, bool(fortran), data)


def _encode(text: Any, encoding: Any) -> bytes:
    """Bytes, which Python 3 writes into pickles of protocols 0 to 2 as text of these characters."""
    if not isinstance(text, str) or encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError(f"a text in {encoding!r}")
    return text.encode("latin1")


def _scalar(dtype: Any, data: Any) -> int:
    """A NumPy integer."""
    return int(_Array().fill((), dtype, False, data).array)


class _Standin:
    """What a pickle finds under an admitted name: it can be called, and nothing about it can be changed."""

    __slots__ = ("make",)
    make: Callable[..., Any]

    def __init__(self, make: Callable[..., Any]):
        object.__setattr__(self, "make", make)

    def __call__(self, *given: Any) -> Any:
        return self.make(*given)

    def __setattr__(self, name: str, value: Any) -> None:
        raise pickle.UnpicklingError(f"a change of {name}")


def _admitted() -> dict[tuple[str, str], _Standin]:
    """By module and name: all that dictionaries of lists and arrays of integers ask for, of any protocol and version."""
    of_numpy: dict[tuple[str, str], Callable[..., Any]] = {
        ("core.multiarray", "_reconstruct"): lambda *_: _Array(),
        ("core.multiarray", "scalar"): _scalar,
        ("core.numeric", "_frombuffer"): lambda data, dtype, shape, order: _Array().fill(shape, dtype, order == "F", data),
    }
    found: dict[tuple[str, str], Callable[..., Any]]
    found = {(f"numpy.{old}{module}", name): make for (module, name), make in of_numpy.items() for old in ("", "_")}
    found |= {("numpy", "dtype"): _Dtype, ("_codecs", "encode"): _encode}
    found |= {(module, name): _empty for module in ("__builtin__", "builtins") for name in ("bytes", "bytearray")}
    return {key: _Standin(make) for key, make in found.items()} | {("numpy", "ndarray"): _Standin(_refuse)}


def _empty(data: Any = b"") -> bytes:
    if not isinstance(data, (bytes, bytearray)):
        raise pickle.UnpicklingError("bytes made of other things")
    return bytes(data)


def _refuse(*_: Any) -> None:
    raise pickle.UnpicklingError("an array made in another way")


class _Unpickler(pickle.Unpickler):
    """Admits the names that plain arrays need, and puts stand-ins in their place, so that not even NumPy's code runs."""

    ADMITTED = _admitted()

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.ADMITTED[module, name]
        except KeyError:
            raise _Refused(f"one that asks for {module}.{name}: refused") from None


def read_pickle(stream: Stream, most: int = 1 << 29) -> dict[bytes, Any]:
    """A dictionary of plain values and arrays of integers from a pickle of any protocol; all else it asks for is refused."""
    data = stream.rest(most)
    try:
        content = _Unpickler(io.BytesIO(data), encoding="bytes").load()
    except _Refused as error:
        raise DataError(stream.path, "a pickle of plain arrays of integers", error) from None
    except Exception as error:  # a corrupt pickle can raise nearly anything
        raise DataError(stream.path, "a pickle", f"a corrupt one ({_line(error)})") from None
    if not isinstance(content, dict):
        raise DataError(stream.path, "a pickled dictionary", type(content).__name__)
    plain = {key: value.array if isinstance(value, _Array) else value for key, value in content.items()}
    return {key.encode() if isinstance(key, str) else key: value for key, value in plain.items()}


def read_planar(stream: Stream, label_bytes: int, column_major: bool, out: np.ndarray, labels: np.ndarray | None) -> None:
    """Fill out (n, h, w, c) with records: label bytes, of which the last counts, then c planes of h w bytes.

    column_major : the planes are stored column after column (STL-10), not row after row (CIFAR).
    """
    n, height, width, channels = out.shape
    record = label_bytes + height * width * channels
    step = max(1, CHUNK // record)
    shape = (channels, width, height) if column_major else (channels, height, width)
    for start in range(0, n, step):
        count = min(step, n - start)
        rows = np.frombuffer(stream.read(count * record), np.uint8).reshape(count, record)
        planes = rows[:, label_bytes:].reshape(count, *shape)
        out[start : start + count] = planes.transpose((0, 3, 2, 1) if column_major else (0, 2, 3, 1))
        if label_bytes and labels is not None:
            labels[start : start + count] = rows[:, label_bytes - 1]


def read_idx(stream: Stream, out: np.ndarray) -> None:
    """Fill out from an idx file of unsigned bytes: a magic number, big-endian sizes, the values row after row."""
    header = stream.read(4 + 4 * out.ndim)
    expected = bytes([0, 0, 8, out.ndim])
    if header[:4] != expected:
        raise DataError(stream.path, f"magic number {expected.hex()}", header[:4].hex())
    sizes = tuple(int(size) for size in np.frombuffer(header[4:], ">u4"))
    if sizes != out.shape:
        raise DataError(stream.path, f"sizes {out.shape}", sizes)
    out[...] = np.frombuffer(stream.read(out.size), np.uint8).reshape(out.shape)
