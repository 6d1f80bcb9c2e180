"""Recordings of speech from a folder: audio files, whose speaker and label are told by their names or by a table.

**Files** are wav, which SciPy reads, and with the extra `audio` (soundfile) flac, ogg and mp3. A folder that holds any of
these cannot be read without the extra: what is trained on does not depend on what is installed.

**Names.** A pattern such as `{label}_{speaker}_{index}` (the Free Spoken Digit Dataset's) or `{speaker}/{session}/{index}`
is held against the path of each file below the folder, without its suffix: against as many of its last parts as the pattern
has. A field is a run of characters without a slash. `{speaker}` must be among them.

**Table.** In place of a pattern the path of a CSV with the columns file (below the folder), speaker and, where there are,
others: its other columns are fields of the recording.

**Test part.** `held_out` is one condition or several, joined by "+": FIELD=VALUE,VALUE where a value may be a range of
integers, as index=0-4, or every=N for every N-th recording of each speaker in the order of names. Tests are made on the
recordings that meet all of them, training on those that meet none; so `index=0-4+speaker=george,theo` trains without these
speakers.

**Samples.** Channels are averaged; integers become numbers within [-1, 1); another rate is brought to `rate` by SciPy's
polyphase filter. Silence is trimmed from both ends: 10 ms parts more than SILENCE dB below the loudest. A file that cannot
be read, is empty, has samples that are not finite, is silent or has less than SHORTEST seconds left is left out, counted and
named with the reason.

**Cache.** What was read is kept under the cache folder of dynlab (`recordings`), one file for a folder and rate, and made
anew where a file has another name, size or time than before.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import wavfile
from scipy.signal import resample_poly

from dynlab.images.data.archives import DataError
from dynlab.machine.cache import cache_root
from dynlab.sounds.mel import RATES, known_number
from dynlab.tools import checkpoint
from dynlab.tools.checks import SettingError, require
from dynlab.tools.files import expanded, whole_file

SILENCE = 40.0  # dB
SHORTEST = 0.05  # seconds
WAV, COMPRESSED = ".wav", (".flac", ".ogg", ".mp3")
AUDIO_EXTRA = "python -m pip install 'dynlab-ssl[audio]'"
DIGITS = "{label}_{speaker}_{index}"  # of the Free Spoken Digit Dataset
KINDS = "wav, flac, ogg or mp3"
RULE = 1  # version of how recordings are read


@dataclass(frozen=True, eq=False)
class Recordings:
    """samples float32 (N,) within [-1, 1], recording i being samples[bounds[i]:bounds[i + 1]], at `rate` a second.

    names : of the files below the folder, in order. fields : what is known of each, by name: speaker, label and others.
    left_out : files that could not be used, with the reason.
    """

    samples: np.ndarray
    bounds: np.ndarray
    rate: int
    names: tuple[str, ...]
    fields: tuple[dict[str, str], ...]
    left_out: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.names)

    def one(self, i: int) -> np.ndarray:
        """The samples of recording i."""
        return self.samples[self.bounds[i] : self.bounds[i + 1]]

    def of(self, field: str) -> np.ndarray:
        """What a field says of each recording, as strings (n,); "" where nothing is said."""
        return np.array([one.get(field, "") for one in self.fields])

    def some(self, rows: Sequence[int] | np.ndarray) -> Recordings:
        """The recordings of these rows alone, in that order."""
        parts = [self.one(int(i)) for i in rows]
        return replace(
            self,
            samples=np.concatenate([np.empty(0, np.float32), *parts]),
            bounds=np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64),
            names=tuple(self.names[int(i)] for i in rows),
            fields=tuple(self.fields[int(i)] for i in rows),
        )


class Unusable(ValueError):
    """A recording that is left out; the text is the reason."""


def read_samples(path: Path, rate: int) -> np.ndarray:
    """Samples (N,), float32, of an audio file at `rate`: one channel, its ends of silence trimmed. Raises `Unusable`, and
    SettingError for a file that needs the extra `audio` where that is not installed."""
    compressed = sound_file_module(path) if path.suffix.lower() in COMPRESSED else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", wavfile.WavFileWarning)  # parts of a file that are no samples
            own, found = wavfile.read(path) if compressed is None else compressed.read(path, dtype="float64")[::-1]
    except (ValueError, OSError, EOFError, IndexError, KeyError, TypeError, ArithmeticError, MemoryError) as error:
        raise Unusable(str(error).splitlines()[0] if str(error) else type(error).__name__) from None
    except Exception as error:  # struct.error and what else a damaged header leads the reader into
        raise Unusable(f"{type(error).__name__}: {error}") from None
    if found.size == 0:
        raise Unusable("is empty")
    return trimmed(resampled(as_floats(found), int(own), rate), rate)


def sound_file_module(path: Path) -> Any:
    """soundfile, which reads what SciPy does not; SettingError that names the extra where it is not installed."""
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: installed, but without the library that it calls
        raise SettingError("data", str(path), f"used with the extra audio: {AUDIO_EXTRA}") from None
    return soundfile


def as_floats(found: np.ndarray) -> np.ndarray:
    """One channel of float64 from samples (N,) or (N, channels) of any type that wav has."""
    if found.dtype.kind == "u":
        values = (found.astype(np.float64) - 2.0 ** (8 * found.itemsize - 1)) / 2.0 ** (8 * found.itemsize - 1)
    elif found.dtype.kind == "i":
        values = found.astype(np.float64) / 2.0 ** (8 * found.itemsize - 1)
    else:
        values = found.astype(np.float64)
    values = values.mean(axis=1) if values.ndim > 1 else values
    if not np.isfinite(values).all():
        raise Unusable("has samples that are not finite")
    return values


def resampled(values: np.ndarray, own: int, rate: int) -> np.ndarray:
    """Samples (N,) at `own` a second as they would be at `rate`."""
    if own <= 0:
        raise Unusable(f"says it has {own} samples a second")
    if own == rate:
        return values
    common = gcd(own, rate)
    return resample_poly(values, rate // common, own // common)


def trimmed(values: np.ndarray, rate: int) -> np.ndarray:
    """Samples without silence at both ends, float32. Raises `Unusable` where nothing or too little is left."""
    part = rate // 100
    count = -(-len(values) // part)
    parts = np.zeros(count * part)
    parts[: len(values)] = values
    energy = (parts.reshape(count, part) ** 2).mean(axis=1)
    if energy.max() <= 0.0:
        raise Unusable("is silent")
    loud = np.flatnonzero(energy >= energy.max() * 10.0 ** (-SILENCE / 10.0))
    kept = values[loud[0] * part : (loud[-1] + 1) * part]
    if len(kept) < SHORTEST * rate:
        raise Unusable(f"is too short ({len(kept) / rate:.3g} s without silence at its ends)")
    return kept.astype(np.float32)


def fields_by_pattern(pattern: str, name: str) -> dict[str, str] | None:
    """The fields of a file's name (with slashes, without suffix); None where it does not fit the pattern."""
    parts = re.split(r"(\{\w+\})", pattern)
    words = "".join(f"(?P<{part[1:-1]}>[^/]+?)" if part.startswith("{") else re.escape(part) for part in parts)
    try:
        found = re.fullmatch(f"(?:.*/)?{words}", name)
    except re.error as error:
        raise SettingError("pattern", pattern, f"fields in braces, each once, as {DIGITS} ({error})") from None
    return None if found is None else found.groupdict()


