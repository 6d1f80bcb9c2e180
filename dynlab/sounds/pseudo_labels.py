r"""Pseudo-labels in rounds (Cai et al. 2021; the second stage of Cho et al. 2022): cluster, train by the clusters, repeat.

In a round the embeddings of all utterances, each at its own length and brought to unit length, are clustered by k-means
(Lloyd's algorithm from centres by k-means++, Arthur & Vassilvitskii 2007), the best of `TRIES` starts; then an encoder is
trained from its start by the clusters as labels: with p = softmax(z), z a linear layer on the encoder's output,

    L = -< log p_(c(v)) >,     dL/dz_v = (p - e_c(v))/(2B),

the mean over both views v of the B utterances of a step, c the cluster of the utterance. Views, optimiser, steps and seed
are those of the run that made the first embeddings. No speaker is known to any of this.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from dynlab.images.settings import SOUND_SETTINGS, Pretraining, pretraining
from dynlab.images.verdict import NotFinite
from dynlab.images.worth import spectrum
from dynlab.sounds.log_mel import log_mel_of_many
from dynlab.sounds.speech_networks import embeddings_of
from dynlab.sounds.speech_set import SpeechSet
from dynlab.sounds.speech_training import SpeechTrainer
from dynlab.sounds.verification import Trials, verify
from dynlab.tools.checks import integer, require

TRIES, MOST_PASSES = 10, 100
CENTRES = 3  # stream of numpy's generator that draws where clusters begin
OF_CLUSTERS = (
    "dataset", "limit", "encoder", "optimiser", "lr", "momentum", "weight_decay", "schedule", "warm_up", "batch", "epochs",
    "steps", "augmentation", "seed", *SOUND_SETTINGS,
)  # fmt: skip


def k_means(rows: np.ndarray, clusters: int, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """(cluster (n,) of each row, sum of squared distances to the centres) of rows (n, D).

    clusters: from 2 to n; SettingError for others. A cluster that nothing belongs to takes the row farthest from its own.
    """
    integer("clusters", clusters, at_least=2, at_most=len(rows))
    rows = rows.astype(np.float64)
    gaps, centres = np.full(len(rows), np.inf), np.empty((clusters, rows.shape[1]))
    place = int(rng.integers(len(rows)))
    for k in range(clusters):
        centres[k] = rows[place]
        gaps = np.minimum(gaps, ((rows - centres[k]) ** 2).sum(axis=1))
        total = gaps.sum()
        place = int(rng.choice(len(rows), p=gaps / total)) if total > 0.0 else int(rng.integers(len(rows)))
    found = np.full(len(rows), -1)
    for _ in range(MOST_PASSES):
        before, (found, gaps) = found, _nearest(rows, centres)
        if (found == before).all():
            break
        for k in range(clusters):
            own = rows[found == k]
            centres[k] = own.mean(axis=0) if len(own) else rows[int(gaps.argmax())]
    return found, float(_nearest(rows, centres)[1].sum())


def _nearest(rows: np.ndarray, centres: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(The nearest centre (n,) of each row, its squared distance)."""
    distances = np.stack([((rows - centre) ** 2).sum(axis=1) for centre in centres], axis=1)
    found = distances.argmin(axis=1)
    return found, distances[np.arange(len(rows)), found]


