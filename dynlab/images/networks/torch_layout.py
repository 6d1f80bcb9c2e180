"""Weights with the names and shapes that PyTorch's modules have, and back.

`resnet18` has the names of torchvision's (conv1, bn1, layer1.0.conv1, ..., layer4.1.bn2), with the stem for small pictures
(a 3 x 3 convolution and no pooling) and without `fc`. The other networks are an nn.Sequential: 0.weight, 1.weight, 1.bias,
1.running_mean, ..., where relu counts as a module of its own. `patch` is the convolution that its product with squares is;
phi and the sum over places count as modules, so the readout of its hidden units is 3.weight (m, M), 0 outside own units.

    here                          in PyTorch
    convolution  (k, k, in, out)  (out, in, k, k)
    linear       (in, out)        (out, in)
    scale, shift, mean, variance  weight, bias, running_mean, running_var, and num_batches_tracked, which nothing here counts

`from_torch` takes names with any prefix that all of them share (module., encoder., backbone.) and says which of a file's
names it has no use for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

import numpy as np

from dynlab.images.networks.network import Network
from dynlab.images.networks.nodes import BatchNorm, Patches
from dynlab.tools.damage import DAMAGED
from dynlab.tools.files import FolderError
from dynlab.tools.tensor_file import read_tensors

LEAVES = {"scale": "weight", "shift": "bias", "mean": "running_mean", "variance": "running_var"}
COUNTED = "num_batches_tracked"
INNER = ("conv1", "bn1", "conv2", "bn2")
BLOCKS = 2  # of a stage of resnet18


@dataclass(frozen=True)
class Tensor:
    """One array: its name in PyTorch, the vector of the network that holds it, where, and its shape here."""

    name: str
    kind: str  # "parameters" or "buffers"
    start: int
    stop: int
    shape: tuple[int, ...]

    def turned(self, values: np.ndarray) -> np.ndarray:
        """As PyTorch has it, of the numbers as they lie here."""
        held = np.asarray(values).reshape(self.shape)
        return np.ascontiguousarray(held.transpose(_axes(self.shape)))

    def back(self, values: np.ndarray) -> np.ndarray:
        """The numbers as they lie here, of an array as PyTorch has it."""
        return np.ascontiguousarray(values.transpose(np.argsort(_axes(self.shape)))).reshape(-1)

    @property
    def torch_shape(self) -> tuple[int, ...]:
        """The shape in PyTorch."""
        return tuple(self.shape[axis] for axis in _axes(self.shape))


def _axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Which axis of ours each of PyTorch's is."""
    return {4: (3, 2, 0, 1), 2: (1, 0)}.get(len(shape), tuple(range(len(shape))))


class ForeignWeights(ValueError):
    """Weights that are not those of a network: which, in one line."""


def read_weight_file(path: Path) -> dict[str, np.ndarray]:
    """Arrays by name of a file of safetensors or npz; FolderError of one line where it is none."""
    try:
        if path.suffix.lower() == ".safetensors":
            return read_tensors(path)
        with np.load(path, allow_pickle=False) as file:
            if isinstance(file, np.ndarray):
                raise ValueError("one array without a name")
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise FolderError(path, "does not exist") from None
    except (*DAMAGED, OSError) as error:
        why = getattr(error, "strerror", None) or " ".join(str(error).split())
        raise FolderError(path, f"cannot be read ({why})") from None