def fields_by_table(path: Path) -> dict[str, dict[str, str]]:
    """{file: fields} of a CSV with the columns file and speaker."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(path, "a CSV with the columns file, speaker", str(error)) from None
    columns = list(rows[0]) if rows else []
    if not {"file", "speaker"} <= set(columns):
        raise DataError(path, "a CSV with the columns file, speaker", f"columns {', '.join(map(str, columns)) or 'none'}")
    known = {}
    for number, row in enumerate(rows, 2):
        if None in row or None in row.values():
            raise DataError(path, f"{len(columns)} cells in line {number}", "more or fewer")
        known[row["file"].removeprefix("./")] = {name: value for name, value in row.items() if name != "file"}
    return known


def load_recordings(folder: str | os.PathLike[str], pattern: str = DIGITS, rate: int = 8000) -> Recordings:
    """All recordings of a folder, in the order of their names.

    pattern: of the names, or the path of a CSV (this module says both). rate: samples a second, 8000 or 16000.
    Raises DataError where there are no recordings, SettingError for a pattern that is none, and for a folder that needs the
    extra `audio` where that is not installed.
    """
    known_number("rate", rate, RATES)
    root = expanded(folder)
    if not root.is_dir():
        raise DataError(root, f"a folder of {KINDS} files", "a file" if root.exists() else "no such folder")
    table = fields_by_table(_table_place(root, pattern)) if pattern.endswith(".csv") else None
    require(table is not None or "{speaker}" in pattern, "pattern", pattern, "a name with {speaker} in it, or a CSV")
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in (WAV, *COMPRESSED) and path.is_file())
    if not files:
        raise DataError(root, f"{KINDS} files", "none")
    for path in [path for path in files if path.suffix.lower() in COMPRESSED][:1]:
        sound_file_module(path)
    samples, bounds, reasons = _read_all(root, files, rate)
    names, fields, rows, bad = [], [], [], []
    for i, path in enumerate(files):
        name = path.relative_to(root).as_posix()
        known = table.get(name) if table is not None else fields_by_pattern(pattern, name.rpartition(".")[0])
        reason = reasons[i] or ("" if known else "is not in the table" if table is not None else f"does not fit {pattern}")
        if reason or known is None:
            bad.append(f"{name} ({reason})")
        else:
            names.append(name)
            fields.append(known)
            rows.append(i)
    if not names:
        raise DataError(root, f"{KINDS} files that can be used and fit {pattern}", f"{len(bad)} others: {bad[0]}")
    every = Recordings(samples, bounds, rate, tuple(p.name for p in files), ({},) * len(files))
    return replace(every.some(rows), names=tuple(names), fields=tuple(fields), left_out=tuple(bad))


def _table_place(root: Path, pattern: str) -> Path:
    return root / pattern if (root / pattern).is_file() else expanded(pattern)


def kept_folder() -> Path:
    """Where recordings that were read are kept."""
    return cache_root() / "recordings"


def clear_cached() -> tuple[int, int]:
    """Remove all recordings that are kept: (files, bytes). Only what this module writes is removed."""
    found = [(path, path.stat().st_size) for path in sorted(kept_folder().glob("*.npz"))]
    for path, _ in found:
        path.unlink()
    if found and not any(kept_folder().iterdir()):
        kept_folder().rmdir()
    return len(found), sum(size for _, size in found)


def _read_all(root: Path, files: list[Path], rate: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(samples, bounds, reason why a file is left out or "") of all files, from the cache where nothing has changed."""
    known = "\n".join(f"{p.relative_to(root)}\0{(s := p.stat()).st_size}\0{s.st_mtime_ns}" for p in files)
    key = hashlib.blake2b(f"{RULE}\0{rate}\0{root.absolute()}\0{known}".encode(), digest_size=16).hexdigest()
    place = kept_folder() / f"{key}.npz"
    try:
        with np.load(place, allow_pickle=False) as kept:
            return kept["samples"], kept["bounds"], [str(reason) for reason in kept["reasons"]]
    except (*checkpoint.ARCHIVE_ERRORS, OSError):
        pass  # nothing kept, or damaged: it is read anew
    parts, reasons = [], []
    for path in files:
        try:
            parts.append(read_samples(path, rate))
            reasons.append("")
        except Unusable as error:
            parts.append(np.empty(0, np.float32))
            reasons.append(str(error))
    samples = np.concatenate(parts)
    bounds = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(place) as partial, open(partial, "wb") as file:
            np.savez(file, samples=samples, bounds=bounds, reasons=np.array(reasons))
    except OSError:
        pass  # a folder that cannot be written: the next time reads again
    return samples, bounds, reasons


