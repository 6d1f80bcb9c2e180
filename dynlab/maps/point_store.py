"""The store of a phase diagram: one file of blocks, appended to as points of the grid are finished.

A block holds what a few seeds of one point measured: an outcome and `BLOCK_COLUMNS` each, 81 bytes a seed, never states. It
carries checksums and the digest of the settings and sources that made it, so that

* a process killed at any instant leaves at most an incomplete last block, which is cut off;
* damaged bytes are found, named and blanked, and their seeds count as not computed;
* blocks of other settings or of other sources are refused.

Blocks are found by the VALUES of the point's settings, not by its place in the grid: another range, more points or
more seeds take what is there. One process writes at a time (a lock on the folder).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from dynlab.tools.files import FolderError, FolderTaken, flock, write_whole

BLOCK_COLUMNS = (
    "time_first", "time_second", "head_peak", "time_peak", "head_bound", "rank", "head_end", "time_end", "loss_end", "steps",
)  # fmt: skip
NAME, SETTINGS, LOCK = "points.bin", "settings.json", "lock"
MAGIC = b"dynlabP1"
# magic, digest of settings and sources, x, y, number of the head, first seed, seeds, checksums of payload and of header
HEADER = struct.Struct("<8s16sddIQIII")
SEED_BYTES = 1 + 8 * len(BLOCK_COLUMNS)
PIECE = 1 << 20  # bytes read at a time


class StoreFull(OSError):
    """The disk has no room for a finished block; what was stored before is whole."""


class BlockStore:
    """Blocks of one set of settings in a folder; made by `open_store`.

    damage : list of str, a line for each damaged part found on opening.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], names: tuple[str, str], heads: tuple[str, ...]):
        self.path = folder / NAME
        self.damage: list[str] = []
        self._names, self._heads = names, heads
        self._digest = digest(settings)
        self._index: dict[tuple, list[tuple[int, int, int]]] = {}  # point -> (first seed, seeds, offset of the payload)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
        self._end = 0
        self._scan(os.fstat(self._file).st_size)

    def missing(self, x: float, y: float, head: int, seeds: int) -> list[tuple[int, int]]:
        """The ranges (first, stop) of seeds 0 ... seeds - 1 of a point that are not stored."""
        gaps, reached = [], 0
        for first, count, _ in sorted(self._index.get((x, y, head), ())):
            if first >= seeds:
                break
            if first > reached:
                gaps.append((reached, first))
            reached = max(reached, first + count)
        return gaps + ([(reached, seeds)] if reached < seeds else [])

    def append(self, x: float, y: float, head: int, first: int, outcomes: np.ndarray, columns: np.ndarray) -> None:
        """Store seeds first, first + 1, ... of a point: outcomes (n,) uint8, columns (len(COLUMNS), n) float64.

        StoreFull where they cannot be written; the file is then as it was before.
        """
        payload = outcomes.astype(np.uint8).tobytes() + np.ascontiguousarray(columns, "<f8").tobytes()
        header = HEADER.pack(MAGIC, self._digest, x, y, head, first, len(outcomes), zlib.crc32(payload), 0)[:-4]
        block = header + struct.pack("<I", zlib.crc32(header)) + payload
        os.lseek(self._file, self._end, os.SEEK_SET)
        try:
            _write_all(self._file, block)
        except OSError as error:
            os.ftruncate(self._file, self._end)
            raise StoreFull(f"{self.path}: {error.strerror}; what is finished is kept, the same command goes on") from error
        self._index.setdefault((x, y, head), []).append((first, len(outcomes), self._end + HEADER.size))
        self._end += len(block)

    def read(self, x: float, y: float, head: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
        """Outcomes (seeds,) and columns (len(COLUMNS), seeds) of a point that has them all."""
        outcomes = np.zeros(seeds, np.uint8)
        columns = np.zeros((len(BLOCK_COLUMNS), seeds))
        for first, count, offset in self._index.get((x, y, head), ()):
            if first < seeds:
                payload = _read_at(self._file, offset, count * SEED_BYTES)
                kept = slice(first, min(first + count, seeds))
                size = kept.stop - first
                outcomes[kept] = np.frombuffer(payload, np.uint8, count)[:size]
                columns[:, kept] = np.frombuffer(payload, "<f8", offset=count).reshape(len(BLOCK_COLUMNS), count)[:, :size]
        return outcomes, columns

    def sync(self) -> None:
        """Bring everything to the disk."""
        os.fsync(self._file)

    def close(self) -> None:
        os.close(self._file)

    def _scan(self, size: int) -> None:
        """Index the whole blocks, blank what is damaged, cut an incomplete end."""
        at = 0
        while at < size:
            header = self._header_at(at)
            if header is None:
                following = self._next_header(at + 1, size)
                if following == size and size - at < HEADER.size and _starts_block(_read_at(self._file, at, 8)):
                    break  # the header that a killed process was writing
                self._blank(at, following, "")
                at = following
                continue
            _, _, x, y, head, first, count, checksum, _ = header
            stop = at + HEADER.size + count * SEED_BYTES
            if stop > size:
                break  # the block that it was writing
            payload = _read_at(self._file, at + HEADER.size, stop - at - HEADER.size)
            if zlib.crc32(payload) == checksum:
                self._index.setdefault((x, y, head), []).append((first, count, at + HEADER.size))
            else:
                point = f"{self._names[0]}={x:g}, {self._names[1]}={y:g}, head {self._heads[head]}"
                self._blank(at, stop, f" ({point}, seeds {first} to {first + count - 1})")
            at = stop
        os.ftruncate(self._file, at)
        self._end = at

    def _header_at(self, at: int) -> tuple | None:
        raw = _read_at(self._file, at, HEADER.size)
        if len(raw) < HEADER.size or raw[:8] != MAGIC:
            return None
        fields = HEADER.unpack(raw)
        whole = zlib.crc32(raw[:-4]) == fields[-1] and fields[4] < len(self._heads)
        return fields if whole and fields[1] == self._digest else None

    def _next_header(self, at: int, size: int) -> int:
        """Offset of the first whole header from `at` on; `size` where there is none."""
        while at < size:
            piece = _read_at(self._file, at, PIECE)
            found = piece.find(MAGIC)
            if found < 0:
                at += max(len(piece) - len(MAGIC) + 1, 1) if at + len(piece) < size else len(piece)
            elif self._header_at(at + found) is not None:
                return at + found
            else:
                at += found + 1
        return size

    def _blank(self, start: int, stop: int, which: str) -> None:
        """Name a damaged range, unless it was blanked before, and fill it with zeros."""
        found = False
        for at in range(start, stop, PIECE):
            size = min(PIECE, stop - at)
            if any(_read_at(self._file, at, size)):
                found = True
                os.lseek(self._file, at, os.SEEK_SET)
                _write_all(self._file, bytes(size))
        if found:
            self.damage.append(f"{self.path}: bytes {start} to {stop - 1} are damaged{which}: computed again")


@contextmanager
def open_store(
    folder: Path, settings: Mapping[str, Any], sources: str, names: tuple[str, str], heads: tuple[str, ...]
) -> Iterator[BlockStore]:
    """The store in `folder`, locked for this process; created where there is none.

    settings: what the blocks depend on besides the point (JSON-able); sources: key of the code that computes them;
    names, heads: of the axes and of the heads, for messages and for the numbers in the blocks.

    FolderTaken where another process has it open, or it holds blocks of other settings (naming the first that
    differs) or of other sources.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise FolderError(folder, f"cannot be written ({error.strerror})") from error
    try:
        if flock(lock) is False:
            raise FolderTaken(folder, "another process is working there")
        whole = {"settings": dict(settings), "sources": sources}
        note = _claim(folder, whole)
        store = BlockStore(folder, whole, names, heads)
        store.damage[:0] = note
        try:
            yield store
        finally:
            store.close()
    finally:
        os.close(lock)


def digest(settings: Mapping[str, Any]) -> bytes:
    """16 bytes that stand for the settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).digest()[:16]


