"""Weights with PyTorch's names and shapes: the network that they make, by loops, is the one they come from; and back."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import dynlab
from dynlab.images import layers
from dynlab.images.networks import encoders
from dynlab.images.networks.network import Network
from dynlab.images.networks.torch_layout import (
    ForeignWeights,
    float_count,
    from_torch,
    read_weight_file,
    tensors_of,
    to_torch,
)
from dynlab.tools.files import FolderError
from tests import naive_tensors as naive

SIDE = 9


UNITS = {"hidden": 3, "features": 5, "phi": "relu3"}


def network_of(name: str, channels: int = 3, side: int = SIDE) -> Network:
    """A network whose running statistics and norms are not those of its start."""
    described = encoders.patch(**UNITS) if name == "patch with hidden units" else encoders.encoder(name)
    net = Network(described, (side, side, channels), layers)
    net.initialise(0)
    rng = np.random.default_rng(1)
    for segment, start, stop, _ in net.segments:
        if segment.endswith(("scale", "shift")):
            net.parameters[start:stop] += 0.3 * rng.standard_normal(stop - start).astype(np.float32)
    for segment, start, stop, _ in net.buffer_segments:
        low, high = (0.5, 2.0) if segment.endswith("variance") else (-0.2, 0.2)
        net.buffers[start:stop] = rng.uniform(low, high, stop - start)
    return net


def arrays_of(net: Network, name: str) -> dict[str, np.ndarray]:
    return to_torch(net, name, net.parameters, net.buffers)


def outputs(net: Network, x: np.ndarray) -> np.ndarray:
    return np.array(net.forward(x, training=False))


def pictures(channels=3, side=SIDE):
    return np.random.default_rng(2).standard_normal((2, side, side, channels)).astype(np.float32)


BY_LOOPS = {
    "demo": lambda x, arrays: naive.sequential(x, arrays, [2, 2, 2]),
    "convnet": lambda x, arrays: naive.sequential(x, arrays, [1, 2, 2, 1, 2]),
    "resnet18": naive.residual,
    "patch": lambda x, arrays: (naive.convolved(x, arrays["0.weight"].astype(float), 4, 0) ** 3).sum((2, 3)),
    "patch with hidden units": lambda x, arrays: np.einsum(
        "nhyz,jh->nj", naive.convolved(x, arrays["0.weight"].astype(float), 4, 0).clip(0.0) ** 3, arrays["3.weight"]
    ),
}


CHANNELS = [("demo", 1), *((name, 3) for name in BY_LOOPS)]


@pytest.mark.parametrize(("name", "channels"), CHANNELS)
def test_the_same_outputs_by_loops_over_what_is_exported(name, channels):
    net, x = network_of(name, channels), pictures(channels)
    here, there = outputs(net, x), BY_LOOPS[name](x.transpose(0, 3, 1, 2).astype(float), arrays_of(net, name))
    assert np.abs(there).max() > 1e-3 and np.abs(here - there).max() < 1e-5 * np.abs(there).max()


def test_names_and_shapes_of_resnet18():
    """Written by hand from torchvision's module, stem and fc aside."""
    widths, expected = {1: 64, 2: 128, 3: 256, 4: 512}, {"conv1.weight": (64, 3, 3, 3)}
    norms = {"bn1": 64}
    for layer, width in widths.items():
        before = widths.get(layer - 1, 64)
        for block, inputs in ((0, before), (1, width)):
            name = f"layer{layer}.{block}"
            expected |= {f"{name}.conv1.weight": (width, inputs, 3, 3), f"{name}.conv2.weight": (width, width, 3, 3)}
            norms |= {f"{name}.bn1": width, f"{name}.bn2": width}
        if layer > 1:
            expected[f"layer{layer}.0.downsample.0.weight"] = (width, before, 1, 1)
            norms[f"layer{layer}.0.downsample.1"] = width
    for name, width in norms.items():
        expected |= {f"{name}.{key}": (width,) for key in ("weight", "bias", "running_mean", "running_var")}
        expected[f"{name}.num_batches_tracked"] = ()
    found = arrays_of(network_of("resnet18"), "resnet18")
    assert {name: array.shape for name, array in found.items()} == expected
    assert len(expected) == 120 and float_count(found) == 11_168_832 + 2 * sum(norms.values())  # parameters; statistics


def test_a_projector_is_a_sequence():
    net = Network(encoders.projector((8, 6, 4), final_norm=True), (5,), layers)
    net.initialise(0)
    found = {name: array.shape for name, array in arrays_of(net, "").items() if not name.endswith("tracked")}
    norm = ("weight", "bias", "running_mean", "running_var")
    assert found == {
        "0.weight": (8, 5), **{f"1.{key}": (8,) for key in norm}, "3.weight": (6, 8), **{f"4.{key}": (6,) for key in norm},
        "6.weight": (4, 6), **{f"7.{key}": (4,) for key in norm[2:]},
    }  # fmt: skip


