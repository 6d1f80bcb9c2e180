"""What an encoder of speech is worth: speaker verification on the test part, beside what needs no training.

Embeddings are of whole recordings, each at its own length, batch norms with their running statistics. Beside the encoder's
output and z stand the same network before training, and mean and standard deviation over time of the log-mel features (not
standardised), as they are and whitened by the training part's recordings. Every score is a cosine, of embeddings as they are
and of embeddings less the mean of the training part's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.images.settings import Pretraining
from dynlab.images.verdict import NotFinite
from dynlab.images.worth import spectrum
from dynlab.sounds.log_mel import log_mel_of_many
from dynlab.sounds.recordings import Recordings
from dynlab.sounds.speech_networks import embeddings_of
from dynlab.sounds.speech_set import SpeechSet
from dynlab.sounds.verification import (
    PRIOR,
    Trials,
    cosine_scores,
    error_rates,
    mean_and_deviation,
    verify,
    whitening,
)
from dynlab.tools.checks import require

if TYPE_CHECKING:
    import pandas as pd

SPEECH_REPRESENTATIONS = ("encoder", "z", "random encoder", "random z", "log-mels", "whitened log-mels")
SHOWN_RECORDINGS = 600  # of the training part, at most, whose mean is taken off
HEADING = f"{'embeddings':<20}{'size':>6}{'EER':>9}{'minDCF':>9}{'EER less mean':>16}{'rank':>8}{'|corr|':>8}"
CURVE = 200  # points of a curve for each axis


def appraise_speech(
    settings: Pretraining, weights: dict, data: SpeechSet, trials: Trials, which: Sequence[str], ops: Any,
    told: Callable[[str], None] = lambda line: None,
) -> list[dict]:  # fmt: skip
    """A row for each representation: representation, dimensions, `Verification` cosine and centred, `Shape` shape, curve.

    settings, weights: of a run. ops: the layers of a device. data: with its test part, which `trials` are of.
    which: of `SPEECH_REPRESENTATIONS`.
    curve: (points, 2) false alarms and misses of the first score. told: called with a line for each.
    """
    rows = []
    for name, (inside, outside) in speech_embeddings(settings, weights, data, which, ops):
        told(f"{name}: {outside.shape[1]} dimensions")
        NotFinite.check(f"embeddings of the {name}", inside, outside)
        alarms, misses = error_rates(cosine_scores(outside, trials), trials.target)
        kept = curve_points(alarms, misses)
        rows.append(
            {
                "representation": name,
                "dimensions": outside.shape[1],
                "cosine": verify(outside, trials),
                "centred": verify(outside, trials, inside.mean(axis=0)),
                "shape": spectrum.shape(outside),
                "curve": np.stack([alarms[kept], misses[kept]], axis=1),
            }  # fmt: skip
        )
    return rows


def some_of_training(data: SpeechSet) -> Recordings:
    """Recordings of the training part, evenly spread over it, whose embeddings say what the mean is."""
    count = len(data.recordings)
    return data.recordings.some(np.unique(np.linspace(0, count - 1, min(count, SHOWN_RECORDINGS)).astype(int)))


def speech_embeddings(
    settings: Pretraining, weights: dict, data: SpeechSet, which: Sequence[str], ops: Any
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Yield (name, (embeddings of some of the training part, those of the test part)) for each representation asked for."""
    parts = some_of_training(data), data.test
    for prefix, state in (("", weights), ("random ", None)):
        asked = [kind for kind in ("encoder", "z") if prefix + kind in which]
        if asked:
            found = [embeddings_of(settings, state, *data.features(part), ops) for part in parts]
            for place, kind in enumerate(("encoder", "z")):
                if kind in asked:
                    yield prefix + kind, (found[0][place], found[1][place])
    plain = [mean_and_deviation(*log_mel_of_many(part.samples, part.bounds, data.tables)) for part in parts]
    if "log-mels" in which:
        yield "log-mels", (plain[0], plain[1])
    if "whitened log-mels" in which:
        mean, turn = whitening(plain[0])
        yield "whitened log-mels", ((plain[0] - mean) @ turn, (plain[1] - mean) @ turn)


def curve_points(alarms: np.ndarray, misses: np.ndarray) -> np.ndarray:
    """Places of points that draw the curve as all would: those next to a grid of rates, finer towards 0 and 1."""
    if len(alarms) <= 2 * CURVE:
        return np.arange(len(alarms))
    grid = 1.0 / (1.0 + np.exp(-np.linspace(-8.0, 8.0, CURVE)))
    places = [np.searchsorted(misses, grid), len(alarms) - 1 - np.searchsorted(alarms[::-1], grid)]
    return np.unique(np.concatenate([[0, len(alarms) - 1], *places]).clip(0, len(alarms) - 1))


def plain_rows(rows: list[dict]) -> list[dict]:
    """Rows as JSON can hold them, without their curves."""
    return [
        {name: value.as_json() if hasattr(value, "as_json") else value for name, value in row.items() if name != "curve"}
        for row in rows
    ]


def det_curves(rows: list[dict]) -> pd.DataFrame:
    """Points of the curves, a line each: representation, false_alarms, misses."""
    import pandas as pd

    lines = [(row["representation"], alarm, miss) for row in rows for alarm, miss in row["curve"].tolist()]
    return pd.DataFrame(lines, columns=["representation", "false_alarms", "misses"])


def speech_text(rows: list[dict], data: SpeechSet, place: Path) -> list[str]:
    """The table to read, with the protocol below it."""
    lines = [HEADING]
    for row in rows:
        cosine, shape = row["cosine"], row["shape"]
        lines.append(
            f"{row['representation']:<20}{row['dimensions']:>6}{cosine.eer:>9.3f}{cosine.min_dcf:>9.3f}"
            f"{row['centred'].eer:>16.3f}{shape.rank:>8.1f}{shape.mean_abs_correlation:>8.2f}"
        )
    first = rows[0]["cosine"]
    speakers = len(set(data.test.of("speaker").tolist()))
    few = f" {speakers} speakers are too few for an interval over speakers." if speakers < 20 else ""
    return [
        *lines, "",
        f"{first.rule}: {first.targets} of one speaker, {first.others} of two; held out: {data.held_out}.{few}",
        f"score: cosine; less mean: of embeddings less that of the training part's. minDCF: prior {PRIOR}, costs 1.",
        f"files in {place}: evaluate.json, det.csv, det.png, det.pdf",
    ]  # fmt: skip


def speech_representations(words: str | None) -> tuple[str, ...]:
    """The representations that words with commas name; all without any. SettingError for others."""
    found = tuple(dict.fromkeys(word.strip() for word in (words or ",".join(SPEECH_REPRESENTATIONS)).split(",")))
    allowed = f"some of {', '.join(SPEECH_REPRESENTATIONS)}, with commas"
    require(set(found) <= set(SPEECH_REPRESENTATIONS), "of", words, allowed)
    return found
