"""Against PyTorch in float64, where it is installed: losses and gradients, written there from the papers' equations and
algorithms, AdamW and clipped gradients."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dynlab.images import layers, losses
from dynlab.images.networks.prototypes import Prototypes
from dynlab.images.training import optimise

torch = pytest.importorskip("torch", reason="torch is not installed: losses are not compared with it")
SIZES = (8, 64, 256)
SCALES = (1e-30, 1e-10, 1e-3, 1.0, 1e3, 1e10, 1e30)
HALF, LOCALS = 12, 3


def standardised(z):
    return (z - z.mean(0)) / z.std(0, unbiased=False)


def off_diagonal(c):
    return c - torch.diag(torch.diagonal(c))


def both(function, online, target):
    """Mean over the two directions; the target's side has no gradient."""
    goal = target.detach()
    return 0.5 * (function(online[:HALF], goal[HALF:]) + function(online[HALF:], goal[:HALF]))


def byol(online, target):
    """Grill et al. 2020, equation 2."""
    unit = torch.nn.functional.normalize
    return both(lambda p, z: ((unit(p, eps=0.0) - unit(z, eps=0.0)) ** 2).sum(1).mean(), online, target)


def correlations(online, target):
    """Wen & Li 2022: outputs by batch norm."""
    return both(lambda p, z: ((standardised(p) - standardised(z)) ** 2).sum(1).mean(), online, target)


def barlow_twins(online, _):
    """Zbontar et al. 2021, algorithm 1, with its lambda 0.0051."""
    c = standardised(online[:HALF]).T @ standardised(online[HALF:]) / HALF
    return ((torch.diagonal(c) - 1.0) ** 2).sum() + 0.0051 * (off_diagonal(c) ** 2).sum()


def vicreg(online, _):
    """Bardes et al. 2022, algorithm 1, with moments over B."""
    first, second = online[:HALF], online[HALF:]
    total = 25.0 * torch.nn.functional.mse_loss(first, second)
    for z in (first, second):
        centred = z - z.mean(0)
        total = total + 25.0 * torch.relu(1.0 - torch.sqrt((centred**2).mean(0) + 1e-4)).mean()
        total = total + (off_diagonal(centred.T @ centred / HALF) ** 2).sum() / z.shape[1]
    return total


def dino(online, target, temperature=0.04, centre=0.0):
    """Caron et al. 2021, algorithm 1, with local views below the two."""
    goals = torch.softmax((target.detach() - centre) / temperature, 1).chunk(2)
    own = torch.log_softmax(online / 0.1, 1).split(HALF)
    pairs = [(a, b) for a in range(2) for b in range(len(own)) if a != b]
    return -sum((goals[a] * own[b]).sum(1).mean() for a, b in pairs) / len(pairs)


def simclr(online, _):
    """Chen et al. 2020, equation 1, temperature 0.5."""
    u = torch.nn.functional.normalize(online, eps=0.0)
    s = (u @ u.T / 0.5).fill_diagonal_(-math.inf)
    pairs = torch.arange(2 * HALF).roll(HALF)
    return torch.nn.functional.cross_entropy(s, pairs)


def decorrelation(online):
    """Sum over pairs of squared correlations of a view's outputs, the mean over views."""
    parts = [standardised(z) for z in online.chunk(2)]
    return 0.5 * sum((off_diagonal(y.T @ y / HALF) ** 2).sum() for y in parts)


PEERS = {
    "similarity length": (byol, {"normalisation": "length"}), "similarity batch": (correlations, {"normalisation": "batch"}),
    "barlow-twins": (barlow_twins, {}), "vicreg": (vicreg, {}), "dino": (dino, {}), "simclr": (simclr, {}),
    "dino local": (dino, {"local_views": LOCALS}),
}  # fmt: skip


