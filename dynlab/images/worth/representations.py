"""What a pretrained encoder is worth: nearest neighbours and a linear probe on frozen features, and their spectrum.

Features are those of the whole picture (`dynlab.images.data.augment.evaluation_view`), batch norms with their running
statistics. Beside the encoder's output and z, the output of the projector, stand the same network before training and the
raw pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.images import losses
from dynlab.images.data import own_pictures
from dynlab.images.data.augment import evaluation_view
from dynlab.images.data.pipelines import pipelines_of
from dynlab.images.networks.encoder_and_projector import Networks
from dynlab.images.settings import REPRESENTATIONS, USUAL_SIDE, Pretraining
from dynlab.images.verdict import NotFinite
from dynlab.images.worth import accuracy, spectrum
from dynlab.images.worth.knn import knn
from dynlab.images.worth.probe import linear_probe
from dynlab.tools import plots, show

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from dynlab.images.data.datasets import ImageSet

ROWS = 500  # pictures at a time
HEADING = f"{'features':<16}{'size':>6}  {'kNN':<24}{'linear probe':<24}{'rank':>8}{'corr. rank':>12}{'|corr|':>8}"


class Appraisal(list):
    """What `appraise` returns: a list of dicts, one for each representation: representation, dimensions, `Accuracy` knn and
    probe, `Shape` shape."""

    def __repr__(self) -> str:
        known = [f"{row['representation']} kNN {row['knn'].share:.3f}, probe {row['probe'].share:.3f}" for row in self]
        return show.line("Appraisal", known)

    def _repr_html_(self) -> str:
        interval = ("95 % from", "to")
        head = ("features", "size", "kNN", *interval, "linear probe", *interval, "rank", "mean |correlation|")
        rows = []
        for row in self:
            accuracies = [x for kind in ("knn", "probe") for x in (row[kind].share, *row[kind].interval)]
            shape = row["shape"]
            rows.append((row["representation"], row["dimensions"], *accuracies, shape.rank, shape.mean_abs_correlation))
        return show.table(rows, head, "Frozen features")

    @property
    def frame(self) -> pd.DataFrame:
        """A row for each representation: accuracies with 95 % intervals over test pictures, ranks, mean correlation."""
        import pandas as pd

        rows = []
        for row in self:
            numbers = {name: row[name] for name in ("representation", "dimensions")}
            for kind in ("knn", "probe"):
                numbers[kind] = row[kind].share
                numbers[f"{kind}_low"], numbers[f"{kind}_high"] = row[kind].interval
            names = ("rank", "covariance_rank", "singular_rank", "mean_abs_correlation", "dead")
            rows.append(numbers | {name: getattr(row["shape"], name) for name in names})
        return pd.DataFrame(rows)

    def plot(self) -> Figure:
        """Accuracies with intervals, and the spectra; a matplotlib Figure that belongs to no window."""
        return plots.figure(self)


def appraise(
    settings: Pretraining, weights: dict, train: ImageSet, test: ImageSet, *, which: Sequence[str] = REPRESENTATIONS,
    ops: Any | None = None, told: Callable[[str], None] = lambda line: None,
) -> Appraisal:  # fmt: skip
    """A row for each representation: accuracies with intervals, spectrum, protocol.

    settings, weights: of a run; train, test: `ImageSet` with labels, the neighbours and the probe learn from the first.
    which: names of `REPRESENTATIONS`. ops: where the layers compute (None: here). told: called with a line for each.
    """
    from dynlab.images import layers

    ops = layers if ops is None else ops
    rows, labels = Appraisal(), (train.labels, test.labels)
    if labels[0] is None or labels[1] is None:
        raise ValueError(f"{train.name}: has no labels to learn from")
    for name, (inside, outside) in representations(settings, weights, train, test, which, ops, told):
        told(f"{name}: {inside.shape[1]} dimensions")
        NotFinite.check(f"features of the {name}", inside, outside)
        found = appraise_features(inside, labels[0], outside, labels[1], _of(name, told))
        if name.endswith("z") and settings.loss == "dino" and not settings.prototypes:
            shape = spectrum.shape(losses.seen(settings.loss, outside))
            protocol = f"{shape.protocol}; of z less the mean of each row, which the loss cannot see"
            found["shape"] = replace(shape, protocol=protocol)
        rows.append({"representation": name, **found})
    return rows


def _of(name: str, told: Callable[[str], None]) -> Callable[[str], None]:
    """`told`, with the name of a representation before what it is told."""
    return lambda line: told(f"{name}: {line}")


def appraise_features(
    train_features: np.ndarray, train_labels: np.ndarray, test_features: np.ndarray, test_labels: np.ndarray,
    told: Callable[[str], None] = lambda line: None,
) -> dict:  # fmt: skip
    """Accuracies and spectrum of features: `Accuracy` knn and probe, `Shape` shape.

    train_features (N, D), test_features (n, D); train_labels (N,), test_labels (n,): integers from 0. told: called with a
    line, again and again, that says where it has come to.
    """
    learnt = (train_features, train_labels, test_features, test_labels)
    return {
        "dimensions": train_features.shape[1], "knn": knn(*learnt, told=told),
        "probe": linear_probe(*learnt, told=told), "shape": spectrum.shape(test_features),
    }  # fmt: skip


def representations(
    settings: Pretraining,
    weights: dict,
    train: ImageSet,
    test: ImageSet,
    which: Sequence[str],
    ops: Any,
    told: Callable[[str], None] = lambda line: None,
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """Yield (name, (features of train, features of test)) for each representation asked for."""
    for prefix in ("", "random "):
        asked = [kind for kind in ("encoder", "z") if prefix + kind in which]
        if not asked:
            continue
        networks = networks_of(settings, train.pictures, ops)
        if prefix == "":
            networks.load(weights)
        words = prefix + asked[0]
        found = [features_of(networks, images.pictures, settings, told, words) for images in (train, test)]
        for place, kind in enumerate(("encoder", "z")):
            if kind in asked:
                yield prefix + kind, (found[0][place], found[1][place])
    if "pixels" in which:
        yield "pixels", (pixels(train.pictures), pixels(test.pictures))


def pixels(pictures: np.ndarray) -> np.ndarray:
    """Pictures (n, h, w, c) as features (n, h w c) in [0, 1]."""
    return pictures.reshape(len(pictures), -1).astype(np.float32) / 255.0


def shown_side(settings: Pretraining, pictures: np.ndarray) -> int:
    """Pixels of a side of what evaluation shows: the whole picture at its own size, or at the views' where that is larger.

    A view is a part of a picture, enlarged, so the whole picture at the size of a view would show everything smaller than in
    training, which costs accuracy (Touvron et al. 2019).
    """
    return max(pictures.shape[1], pipelines_of(settings.augmentation).size)


def networks_of(settings: Pretraining, pictures: np.ndarray, ops: Any) -> Networks:
    """The networks before training, for whole pictures."""
    return Networks(settings, pictures.shape[3], ops, side=shown_side(settings, pictures))


def features_of(
    networks: Networks, pictures: np.ndarray, settings: Pretraining, told: Callable[[str], None] = lambda line: None,
    words: str = "encoder",
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The encoder's outputs (n, D) and z (n, m) of pictures (n, h, w, c), uint8; networks: as from `networks_of`."""
    side, ops, count = shown_side(settings, pictures), networks.ops, len(pictures)
    shown = replace(pipelines_of(settings.augmentation).for_channels(pictures.shape[3]).first, size=side)
    inside, outside = [], []
    view = np.empty((ROWS, side, side, pictures.shape[3]), np.float32)
    for start in range(0, count, ROWS):
        told(f"{words}: features of {start} of {count} pictures")
        part = np.ascontiguousarray(pictures[start : start + ROWS])
        evaluation_view(part, shown, view[: len(part)])
        hidden, z = networks.forward(ops.to_device(view), training=False)  # a short last part travels with old rows below it
        inside.append(ops.to_host(hidden)[: len(part)])
        outside.append(ops.to_host(z)[: len(part)])
    return np.concatenate(inside), np.concatenate(outside)