def clusters_of(embeddings: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """The cluster (n,) of each of embeddings (n, D), of which the length does not count; seed: of the starts."""
    rows = embeddings.astype(np.float64)
    length = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    rows = rows / np.where(length > 0.0, length, 1.0)
    tries = [k_means(rows, clusters, np.random.default_rng((seed, CENTRES, start))) for start in range(TRIES)]
    return min(tries, key=lambda one: one[1])[0]


def purity(found: np.ndarray, known: np.ndarray) -> float:
    """Share of utterances that are of the most frequent of the `known` classes in their cluster; found, known (n,)."""
    return sum(int(np.unique(known[found == k], return_counts=True)[1].max()) for k in np.unique(found)) / len(found)


class ClusterTrainer(SpeechTrainer):
    """Trains an encoder by a class of each utterance. settings: of the run that made the embeddings."""

    def __init__(self, settings: Pretraining, data: SpeechSet, ops: Any, classes: np.ndarray, dtype: str = "float32"):
        self.classes, count = classes, int(classes.max()) + 1
        given = {name: getattr(settings, name) for name in OF_CLUSTERS}
        super().__init__(pretraining(**given, projector=(count,), head="none"), data, ops, dtype)
        require(len(classes) == self.count, "classes", len(classes), f"{self.count} of them, one an utterance")
        self.loss = 0.0

    def _step(self, step: int) -> None:
        self._views(step)
        z = self.networks.forward(self.x, groups=2)[1]
        batch, place = self.settings.batch, step % self.epoch_steps
        wanted = np.tile(self.classes[self.order[place * batch : (place + 1) * batch]], 2)
        self.loss, self.d_z[:] = cross_entropy(z, wanted)
        self.networks.backward(self.d_z)
        self._update(step)


def cross_entropy(z: np.ndarray, wanted: np.ndarray) -> tuple[float, np.ndarray]:
    """(L, dL/dz) of outputs z (n, K) and classes wanted (n,), means over the rows."""
    rows, above = np.arange(len(z)), z - z.max(axis=1, keepdims=True)
    powers = np.exp(above)
    total = powers.sum(axis=1, keepdims=True)
    slope = powers / total
    slope[rows, wanted] -= 1.0
    return float((np.log(total[:, 0]) - above[rows, wanted]).mean(dtype=np.float64)), slope / len(z)


def rounds_of_pseudo_labels(
    settings: Pretraining, weights: dict, data: SpeechSet, trials: Trials, ops: Any, rounds: int, clusters: int,
    told: Callable[[str], None] = lambda line: None,
) -> tuple[list[dict], dict]:  # fmt: skip
    """(A row for each round, the weights of the last): round, clusters, purity, eer, eer_centred, min_dcf, rank.

    settings, weights: of a run on speech, which is round 0 and has no clusters. data: with its test part, of which the
    trials are. ops: the layers of a device. rounds, clusters: how many; SettingError for fewer than 1 and 2. told: called
    with a line, again and again. Embeddings are the encoder's. Raises `NotFinite`.
    """
    integer("rounds", rounds, at_least=1)
    count = min(len(data), settings.limit or len(data))
    integer("clusters", clusters, at_least=2, at_most=count)
    bounds = data.bounds[: count + 1]
    heard = log_mel_of_many(data.samples[: bounds[-1]], bounds, data.tables)
    features = (heard[0] - data.moments[0]) * (1.0 / data.moments[1]).astype(np.float32), heard[1]
    one, lines, found = settings, list[dict](), np.zeros(count, np.int64)
    for number in range(rounds + 1):
        if number:
            found = clusters_of(embeddings_of(one, weights, *features, ops)[0], clusters, settings.seed + number)
            trainer = ClusterTrainer(settings, data, ops, found)
            for step in range(trainer.total):
                trainer.step(step)
                told(f"round {number}: step {step + 1} of {trainer.total}, loss {trainer.loss:.3f}")
            one, weights = trainer.settings, trainer.weights()
        inside, outside = (
            embeddings_of(one, weights, *data.features(part), ops)[0] for part in (data.recordings, data.test)
        )
        NotFinite.check(f"embeddings of round {number}", inside, outside)
        plain, centred = verify(outside, trials), verify(outside, trials, inside.mean(axis=0))
        lines.append({
            "round": number, "clusters": clusters if number else 0,
            "purity": purity(found, data.speakers[:count]) if number else float("nan"), "eer": plain.eer,
            "eer_centred": centred.eer, "min_dcf": plain.min_dcf, "rank": spectrum.shape(outside).rank,
        })  # fmt: skip
    return lines, weights


def rounds_text(lines: list[dict]) -> list[str]:
    """The table to read, and what was done."""
    heading = f"{'round':<8}{'clusters':>9}{'purity':>9}{'EER':>9}{'EER less mean':>16}{'minDCF':>9}{'rank':>8}"
    rows = [
        f"{one['round']:<8}{one['clusters']:>9}{one['purity']:>9.3f}{one['eer']:>9.3f}{one['eer_centred']:>16.3f}"
        f"{one['min_dcf']:>9.3f}{one['rank']:>8.1f}"
        for one in lines
    ]
    return [
        *[heading, *rows, ""],
        "pseudo-labels: k-means on the encoder's embeddings of utterances, then an encoder trained from its start by the",
        "clusters; round 0 is the run. purity: share of utterances of the speaker most frequent in their cluster",
    ]