def _claim(folder: Path, whole: dict[str, Any]) -> list[str]:
    """Refuse a folder of other settings; write settings.json where there is none, and note where it was damaged."""
    path, points = folder / SETTINGS, folder / NAME
    text = json.dumps(whole | {"digest": digest(whole).hex()}, indent=2) + "\n"
    found = _settings_in(path)
    if found is not None:
        _refuse_other(folder, found, whole)
        return []
    note = []
    if points.exists() and points.stat().st_size:
        # Only the blocks themselves can tell now whose they are.
        if digest(whole) not in _first_bytes(points):
            raise FolderTaken(folder, f"{SETTINGS} is damaged, and the points are of other settings")
        note = [f"{path}: is damaged: written again"]
    write_whole(path, text)
    return note


def _settings_in(path: Path) -> dict[str, Any] | None:
    """What settings.json holds; None where it is missing or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8-sig"))
        whole = {name: found[name] for name in ("settings", "sources")}
        return whole if found["digest"] == digest(whole).hex() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refuse_other(folder: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    old, new = found["settings"], wanted["settings"]
    for name in dict.fromkeys([*new, *old]):
        if old.get(name) != new.get(name):
            was, now = (some.get(name, "not set") for some in (old, new))
            raise FolderTaken(folder.parent, f"holds a map with {name} = {was}, this one has {now}: give another folder")
    if found["sources"] != wanted["sources"]:
        raise FolderTaken(folder.parent, "holds a map computed by other sources of dynlab: give another folder")


def _first_bytes(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(PIECE)


def _starts_block(raw: bytes) -> bool:
    return MAGIC.startswith(raw[: len(MAGIC)])


def _read_at(file: int, at: int, size: int) -> bytes:
    os.lseek(file, at, os.SEEK_SET)
    pieces, left = [], size
    while left:
        piece = os.read(file, left)
        if not piece:
            break
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        written = os.write(file, view)
        if not written:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        view = view[written:]