@pytest.mark.parametrize("name", BY_LOOPS)
@pytest.mark.parametrize("prefix", ["", "module.encoder."])
def test_taken_back_they_are_the_same_numbers(name, prefix):
    net = network_of(name)
    given = {prefix + key: array.astype(np.float64) for key, array in arrays_of(net, name).items()}
    given |= {f"{prefix}fc.weight": np.zeros(3), "epoch": np.zeros(())}
    parameters, buffers, left = from_torch(network_of(name, side=12), name, given)
    assert np.array_equal(parameters, net.parameters) and np.array_equal(buffers, net.buffers)
    assert left == sorted([f"{prefix}fc.weight", "epoch"])


def test_what_does_not_fit_is_named():
    net = network_of("resnet18")
    good = arrays_of(net, "resnet18")

    def told(changed, name="resnet18"):
        with pytest.raises(ForeignWeights) as refused:
            from_torch(net, name, {key: array for key, array in (good | changed).items() if array is not None})
        return str(refused.value)

    wide = told({"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)})
    assert wide == "conv1.weight has shape (64, 3, 7, 7), and must have (64, 3, 3, 3) (the stem for small pictures)"
    assert told({"layer3.0.bn1.bias": None}) == "layer3.0.bn1.bias is missing: not the names of this network"
    assert "bn1.bias holds int64, no floats" in told({"bn1.bias": np.zeros(64, int)})
    assert "not finite" in told({"bn1.bias": np.full(64, np.nan)})
    twice = told({f"target.{key}": array for key, array in good.items()})
    assert twice == "the network stands there 2 times, under '', 'target.'"
    with pytest.raises(ForeignWeights, match=r"^holds a, b, where 0\.weight, \.\.\., 7\.running_var are wanted$"):
        from_torch(network_of("demo"), "demo", {"a": np.zeros(1), "b": np.zeros(1)})


def test_files_of_weights(tmp_path):
    np.savez(tmp_path / "x.npz", a=np.ones(2))
    naive.write(tmp_path / "x.safetensors", {"a": np.ones(2)})
    for kind in ("npz", "safetensors"):
        assert read_weight_file(tmp_path / f"x.{kind}")["a"].tolist() == [1.0, 1.0]
        (tmp_path / f"bad.{kind}").write_bytes(b"PK\x03\x04 damaged")
        for name, message in ((f"bad.{kind}", "cannot be read"), (f"none.{kind}", "does not exist")):
            with pytest.raises(FolderError, match=message):
                read_weight_file(tmp_path / name)


def test_every_number_has_one_name():
    for name in BY_LOOPS:
        net = network_of(name)
        found = tensors_of(net, name)
        for kind in ("parameters", "buffers"):
            held = sorted((one.start, one.stop) for one in found if one.kind == kind)
            ends = [0, *(stop for _, stop in held)]
            assert [start for start, _ in held] == ends[:-1] and ends[-1] == len(getattr(net, kind))
        assert len({one.name for one in found}) == len(found)


def test_exported_weights_in_pytorch():
    """In the modules of the page on weights and in torchvision's resnet18 with its stem for small pictures, by name."""
    torch_networks = pytest.importorskip("benchmarks.torch_networks", reason="parity is with PyTorch (extra bench)")
    torch = torch_networks.torch
    page = (Path(dynlab.__file__).parent / "docs" / "weights.md").read_text(encoding="utf-8")
    modules: dict = {}
    exec(compile(re.findall(r"^```python\n(.*?)^```$", page, re.S | re.M)[0], "weights.md", "exec"), modules)
    made = {
        "demo": modules["demo"], "convnet": modules["convnet"], "patch": modules["Patch"](),
        "patch with hidden units": modules["Patch"](neurons=5, hidden=3, phi=lambda z: torch.relu(z) ** 3),
        "resnet18": torch_networks.ResNet18(),
    }  # fmt: skip
    for name, module in made.items():
        net, x = network_of(name, side=32), pictures(side=32)
        load(torch, module, to_torch(net, name, net.parameters, net.buffers))
        with torch.no_grad():
            there = module(torch_networks.pictures(x)).numpy()
        assert np.abs(there).max() > 1e-3
        assert np.abs(outputs(net, x) - there).max() < 1e-5 * np.abs(there).max(), name
    net = Network(encoders.projector((128, 64)), (128,), layers)
    net.initialise(0)
    module, z = modules["projector"](), np.random.default_rng(3).standard_normal((5, 128)).astype("float32")
    load(torch, module, to_torch(net, "", net.parameters, net.buffers))
    with torch.no_grad():
        there = module(torch.from_numpy(z)).numpy()
    assert np.abs(outputs(net, z) - there).max() < 1e-5 * np.abs(there).max()


def load(torch, module, arrays):
    """Take arrays over, strictly by name."""
    module.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in arrays.items()})
    module.eval()
