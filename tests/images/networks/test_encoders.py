"""Encoders by name: shapes, sizes, the theory's formula, and parity with PyTorch where it is installed."""

import numpy as np
import pytest

from dynlab.images import layers
from dynlab.images.networks import encoders
from dynlab.images.networks.network import Network
from dynlab.tools.checks import SettingError
from tests import naive_layers as naive

PHI = {"relu": lambda z: max(z, 0.0), "cubic": lambda z: z**3, "relu3": lambda z: max(z, 0.0) ** 3}


@pytest.mark.parametrize("shape", [(24, 24, 3), (28, 28, 1)])
@pytest.mark.parametrize(("name", "features"), [("patch", 64), ("demo", 128), ("convnet", 256)])
def test_features(name, features, shape):
    net = Network(encoders.encoder(name), shape, layers)
    net.initialise(0)
    assert net.output_shape == (features,)
    y = net.forward(np.random.default_rng(0).standard_normal((4, *shape)).astype("float32"), 2)
    assert y.shape == (4, features) and np.isfinite(y).all()
    assert (y.std(axis=0) > 0.0).mean() > 0.5


def test_parameters_of_resnet18():
    # The published network has 11 173 962 with its ten outputs, of which those take 5130.
    net = Network(encoders.encoder("resnet18"), (32, 32, 3), layers)
    assert net.output_shape == (512,)
    assert len(net.parameters) == 11_168_832
    assert sum(len(shape) == 4 for *_, shape in net.segments) == 20


@pytest.mark.parametrize("phi", PHI)
def test_patch_is_the_formula_of_the_theory(phi):
    net = Network(encoders.encoder("patch", size=3, features=5, phi=phi), (7, 9, 2), layers, "float64")
    net.initialise(1)
    x = np.random.default_rng(0).standard_normal((3, 7, 9, 2))
    want = naive.patch_features(x, net.parameters.reshape(18, 5), 3, PHI[phi])
    assert np.allclose(net.forward(x), want, rtol=1e-12, atol=1e-12)


def test_projectors():
    shapes = [shape for *_, shape in Network(encoders.projector(), (128,), layers).segments]
    assert shapes == [(128, 128), (128,), (128,), (128, 128), (128,), (128,), (128, 64), (64,)]
    net = Network(encoders.projector((16, 8), final_norm=True), (12,), layers, "float64")
    net.initialise(0)
    z = net.forward(np.random.default_rng(0).standard_normal((10, 12)), 2)
    for half in (z[:5], z[5:]):
        assert np.allclose(half.mean(axis=0), 0.0, atol=1e-12)
        assert np.allclose(half.std(axis=0), 1.0, atol=1e-3)


def test_unknown_names():
    with pytest.raises(SettingError, match="encoder='vit': must be one of patch, demo, convnet, resnet18"):
        encoders.encoder("vit")
    with pytest.raises(SettingError, match="widths"):
        encoders.projector(())
    with pytest.raises(SettingError, match="widths=0"):
        encoders.projector((16, 0))


def difference(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


def test_parity_with_pytorch():
    torch_networks = pytest.importorskip("benchmarks.torch_networks", reason="parity is with PyTorch (extra bench)")
    for name, rows, size in (("demo", 16, 24), ("resnet18", 4, 16)):
        parity(torch_networks, name, rows, size)
    loss_curve(torch_networks)


def parity(torch_networks, name, rows, size):
    """Outputs and gradients of a network and of its twin in PyTorch."""
    torch = torch_networks.torch
    net = Network(encoders.encoder(name), (size, size, 3), layers)
    net.initialise(0)
    module = torch_networks.twin(net)
    rng = np.random.default_rng(1)
    x = rng.standard_normal((rows, size, size, 3)).astype("float32")
    y = net.forward(x)
    d_y = (rng.standard_normal(y.shape) / rows).astype("float32")
    other = module(torch_networks.pictures(x))
    (other * torch.from_numpy(d_y)).sum().backward()
    net.backward(d_y)
    assert difference(y, other.detach().numpy()) < 1e-4
    assert difference(net.gradients, torch_networks.flat([p.grad for p in module.parameters()], net)) < 1e-4


def loss_curve(torch_networks):
    """The same losses over steps of gradient descent."""
    torch = torch_networks.torch
    # A larger rate lets units at the kink of a relu drive the two apart, as it does PyTorch's own two layouts.
    rate, rng = 0.005, np.random.default_rng(2)
    x = rng.standard_normal((8, 12, 12, 3)).astype("float32")
    target = rng.standard_normal((8, 512)).astype("float32")
    net = Network(encoders.encoder("resnet18"), (12, 12, 3), layers)
    net.initialise(0)
    module = torch_networks.twin(net)
    optimiser = torch.optim.SGD(module.parameters(), rate)
    curves = [], []
    for _ in range(20):
        away = net.forward(x) - target
        curves[0].append(float((away**2).mean()))
        net.backward((2.0 / away.size) * away)
        net.parameters -= np.float32(rate) * net.gradients
        optimiser.zero_grad()
        loss = ((module(torch_networks.pictures(x)) - torch.from_numpy(target)) ** 2).mean()
        loss.backward()
        optimiser.step()
        curves[1].append(loss.item())
    assert curves[0][-1] < 0.99 * curves[0][0]
    assert np.allclose(*curves, rtol=1e-3, atol=0.0)
