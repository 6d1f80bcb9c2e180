"""What a run on speech is trained and tested on: utterances of the training part, and the recordings of the test part.

**Utterances.** Recordings of digits are too short to be cut twice, and a corpus of speech has longer ones. So recordings of
one speaker are joined, in an order by a hash of their names, until an utterance has `joined` seconds; what is left over at
the end of a speaker goes to the last. A recording that is long enough is an utterance of its own. This is the only use that
training makes of speakers: that what was said within one utterance was said by one.

**The test part** is recordings as they are (`dynlab.sounds.recordings.split`). Where nothing is said about it: recordings 0
to 4 of each speaker and digit, as the Free Spoken Digit Dataset has it, if names follow its pattern; of a table the rows
whose column `split` is test; every fifth recording of each speaker otherwise.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dynlab.images.settings import Pretraining
from dynlab.sounds.log_mel import log_mel_of_many, moments_of_bands
from dynlab.sounds.mel import Tables, tables_of
from dynlab.sounds.recordings import DIGITS, Recordings, load_recordings, split
from dynlab.sounds.speech_training import SpeechTrainer

RATE, BANDS, JOINED = 8000, 40, 3.0
OFFICIAL, OTHERWISE = "index=0-4", "every=5"


@dataclass(frozen=True, eq=False)
class SpeechSet:
    """Utterances to train on: samples (N,), utterance i being samples[bounds[i]:bounds[i + 1]]; speakers (n,) of each.

    recordings, test : those that utterances were made of, and those of the test part. tables : of the features. moments :
    mean and deviation (bands,) of the training part's. held_out : the conditions that the test part meets. left_out : files
    that could not be used, with the reason. notes : lines on how recordings were taken. trainer : what trains.
    """

    samples: np.ndarray
    bounds: np.ndarray
    speakers: np.ndarray
    recordings: Recordings
    test: Recordings
    tables: Tables
    moments: tuple[np.ndarray, np.ndarray]
    held_out: str
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    trainer: Any = field(default=SpeechTrainer, repr=False)

    def __len__(self) -> int:
        return len(self.speakers)

    @property
    def files(self) -> int:
        """How many recordings there are, for training and for tests."""
        return len(self.recordings) + len(self.test)

    def content(self, limit: int | None = None) -> str:
        """A digest of the first `limit` utterances (None: all): equal where, and only where, these are."""
        digest = hashlib.blake2b(digest_size=16)
        bounds = self.bounds[: None if limit is None else limit + 1]
        for part in (bounds, self.samples[: bounds[-1]], np.concatenate(self.moments)):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()

    def features(self, recordings: Recordings) -> tuple[np.ndarray, np.ndarray]:
        """(standardised features (frames, bands), bounds of each recording in them) of recordings."""
        found, bounds = log_mel_of_many(recordings.samples, recordings.bounds, self.tables)
        return (found - self.moments[0]) * (1.0 / self.moments[1]).astype(np.float32), bounds


def load_speech(settings: Pretraining, folder: str | Path) -> SpeechSet:
    """The utterances and test recordings of a folder for the settings of a run.

    Raises DataError for a folder without recordings, SettingError for a pattern or conditions that do not fit them.
    """
    pattern = DIGITS if settings.pattern is None else settings.pattern
    found = load_recordings(folder, pattern, settings.rate or RATE)
    held_out = settings.held_out
    if held_out is None:
        own = "split=test" if pattern.endswith(".csv") and "split" in found.fields[0] else OTHERWISE
        held_out = OFFICIAL if pattern == DIGITS else own
    train, test = split(found, held_out)
    return speech_set(found, train, test, settings, held_out)


def speech_set(found: Recordings, train: np.ndarray, test: np.ndarray, settings: Pretraining, held_out: str) -> SpeechSet:
    """The set of recordings whose rows are for training and for testing."""
    inside, outside = found.some(train), found.some(test)
    tables = tables_of(found.rate, settings.bands or BANDS)
    features, _ = log_mel_of_many(inside.samples, inside.bounds, tables)
    seconds = JOINED if settings.joined is None else settings.joined
    groups = joined_rows(inside, seconds)
    order = inside.some([i for group in groups for i in group])
    ends = np.cumsum([len(group) for group in groups])
    bounds = np.concatenate([[0], order.bounds[ends]]).astype(np.int64)
    speakers = inside.of("speaker")[[group[0] for group in groups]]
    return SpeechSet(
        order.samples, bounds, speakers, inside, outside, tables, moments_of_bands(features), held_out, found.left_out,
        (_note(groups, inside, outside, held_out),),
    )  # fmt: skip


def _note(groups: list[list[int]], inside: Recordings, outside: Recordings, held_out: str) -> str:
    """How recordings were taken, in a line."""
    seconds = len(inside.samples) / inside.rate / len(groups)
    speakers = [len(set(part.of("speaker").tolist())) for part in (inside, outside)]
    return (
        f"{len(groups)} utterances of {seconds:.1f} s from {len(inside)} recordings of {speakers[0]} speakers; "
        f"{len(outside)} recordings of {speakers[1]} speakers are held out ({held_out})"
    )


def joined_rows(recordings: Recordings, seconds: float) -> list[list[int]]:
    """Rows of recordings of one speaker each, which together last at least so many seconds; in an order by a hash."""
    speakers = recordings.of("speaker").tolist()
    hashed = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in recordings.names]
    lengths = np.diff(recordings.bounds)
    groups: list[list[int]] = []
    for speaker in sorted(set(speakers)):
        own: list[list[int]] = [[]]
        total = 0
        for i in sorted((i for i, one in enumerate(speakers) if one == speaker), key=lambda i: hashed[i]):
            own[-1].append(i)
            total += int(lengths[i])
            if total >= seconds * recordings.rate:
                own.append([])
                total = 0
        rest = own.pop()
        if rest and own:
            own[-1] += rest
        elif rest:
            own = [rest]
        groups += own
    return sorted(groups, key=lambda group: hashed[group[0]])
