r"""Speaker verification: how well scores tell trials of one speaker from trials of two.

A trial is a pair of recordings; it is accepted where its score s is at least a threshold t. Of the target trials (one
speaker) the share P_miss(t) = #{s < t}/#targets is missed, of the others P_fa(t) = #{s >= t}/#others are false alarms. As t
rises through the scores, (P_fa, P_miss) goes from (1, 0) to (0, 1) in as many steps as there are different scores: equal
scores cannot be told apart and are passed in one step. Between two such points lies the line of a decision that draws lots.

**Equal error rate**: P_miss = P_fa on that polygon. With d = P_miss - P_fa, which rises, and d_0 <= 0 <= d_1 its values at
two neighbouring points, it is P_miss,0 + (P_miss,1 - P_miss,0) d_0/(d_0 - d_1). 0.5 is chance, 0 perfect.

**Detection cost** (NIST): with the prior p of a target and costs of 1, the least over t of

    [p P_miss(t) + (1 - p) P_fa(t)]/min(p, 1 - p),

which is 1 for accepting all or none, whichever is cheaper.

**DET curve** (Martin et al. 1997): P_miss against P_fa, both axes by the inverse of the normal distribution, where scores
that are normal with equal variances give a straight line of slope -1.

**Score**: the cosine of two embeddings, <a, b>/(|a| |b|); with a `centre`, such as the training part's mean, of a and b
less it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dynlab.images.data.archives import DataError
from dynlab.sounds.recordings import Recordings
from dynlab.tools.checks import real, require

PRIOR = 0.05  # of a target, in the detection cost
MOST_TRIALS = 20_000_000


@dataclass(frozen=True, eq=False)
class Trials:
    """first, second (n,): rows of the two recordings; target (n,): whether one speaker speaks in both. rule: in words."""

    first: np.ndarray
    second: np.ndarray
    target: np.ndarray
    rule: str

    def __len__(self) -> int:
        return len(self.target)


@dataclass(frozen=True)
class Verification:
    """eer: the equal error rate. min_dcf: the least detection cost for the prior `PRIOR`. targets, others: how many trials
    of one speaker and of two they are of. rule: which trials, in words."""

    eer: float
    min_dcf: float
    targets: int
    others: int
    rule: str

    def as_json(self) -> dict:
        """All of it as JSON can hold it."""
        return dict(vars(self))


def trials_of(recordings: Recordings) -> Trials:
    """All pairs of recordings with different labels, or all pairs where there are no labels; each once.

    Raises SettingError for more than `MOST_TRIALS` of them, DataError where all or none are of one speaker.
    """
    speakers, labels = recordings.of("speaker"), recordings.of("label")
    count = len(recordings) * (len(recordings) - 1) // 2
    require(count <= MOST_TRIALS, "trials", count, f"at most {MOST_TRIALS} pairs, or a file of trials (--trials)")
    first, second = np.triu_indices(len(recordings), 1)
    rule = "all pairs of test recordings"
    if len(set(labels.tolist())) > 1:
        kept = labels[first] != labels[second]
        first, second, rule = first[kept], second[kept], "all pairs of test recordings with different labels"
    return _with_both(Trials(first, second, speakers[first] == speakers[second], rule), "these recordings")


def trials_from_file(path: Path, recordings: Recordings) -> Trials:
    """Trials of the file at `path`, of lines `1 FILE FILE` (one speaker) and `0 FILE FILE`, the files being names of these
    recordings; DataError names the first other line."""
    rows = {name: i for i, name in enumerate(recordings.names)}
    first, second, target = [], [], []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(path, "a file of trials", str(error)) from None
    for number, line in enumerate(lines, 1):
        words = line.split()
        if not words:
            continue
        if len(words) != 3 or words[0] not in ("0", "1"):
            raise DataError(path, f"0 or 1 and two files in line {number}", repr(line[:60]))
        for name in words[1:]:
            if name not in rows:
                raise DataError(path, f"names of test recordings in line {number}", name)
        target.append(words[0] == "1")
        first.append(rows[words[1]])
        second.append(rows[words[2]])
    found = Trials(np.array(first, int), np.array(second, int), np.array(target, bool), f"trials of {path.name}")
    return _with_both(found, path)


def _with_both(trials: Trials, where: object) -> Trials:
    if trials.target.all() or not trials.target.any():
        raise DataError(where, "trials of one speaker and of two", f"{int(trials.target.sum())} of {len(trials)} of one")
    return trials


def cosine_scores(embeddings: np.ndarray, trials: Trials, centre: np.ndarray | None = None) -> np.ndarray:
    """Scores (n,) of trials for embeddings (recordings, D); centre (D,): taken off first. Of length 0 all score 0."""
    rows = embeddings.astype(np.float64)
    rows = rows if centre is None else rows - centre
    length = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    rows = rows / np.where(length > 0.0, length, 1.0)
    out = np.empty(len(trials))
    for start in range(0, len(trials), 100_000):
        some = slice(start, start + 100_000)
        out[some] = (rows[trials.first[some]] * rows[trials.second[some]]).sum(axis=1)
    return out


def error_rates(scores: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(P_fa, P_miss), each (k + 1,), for thresholds at the k different scores from the lowest on, and above all of them.

    scores (n,): the larger, the more alike. target (n,): whether one speaker speaks in both recordings of the trial.
    SettingError where there are not trials of both kinds.
    """
    values, place = np.unique(np.asarray(scores, np.float64), return_inverse=True)
    hits = np.bincount(place[target], minlength=len(values))
    alarms = np.bincount(place[~target], minlength=len(values))
    require(hits.sum() > 0 and alarms.sum() > 0, "target", f"{hits.sum()} of {len(target)}", "some of both kinds")
    below = np.concatenate([[0], np.cumsum(hits)]), np.concatenate([[0], np.cumsum(alarms)])
    return 1.0 - below[1] / alarms.sum(), below[0] / hits.sum()