def tensors_of(network: Network, encoder: str = "") -> list[Tensor]:
    """Parameters and running statistics of a network; encoder: its name where it is one."""
    squares = network.layers[0].size if isinstance(network.layers[0], Patches) else None
    sequence = _places(network)
    out = []
    for kind, segments in (("parameters", network.segments), ("buffers", network.buffer_segments)):
        for name, start, stop, shape in segments:
            if squares is not None and name.startswith("1."):  # a product with squares is a convolution
                shape = (squares, squares, shape[0] // squares**2, shape[1])
            module, leaf = _module(name, sequence, encoder == "resnet18"), name.rpartition(".")[2]
            out.append(Tensor(f"{module}.{LEAVES.get(leaf, leaf)}", kind, start, stop, tuple(shape)))
    return out


def _places(network: Network) -> list[int]:
    """The number that each layer has in an nn.Sequential, relu counted; the cutting into squares is no module."""
    places, now = [], 0
    for layer in network.layers:
        places.append(now)
        now += 0 if isinstance(layer, Patches) else 2 if isinstance(layer, BatchNorm) and layer.relu else 1
    return places


def _module(name: str, sequence: list[int], residual: bool) -> str:
    """The module of a segment, as "2.residual.inner.0.convolution.weight"."""
    parts = name.split(".")
    place = int(parts[0])
    if not residual:
        return str(sequence[place])
    if parts[1] != "residual":
        return INNER[place]
    stage, block = divmod(place - 2, BLOCKS)
    within = INNER[int(parts[3])] if parts[2] == "inner" else f"downsample.{parts[3]}"
    return f"layer{stage + 1}.{block}.{within}"


def to_torch(network: Network, encoder: str, parameters: np.ndarray, buffers: np.ndarray) -> dict[str, np.ndarray]:
    """{name: array} of flat vectors of a network; with a count of zero batches beside running statistics."""
    vectors, found = {"parameters": parameters, "buffers": buffers}, {}
    for one in tensors_of(network, encoder):
        found[one.name] = one.turned(vectors[one.kind][one.start : one.stop])
        if one.name.endswith("running_var"):
            found[one.name.replace("running_var", COUNTED)] = np.array(0, np.int64)
    return found


def from_torch(network: Network, encoder: str, given: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """(parameters, buffers, names that are of no use) of arrays by name; ForeignWeights where one is missing or wrong."""
    wanted = tensors_of(network, encoder)
    prefix = prefix_of([one.name for one in wanted], given)
    vectors = {kind: np.empty(getattr(network, kind).shape, network.dtype) for kind in ("parameters", "buffers")}
    for one in wanted:
        array = given.get(prefix + one.name)
        if array is None:
            raise ForeignWeights(f"{prefix}{one.name} is missing: not the names of this network")
        if array.shape != one.torch_shape:
            stem = " (the stem for small pictures)" if one.name == "conv1.weight" else ""
            raise ForeignWeights(f"{prefix}{one.name} has shape {array.shape}, and must have {one.torch_shape}{stem}")
        if array.dtype.kind != "f":
            raise ForeignWeights(f"{prefix}{one.name} holds {array.dtype}, no floats")
        if not np.isfinite(array).all():
            raise ForeignWeights(f"{prefix}{one.name} holds numbers that are not finite")
        vectors[one.kind][one.start : one.stop] = one.back(array)
    used = {prefix + one.name for one in wanted}
    left = sorted(name for name in given if name not in used and not name.endswith(COUNTED))
    return vectors["parameters"], vectors["buffers"], left


def prefix_of(wanted: list[str], given: Iterable[str]) -> str:
    """What stands before all names of a file, or before most; ForeignWeights where there are several such, or none."""
    known = set(given)
    ending = f".{wanted[-1]}"
    found = sorted({name.removesuffix(wanted[-1]) for name in known if name == wanted[-1] or name.endswith(ending)})
    here = {prefix: sum(prefix + name in known for name in wanted) for prefix in found}
    whole = [prefix for prefix, number in here.items() if number == len(wanted)]
    if len(whole) > 1:
        raise ForeignWeights(f"the network stands there {len(whole)} times, under {', '.join(repr(one) for one in whole)}")
    best = max(here, key=lambda prefix: here[prefix], default="")
    if 2 * here.get(best, 0) < len(wanted):
        held = ", ".join(sorted(known)[:4]) + (f" and {len(known) - 4} more" if len(known) > 4 else "")
        raise ForeignWeights(f"holds {held or 'nothing'}, where {wanted[0]}, ..., {wanted[-1]} are wanted")
    return best


def float_count(tensors: Mapping[str, np.ndarray]) -> int:
    """How many floats there are."""
    return sum(prod(array.shape) for array in tensors.values() if array.dtype.kind == "f")
