"""Encoders and projectors as lists of layers, by name.

* `patch`: the theory's f_j(X) = sum_p phi(<w_j, X_p>) on squares of a picture that do not overlap; w_j ~ N(0, I/d). With
  H hidden units f_j(X) = sum_h a_jh sum_p phi(<w_h, X_p>), a ~ N(0, 1/H), no batch norm (`dynlab.formulas.hidden_units`).
* `demo`: three 3x3 convolutions of stride 2, each with batch norm and relu, 32-64-128 channels; means over the places.
* `convnet`: five 3x3 convolutions, alike, 32-64-128-128-256, of strides 1, 2, 2, 1, 2: what two cores train in minutes.
* `resnet18`: He et al. 2016 with the stem for small pictures: a 3x3 convolution of stride 1 and no pooling; 512 features.
"""

from __future__ import annotations

from collections.abc import Sequence

from dynlab.images.networks.nodes import Activation, BatchNorm, Convolution, Linear, MeanPool, Patches, Readout, Residual
from dynlab.images.settings import ENCODERS, PATCH_OUTPUTS, PATCH_SETTINGS, PATCH_SIDE, Pretraining
from dynlab.tools.checks import choice, integer, require


def patch(
    size: int = PATCH_SIDE, features: int = PATCH_OUTPUTS, phi: str = "cubic", hidden: int = 1, readout: str | None = None
) -> list:
    """f_j(X) = sum_p phi(<w_j, X_p>), j in [features], patches of size x size; hidden, readout: as in `dynlab.Model`.

    One unit with a fixed readout, which is 1, is what stands above; otherwise unit h of output j is number j * hidden + h.
    """
    units = integer("features", features, at_least=1) * integer("hidden", hidden, at_least=1)
    layers = [Patches(size), Linear(units, bias=False, start="normal"), Activation(phi), MeanPool(total=True)]
    readout = readout or ("fixed" if hidden == 1 else "own")
    return layers if hidden == 1 and readout == "fixed" else [*layers, Readout(features, readout)]


def patch_settings(settings: Pretraining) -> dict:
    """What `patch` takes of the settings of a run; nothing for another encoder."""
    names = dict(zip(PATCH_SETTINGS, ("phi", "hidden", "readout", "features", "size"), strict=True))
    given = {inside: getattr(settings, name) for name, inside in names.items()}
    return {name: value for name, value in given.items() if value is not None} if settings.encoder == "patch" else {}


def _convolutions(*layers) -> list:
    """(channels, stride) of each 3x3 convolution, followed by batch norm and relu."""
    out = []
    for channels, stride in layers:
        out += [Convolution(channels, 3, stride), BatchNorm(relu=True)]
    return out


def demo() -> list:
    """128 features from three layers."""
    return [*_convolutions((32, 2), (64, 2), (128, 2)), MeanPool()]


def convnet() -> list:
    """256 features from five layers: 25 million multiplications for a picture of 32 x 32."""
    return [*_convolutions((32, 1), (64, 2), (128, 2), (128, 1), (256, 2)), MeanPool()]


def _block(channels: int, stride: int, change: bool) -> Residual:
    inner = (Convolution(channels, 3, stride), BatchNorm(relu=True), Convolution(channels), BatchNorm())
    return Residual(inner, (Convolution(channels, 1, stride), BatchNorm()) if change else ())


def resnet18() -> list:
    """512 features from 17 convolutions in 8 residual blocks."""
    layers = _convolutions((64, 1))
    for stage, channels in enumerate((64, 128, 256, 512)):
        stride = 1 if stage == 0 else 2
        layers += [_block(channels, stride, stage > 0), _block(channels, 1, False)]
    return [*layers, MeanPool()]


def encoder(name: str, **settings) -> list:
    """The layers of an encoder; settings only for `patch`: its arguments."""
    choice("encoder", name, ENCODERS)
    return {"patch": patch, "demo": demo, "convnet": convnet, "resnet18": resnet18}[name](**settings)


def projector(widths: Sequence[int] = (128, 128, 64), final_norm: bool = False) -> list:
    """Linear layers of these widths, batch norm and relu after each but the last.

    final_norm: a batch norm without affine map after the last (which then has no bias).
    """
    require(len(widths) > 0, "widths", widths, "at least one width")
    layers = []
    for width in widths[:-1]:
        layers += [Linear(integer("widths", width, at_least=1), bias=False), BatchNorm(relu=True)]
    layers.append(Linear(integer("widths", widths[-1], at_least=1), bias=not final_norm))
    return layers + ([BatchNorm(affine=False)] if final_norm else [])
