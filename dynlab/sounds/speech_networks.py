"""Encoders of speech: a time-delay network, or a small convolutional one that takes the features for a picture.

`tdnn` (after Snyder et al. 2018, with widths for two cores): frames with their neighbours, five of them at stride 2, then
three, then three two apart, each a linear layer with batch norm and relu; 256 channels of single frames; mean and deviation
over time; a linear layer to 128 numbers and a batch norm without affine map. `demo` and `convnet` are those of pictures
(`dynlab.images.networks.encoders`) on (frames, bands, 1).

Parameters do not depend on the number of frames: a recording of any length has features of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from dynlab.images.networks.encoder_and_projector import Networks
from dynlab.images.networks.nodes import BatchNorm, Linear
from dynlab.images.settings import Pretraining
from dynlab.sounds.frames import Frames, StatisticsPool

WIDTHS, POOLED, EMBEDDING = (128, 128, 128), 256, 128
CONTEXTS = (Frames(5, stride=2), Frames(3), Frames(3, dilation=2))
TOGETHER = 64  # recordings of one length at a time


def tdnn() -> list:
    """128 features from four layers over time and one after pooling."""
    layers: list[Any] = []
    for context, width in zip(CONTEXTS, WIDTHS, strict=True):
        layers += [context, Linear(width, bias=False), BatchNorm(relu=True)]
    layers += [Linear(POOLED, bias=False), BatchNorm(relu=True), StatisticsPool()]
    return [*layers, Linear(EMBEDDING, bias=False), BatchNorm(affine=False)]


class SpeechNetworks(Networks):
    """Encoder and projector for features (n, frames, bands) of so many frames.

    settings: of the run. frames, bands: of its features. ops: the layers of a device. dtype: of weights and outputs.
    """

    def __init__(self, settings: Pretraining, frames: int, bands: int, ops: Any, dtype: str = "float32"):
        self.ops = ops
        self.build(settings, (frames, bands) if settings.encoder == "tdnn" else (frames, bands, 1), dtype)

    def encoder_layers(self, settings: Pretraining) -> list:
        """The layers of the encoder that settings name."""
        return tdnn() if settings.encoder == "tdnn" else super().encoder_layers(settings)

    def shown(self, features: np.ndarray) -> np.ndarray:
        """features (n, frames, bands), as the encoder takes them."""
        return features.reshape(len(features), *self.encoder.input_shape)


def embeddings_of(
    settings: Pretraining, state: dict | None, features: np.ndarray, bounds: np.ndarray, ops: Any
) -> tuple[np.ndarray, np.ndarray]:
    """The encoder's outputs (n, D) and z (n, m) of recordings, each at its own length, in evaluation.

    settings: of the run. ops: the layers of a device. state: weights as `Networks.state` has them (None: those before
    training). features (frames of all, bands), standardised; recording i is rows bounds[i] to bounds[i + 1].
    """
    lengths, found = np.diff(bounds), dict[int, tuple]()
    for length in np.unique(lengths).tolist():
        networks = SpeechNetworks(settings, length, features.shape[1], ops)
        if state is not None:
            networks.load(state)
        rows = np.flatnonzero(lengths == length)
        for start in range(0, len(rows), TOGETHER):
            some = rows[start : start + TOGETHER]
            part = np.stack([features[bounds[i] : bounds[i + 1]] for i in some])
            hidden, z = networks.forward(ops.to_device(networks.shown(part)), training=False)
            found.update(zip(some.tolist(), zip(ops.to_host(hidden), ops.to_host(z), strict=True), strict=True))
    return tuple(np.array([found[i][place] for i in range(len(lengths))]) for place in (0, 1))  # type: ignore[return-value]