def labelled(
    dataset: str, folder: str | Path, limit: int | None = None, verify: bool = True, *, side: int = USUAL_SIDE
) -> tuple[ImageSet, ImageSet]:
    """(train, test) with labels: what neighbours and the probe learn from, at most `limit` pictures, and are asked.

    dataset: name. folder: where its files are. verify: whether they are compared with known md5 sums. side: pixels of a side
    that pictures from files are brought to.
    """
    train, test = own_pictures.for_worth(dataset, folder, side=side, verify=verify)
    if limit is not None and limit < len(train):
        labels = None if train.labels is None else train.labels[:limit]
        train = replace(train, pictures=train.pictures[:limit], labels=labels, folds=None)
    return train, test


def plain(row: dict) -> dict:
    """A row of `appraise` as JSON can hold it."""
    return {name: value.as_json() if hasattr(value, "as_json") else value for name, value in row.items()}


def spectra(rows: list[dict]) -> pd.DataFrame:
    """The eigenvalues of the features' covariances, a line each: representation, number, eigenvalue."""
    import pandas as pd

    lines = [(row["representation"], i + 1, x) for row in rows for i, x in enumerate(row["shape"].spectrum)]
    return pd.DataFrame(lines, columns=["representation", "number", "eigenvalue"])


def text(rows: list[dict], place: Path) -> list[str]:
    """The table to read, with the protocol of each kind of number below it."""
    lines = [HEADING]
    for row in rows:
        shape = row["shape"]
        lines.append(
            f"{row['representation']:<16}{row['dimensions']:>6}  {_accuracy(row['knn']):<24}{_accuracy(row['probe']):<24}"
            f"{shape.singular_rank:>8.1f}{shape.rank:>12.1f}{shape.mean_abs_correlation:>8.2f}"
        )
    first = rows[0]
    files = f"files in {place}: evaluate.json, spectrum.csv"
    protocols = dict.fromkeys(row["probe"].protocol for row in rows)  # one, where all are of the same pictures
    return [*lines, "", first["knn"].protocol, *protocols, *_fits(rows), first["shape"].protocol, files]


def _fits(rows: list[dict]) -> list[str]:
    """The C of each probe, and the probes whose fit has not come to its minimum."""
    chosen = ", ".join(f"{row['representation']} {row['probe'].details['C']:g}" for row in rows)
    open_ended = [row["representation"] for row in rows if not row["probe"].details["converged"]]
    return [f"C chosen: {chosen}", *(f"{name}: the fit of the probe has not converged" for name in open_ended)]


def _accuracy(found: accuracy.Accuracy) -> str:
    low, high = found.interval
    return f"{found.share:.3f} [{low:.3f}, {high:.3f}]"
