"""The pair of networks that is pretrained: an encoder, and the projector on top of it, which evaluation can leave out."""

from __future__ import annotations

from typing import Any

import numpy as np

from dynlab.images.data.pipelines import pipelines_of
from dynlab.images.networks import encoders
from dynlab.images.networks.network import Network
from dynlab.images.own_parts import OwnNetwork
from dynlab.images.settings import OWN_ENCODERS, Pretraining
from dynlab.tools.checks import SettingError

PARTS = ("encoder", "projector")
KINDS = ("parameters", "buffers")


class Networks:
    """Encoder and projector of the settings, at their start, which is a function of the seed.

    channels: of the pictures. Without projector z is the encoder's output. dtype: "float64" for tests. side: pixels of a
    side of what they are shown (None: of a view); the parameters do not depend on it.
    """

    def __init__(self, settings: Pretraining, channels: int, ops, dtype: str = "float32", side: int | None = None):
        self.ops = ops
        size = pipelines_of(settings.augmentation).size if side is None else side
        self.build(settings, (size, size, channels), dtype)

    def encoder_layers(self, settings: Pretraining) -> list:
        """The layers of an encoder that is built in."""
        return encoders.encoder(settings.encoder, **encoders.patch_settings(settings))

    def build(self, settings: Pretraining, shape: tuple[int, ...], dtype: str) -> None:
        """Make the networks for inputs (n, *shape), at their start."""
        own, ops = OWN_ENCODERS.get(settings.encoder), self.ops
        picture = (shape[0], shape[1], shape[-1])  # of what is registered
        self.encoder: Any = OwnNetwork(own, picture, ops, dtype) if own else Network(
            self.encoder_layers(settings), shape, ops, dtype
        )  # fmt: skip
        self.projector = None
        if settings.projector:
            layers = encoders.projector(settings.projector, settings.projector_norm == "batch")
            self.projector = Network(layers, self.encoder.output_shape, ops, dtype)
        for stream, network in enumerate(self.parts().values()):
            network.initialise(settings.seed, stream)
        self.outputs = int((self.projector or self.encoder).output_shape[0])

    def parts(self) -> dict[str, Network]:
        """The networks that there are, by name."""
        return {name: getattr(self, name) for name in PARTS if getattr(self, name) is not None}

    def forward(self, x, groups: int = 1, training: bool = True):
        """The encoder's output (n, D) and z (n, m) for views x (n, size, size, channels)."""
        hidden = self.encoder.forward(x, groups=groups, training=training)
        z = hidden if self.projector is None else self.projector.forward(hidden, groups=groups, training=training)
        return hidden, z

    def backward(self, d_z) -> None:
        """Fill the gradients of both for dL/dz of the last forward pass."""
        if self.projector is not None:
            d_z = self.projector.backward(d_z, need_input_gradient=True)
        self.encoder.backward(d_z)

    def state(self) -> dict[str, np.ndarray]:
        """Parameters and running statistics, on the host."""
        return {
            f"{name}_{kind}": self.ops.to_host(getattr(network, kind))
            for name, network in self.parts().items()
            for kind in KINDS
        }

    def load(self, state: dict) -> None:
        """Take parameters and running statistics from `state`; SettingError where they are of another network."""
        for name, network in self.parts().items():
            for kind in KINDS:
                mine, given = getattr(network, kind), state.get(f"{name}_{kind}")
                if given is None or given.shape != tuple(mine.shape):
                    found = "nothing" if given is None else f"{given.shape[0]} numbers"
                    raise SettingError(f"{name}_{kind}", found, f"{mine.shape[0]} numbers, as this {name} has")
                self.ops.copy(self.ops.to_device(given), mine)

    def follow(self, other: Networks) -> None:
        """Take parameters and running statistics from other networks of the same settings."""
        for name, network in self.parts().items():
            for kind in KINDS:
                self.ops.copy(getattr(other.parts()[name], kind), getattr(network, kind))


def networks_with(settings: Pretraining, weights: dict, ops) -> Networks | None:
    """The networks of a run with its weights; None where they fit pictures neither of three channels nor of one."""
    for channels in (3, 1):
        made = Networks(settings, channels, ops)
        given = weights.get("encoder_parameters")
        if given is not None and given.shape == made.encoder.parameters.shape:
            made.load(weights)
            return made
    return None
