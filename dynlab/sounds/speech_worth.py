"""What an encoder of speech is worth: speaker verification on the test part, beside what needs no training.

Embeddings are of whole recordings, each at its own length, batch norms with their running statistics. Beside the encoder's
output and z stand the same network before training, and mean and standard deviation over time of the log-mel features (not
standardised), as they are and whitened by the training part's recordings. Every score is a cosine, of embeddings as they are
and of embeddings less the mean of the training part's.

**Probes and neighbours** learn from recordings of the training part who speaks (`speaker`) and what is said (`label`), and
are asked about the test part (`dynlab.images.worth`). Asked is only about test recordings whose class is among those learnt,
so there is no number for speakers that training has not heard, nor where there is one class or none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.images.settings import Pretraining
from dynlab.images.verdict import NotFinite
from dynlab.images.worth import spectrum
from dynlab.images.worth.accuracy import Accuracy
from dynlab.images.worth.knn import knn
from dynlab.images.worth.probe import linear_probe
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
LEARNT = 6000  # of them, at most, that probes and neighbours learn from
NEIGHBOURS = 20
TOLD = ("speaker", "label")  # fields that probes and neighbours are asked about
ACCURACIES = tuple(f"{field}_{kind}" for field in TOLD for kind in ("probe", "knn"))
HEADING = (
    f"{'embeddings':<20}{'size':>6}{'EER':>9}{'minDCF':>9}{'EER less mean':>16}{'rank':>8}{'|corr|':>8}"
    f"{'speaker: probe':>16}{'kNN':>7}{'label: probe':>14}{'kNN':>7}"
)
CURVE = 200  # points of a curve for each axis


def appraise_speech(
    settings: Pretraining, weights: dict, data: SpeechSet, trials: Trials, which: Sequence[str], ops: Any,
    told: Callable[[str], None] = lambda line: None, limit: int | None = None,
) -> list[dict]:  # fmt: skip
    """A row for each representation: representation, dimensions, `Verification` cosine and centred, `Shape` shape, curve,
    and speaker_probe, speaker_knn, label_probe, label_knn: `Accuracy`, None where there is nothing to tell.

    settings, weights: of a run. ops: the layers of a device. data: with its test part, which `trials` are of.
    which: of `SPEECH_REPRESENTATIONS`.
    curve: (points, 2) false alarms and misses of the first score. told: called with a line for each.
    limit: recordings that probes and neighbours learn from, at most (None: `LEARNT`).
    """
    rows = []
    learnt = some_of_training(data, LEARNT if limit is None else limit)
    mean_of = spread_rows(len(learnt), SHOWN_RECORDINGS)
    for name, (inside, outside) in speech_embeddings(settings, weights, data, which, ops, learnt):
        told(f"{name}: {outside.shape[1]} dimensions")
        NotFinite.check(f"embeddings of the {name}", inside, outside)
        alarms, misses = error_rates(cosine_scores(outside, trials), trials.target)
        kept = curve_points(alarms, misses)
        rows.append(
            {
                "representation": name,
                "dimensions": outside.shape[1],
                "cosine": verify(outside, trials),
                "centred": verify(outside, trials, inside[mean_of].mean(axis=0)),
                "shape": spectrum.shape(outside),
                "curve": np.stack([alarms[kept], misses[kept]], axis=1),
                **told_apart(inside, learnt, outside, data.test),
            }  # fmt: skip
        )
    return rows


def spread_rows(count: int, most: int) -> np.ndarray:
    """At most so many rows of `count`, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))


def some_of_training(data: SpeechSet, most: int = LEARNT) -> Recordings:
    """At most so many recordings of the training part, evenly spread over it."""
    return data.recordings.some(spread_rows(len(data.recordings), most))


def told_apart(inside: np.ndarray, learnt: Recordings, outside: np.ndarray, asked: Recordings) -> dict[str, Accuracy | None]:
    """{speaker_probe, speaker_knn, label_probe, label_knn} of embeddings (n, D): inside of the recordings `learnt` from,
    outside of those `asked` about."""
    found: dict[str, Accuracy | None] = {}
    for field in TOLD:
        classes, known = np.unique(learnt.of(field), return_inverse=True)
        rows = np.flatnonzero(np.isin(asked.of(field), classes))
        found |= {f"{field}_probe": None, f"{field}_knn": None}
        if len(classes) > 1 and len(rows):
            wanted = np.searchsorted(classes, asked.of(field)[rows])
            four = (inside.astype(np.float32), known, outside[rows].astype(np.float32), wanted)
            found[f"{field}_probe"] = linear_probe(*four, items="recordings")
            found[f"{field}_knn"] = knn(*four, k=NEIGHBOURS, items="recordings")
    return found


def speech_embeddings(
    settings: Pretraining, weights: dict, data: SpeechSet, which: Sequence[str], ops: Any, learnt: Recordings
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Yield (name, (embeddings of the recordings `learnt` from, those of the test part)) for each of `which`."""
    parts = learnt, data.test
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
        mean, turn = whitening(plain[0][spread_rows(len(learnt), SHOWN_RECORDINGS)])
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
            + "".join(f"{_share(row[name]):>{wide}}" for name, wide in zip(ACCURACIES, (16, 7, 14, 7), strict=True))
        )
    first = rows[0]["cosine"]
    speakers = len(set(data.test.of("speaker").tolist()))
    few = f" {speakers} speakers are too few for an interval over speakers." if speakers < 20 else ""
    return [
        *lines, "",
        f"{first.rule}: {first.targets} of one speaker, {first.others} of two; held out: {data.held_out}.{few}",
        f"score: cosine; less mean: of embeddings less that of the training part's. minDCF: prior {PRIOR}, costs 1.",
        *dict.fromkeys(f"{_words(name)}: {row[name].protocol}" for row in rows for name in ACCURACIES if row[name]),
        f"files in {place}: evaluate.json, det.csv, det.png, det.pdf",
    ]  # fmt: skip


def _words(name: str) -> str:
    return name.replace("_", " ")


def _share(found: Accuracy | None) -> str:
    return "-" if found is None else f"{found.share:.3f}"


def speech_representations(words: str | None) -> tuple[str, ...]:
    """The representations that words with commas name; all without any. SettingError for others."""
    found = tuple(dict.fromkeys(word.strip() for word in (words or ",".join(SPEECH_REPRESENTATIONS)).split(",")))
    allowed = f"some of {', '.join(SPEECH_REPRESENTATIONS)}, with commas"
    require(set(found) <= set(SPEECH_REPRESENTATIONS), "of", words, allowed)
    return found