def equal_error_rate(scores: np.ndarray, target: np.ndarray) -> float:
    """The rate at which misses and false alarms are equally frequent. scores, target: as in `error_rates`."""
    alarms, misses = error_rates(scores, target)
    gap = misses - alarms
    after = int(np.argmax(gap >= 0.0))  # the first point is (1, 0)
    before = after - 1
    part = gap[before] / (gap[before] - gap[after])
    return float(misses[before] + (misses[after] - misses[before]) * part)


def least_detection_cost(scores: np.ndarray, target: np.ndarray, prior: float = PRIOR) -> float:
    """The least detection cost over all thresholds. scores, target: as in `error_rates`. prior: of a target trial, between 0
    and 1; SettingError for another."""
    prior = real("prior", prior, above=0.0, at_most=1.0)
    require(prior < 1.0, "prior", prior, "below 1")
    alarms, misses = error_rates(scores, target)
    return float((prior * misses + (1.0 - prior) * alarms).min() / min(prior, 1.0 - prior))


def verify(embeddings: np.ndarray, trials: Trials, centre: np.ndarray | None = None) -> Verification:
    """Equal error rate and detection cost of cosine scores.

    embeddings (recordings, D), of which the trials are. centre (D,): taken off them first (None: nothing).
    """
    scores = cosine_scores(embeddings, trials, centre)
    targets = int(trials.target.sum())
    rates = equal_error_rate(scores, trials.target), least_detection_cost(scores, trials.target)
    return Verification(*rates, targets, len(trials) - targets, trials.rule)


def whitening(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(mean (D,), W (D, D)) of embeddings (n, D): (x - mean) W has unit variance along each eigenvector of their covariance.

    Eigenvalues are raised to 1e-6 of the largest, so that what hardly varies is not made all of it.
    """
    mean = embeddings.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov((embeddings - mean).T))
    return mean, vectors / np.sqrt(np.maximum(values, 1e-6 * values.max()))


def mean_and_deviation(features: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Mean and standard deviation of the features (frames, bands) of each recording: (recordings, 2 bands), float64."""
    parts = [features[a:b].astype(np.float64) for a, b in zip(bounds[:-1], bounds[1:], strict=True)]
    return np.array([np.concatenate([part.mean(axis=0), part.std(axis=0)]) for part in parts])
