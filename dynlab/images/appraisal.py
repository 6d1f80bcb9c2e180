"""What a pretrained encoder is worth: nearest neighbours and a linear probe on frozen features, and their spectrum.

Features are those of the whole picture (`dynlab.images.augment.evaluation_view`), batch norms with their running statistics.
Beside the encoder's output and z, the output of the projector, stand the same network before training and the raw pixels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from dynlab.images import evaluation
from dynlab.images.augment import PRESETS, evaluation_view
from dynlab.images.networks import Networks
from dynlab.images.settings import Pretraining

REPRESENTATIONS = ("encoder", "z", "random encoder", "random z", "pixels")
ROWS = 500  # pictures at a time


def appraise(
    settings: Pretraining, weights: dict, train, test, *, which=REPRESENTATIONS, ops=None,
    told: Callable[[str], None] = lambda line: None,
) -> list[dict]:  # fmt: skip
    """A row for each representation: accuracies with intervals, spectrum, protocol.

    settings, weights: of a run; train, test: `ImageSet` with labels, the neighbours and the probe learn from the first.
    """
    from dynlab.images import layers

    ops = layers if ops is None else ops
    rows = []
    for name, (inside, outside) in representations(settings, weights, train, test, which, ops):
        told(f"{name}: {inside.shape[1]} dimensions")
        rows.append({"representation": name, **appraise_features(inside, train.labels, outside, test.labels)})
    return rows


def appraise_features(train_features, train_labels, test_features, test_labels) -> dict:
    """Accuracies and spectrum of features (n, D)."""
    neighbours = evaluation.knn(train_features, train_labels, test_features, test_labels)
    probe = evaluation.linear_probe(train_features, train_labels, test_features, test_labels)
    spectrum = evaluation.spectrum(test_features)
    return {"knn": neighbours, "probe": probe, "spectrum": spectrum}


def representations(settings, weights, train, test, which, ops):
    """Yield (name, (features of train, features of test)) for each representation asked for."""
    shape = train.pictures.shape[1:]
    for prefix in ("", "random "):
        asked = [kind for kind in ("encoder", "z") if prefix + kind in which]
        if not asked:
            continue
        networks = Networks(settings, shape[2], ops)
        if prefix == "":
            networks.load(weights)
        found = [features_of(networks, images.pictures, settings) for images in (train, test)]
        for place, kind in enumerate(("encoder", "z")):
            if kind in asked:
                yield prefix + kind, (found[0][place], found[1][place])
    if "pixels" in which:
        yield "pixels", tuple(images.pictures.reshape(len(images.pictures), -1).astype(np.float32) / 255.0 for images in (train, test))


def features_of(networks: Networks, pictures, settings: Pretraining) -> tuple[np.ndarray, np.ndarray]:
    """The encoder's outputs (n, D) and z (n, m) of pictures (n, h, w, c), uint8."""
    augmentation = PRESETS[settings.augmentation]
    ops, count = networks.ops, len(pictures)
    inside, outside = [], []
    view = np.empty((ROWS, augmentation.size, augmentation.size, pictures.shape[3]), np.float32)
    for start in range(0, count, ROWS):
        part = np.ascontiguousarray(pictures[start : start + ROWS])
        evaluation_view(part, augmentation, view[: len(part)])
        hidden, z = networks.forward(ops.to_device(view), training=False)  # a short last part travels with old rows below it
        inside.append(ops.to_host(hidden)[: len(part)])
        outside.append(ops.to_host(z)[: len(part)])
    return np.concatenate(inside), np.concatenate(outside)