def drawn(m, scale, rows=2 * HALF, seed=0):
    """Correlated outputs of both sides in double precision, all of a scale."""
    rng = np.random.default_rng((m, seed))
    common, spread = rng.normal(size=(HALF, m)), np.exp(rng.uniform(-1.5, 1.0, m))
    return [scale * spread * (np.tile(common, (k // HALF, 1)) + rng.normal(size=(k, m))) for k in (rows, 2 * HALF)]


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("name", PEERS)
def test_losses_and_gradients_are_pytorchs(name, scale, m):
    peer, numbers = PEERS[name]
    online, target = drawn(m, scale, (2 + numbers.get("local_views", 0)) * HALF)
    loss = losses.make(name.split()[0], {"eps": 0.0, **numbers}, layers, 2 * HALF, m, "float64")
    found = np.empty_like(online)
    loss.step(online, target, found)
    leaf = torch.tensor(online, requires_grad=True)
    value = peer(leaf, torch.tensor(target))
    value.backward()
    assert loss.loss() == pytest.approx(float(value.detach()), rel=1e-6, abs=1e-12)
    shares = 1e-16 if peer is dino else 0.0  # a difference of shares is known to their rounding
    np.testing.assert_allclose(found, leaf.grad.numpy(), rtol=0, atol=1e-6 * float(leaf.grad.abs().max()) + shares)


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_the_decorrelation_is_pytorchs(scale, m):
    z = drawn(m, scale)[0]
    part, found, value = losses.Decorrelation(0.3, layers, 2 * HALF, m, "float64", 0.0), np.zeros_like(z), np.zeros(1)
    part.step(z, found, value)
    leaf = torch.tensor(z, requires_grad=True)
    peer = 0.3 * decorrelation(leaf)
    peer.backward()
    assert value[0] == pytest.approx(float(peer.detach()), rel=1e-6)
    np.testing.assert_allclose(found, leaf.grad.numpy(), rtol=0, atol=1e-6 * float(leaf.grad.abs().max()))


@pytest.mark.parametrize("temperature", [0.02, 0.07])
@pytest.mark.parametrize("count", [1024, 65536])
def test_the_whole_of_dino_is_pytorchs(count, temperature):
    """Bottleneck of unit length, weight-normed prototypes, centre, local views: from z to the loss and back."""
    m = 32
    z, goal = drawn(m, 1.0, (2 + LOCALS) * HALF)
    part, teacher = Prototypes(count, m, layers, "float64", seed=1), Prototypes(count, m, layers, "float64", seed=2)
    centre = 0.01 * np.random.default_rng(0).normal(size=count)
    loss = losses.make("dino", {"local_views": LOCALS}, layers, 2 * HALF, count, "float64")
    loss.state["centre"][...] = centre
    loss.teacher_temperature = temperature
    online, target = np.empty((len(z), count)), np.empty((2 * HALF, count))
    part.forward(z, online)
    teacher.forward(goal, target)
    d_online, d_z = np.empty_like(online), np.empty_like(z)
    loss.step(online, target, d_online)
    part.backward(d_online, z, d_z)

    def last_layer(weights):
        made = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(m, count, bias=False, dtype=torch.float64))
        made.parametrizations.weight.original0.data.fill_(1.0)
        made.parametrizations.weight.original0.requires_grad_(False)
        made.parametrizations.weight.original1.data.copy_(torch.tensor(weights))
        return made

    unit = torch.nn.functional.normalize
    leaf, own, other = torch.tensor(z, requires_grad=True), last_layer(part.matrix), last_layer(teacher.matrix)
    value = dino(own(unit(leaf)), other(unit(torch.tensor(goal))), temperature, torch.tensor(centre))
    value.backward()
    assert loss.loss() == pytest.approx(float(value.detach()), rel=1e-9)
    for mine, peer in ((d_z, leaf.grad), (part.gradients, own.parametrizations.weight.original1.grad.reshape(-1))):
        np.testing.assert_allclose(mine, peer.numpy(), rtol=0, atol=1e-9 * float(peer.abs().max()))
    wanted = 0.9 * centre + 0.1 * target.mean(0)  # equation 4
    np.testing.assert_allclose(loss.state["centre"], wanted, atol=1e-14)


@pytest.mark.parametrize("dtype, error", [("float64", 1e-12), ("float32", 2e-6)])
def test_adamw_is_torch_optim(dtype, error):
    rng = np.random.default_rng(2)
    p = rng.normal(size=50).astype(dtype)
    made = optimise.AdamW(p, np.ones(50, np.uint8), layers, 0.2)
    other = torch.nn.Parameter(torch.tensor(p))
    peer = torch.optim.AdamW([other], lr=0.003, weight_decay=0.2)
    for g in rng.normal(size=(10, 50)).astype(dtype):
        made.step(p, g, 0.003)
        other.grad = torch.tensor(g)
        peer.step()
    np.testing.assert_allclose(p, other.detach().numpy(), rtol=error, atol=error)


class Slopes:
    """Something with gradients."""

    def __init__(self, gradients):
        self.gradients = gradients


@pytest.mark.parametrize("most", [0.5, 1e6])
def test_gradients_are_clipped_as_by_torch(most):
    parts = [Slopes(np.random.default_rng(i).normal(size=30)) for i in range(3)]
    peers = [torch.nn.Parameter(torch.zeros(30, dtype=torch.float64)) for _ in parts]
    for part, peer in zip(parts, peers, strict=True):
        peer.grad = torch.tensor(part.gradients)
    norm = torch.nn.utils.clip_grad_norm_(peers, most)
    assert optimise.clip_gradients(parts, most, layers) == pytest.approx(float(norm), rel=1e-12)
    for part, peer in zip(parts, peers, strict=True):  # its factor is most/(norm + 1e-6)
        np.testing.assert_allclose(part.gradients, peer.grad.numpy(), rtol=1e-6)