def split(recordings: Recordings, held_out: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows (training, test) of recordings for the conditions of `held_out`; SettingError for what is none."""
    met = np.array([_meets(recordings, condition, held_out) for condition in held_out.split("+")])
    train, test = np.flatnonzero(~met.any(axis=0)), np.flatnonzero(met.all(axis=0))
    require(
        len(train) > 0 and len(test) > 0, "held_out", held_out, "conditions that leave some to train on and some to test"
    )
    return train, test


def _meets(recordings: Recordings, condition: str, held_out: str) -> np.ndarray:
    """Which recordings meet one condition (n,)."""
    allowed = "FIELD=VALUE,VALUE or every=N, several joined by +, as index=0-4+speaker=george,theo"
    field, equals, values = (part.strip() for part in condition.partition("="))
    require(bool(field and equals and values), "held_out", held_out, allowed)
    if field == "every":
        require(values.isdecimal() and int(values) > 1, "held_out", held_out, "every=N with an integer N above 1")
        speakers, place = recordings.of("speaker"), []
        seen: dict[str, int] = {}
        for i in np.argsort(np.array(recordings.names)):
            seen[speakers[i]] = seen.get(speakers[i], 0) + 1
            place.append((i, seen[speakers[i]]))
        return np.array([count % int(values) == 0 for _, count in sorted(place)])
    known = sorted({name for fields in recordings.fields for name in fields})
    require(field in known, "held_out", held_out, f"conditions on {', '.join(known)}")
    found, wanted, ranges = recordings.of(field), set(), []
    for value in (part.strip() for part in values.split(",")):
        span = re.fullmatch(r"(\d+)-(\d+)", value)
        ranges += [(int(span[1]), int(span[2]))] if span else []
        wanted.add(value)
    inside = [any(low <= int(x) <= high for low, high in ranges) if x.isdecimal() else False for x in found.tolist()]
    missing = sorted(wanted - set(found.tolist()) - {f"{low}-{high}" for low, high in ranges})
    require(not missing, "held_out", held_out, f"values that {field} has: {', '.join(sorted(set(found.tolist()))[:12])}")
    return np.isin(found, sorted(wanted)) | np.array(inside)
