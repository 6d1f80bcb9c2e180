"""Network, head, objective and optimiser together, on clouds: losses fall, and the theory's contrast shows."""

import numpy as np
import pytest

from dynlab.images import layers, losses
from dynlab.images.networks import head
from dynlab.images.networks.encoders import projector
from dynlab.images.networks.network import Network
from dynlab.images.settings import LOSSES, PICTURE_HEADS
from dynlab.images.training import optimise
from dynlab.images.worth.spectrum import shape

ROWS, WIDTH, OUTPUTS = 128, 24, 8


def views(rng):
    """Two noisy views of vectors whose coordinates differ in strength."""
    strengths = np.linspace(2.0, 0.5, WIDTH)
    common = strengths * rng.normal(size=(ROWS // 2, WIDTH))
    return (np.tile(common, (2, 1)) + 0.5 * rng.normal(size=(ROWS, WIDTH))).astype(np.float32)


def train(objective, rule, steps, decorrelation=0.0, **numbers):
    """Losses of the steps, and the outputs of the last batch."""
    rng = np.random.default_rng(0)
    network, teacher = (Network(projector((16, OUTPUTS)), (WIDTH,), layers) for _ in range(2))
    network.initialise(1)
    teacher.initialise(1, stream=7)  # of DINO, whose own loss need not fall while its teacher moves
    part = head.make(rule, OUTPUTS, layers)
    loss = losses.make(objective, numbers, layers, ROWS, OUTPUTS)
    extra = losses.Decorrelation(decorrelation, layers, ROWS, OUTPUTS)
    movers = [optimise.make("adam", one.parameters, one.decays, layers, weight_decay=1e-4) for one in (network, part)]
    out, d_out, d_z = (np.empty((ROWS, OUTPUTS), np.float32) for _ in range(3))
    found = []
    for _ in range(steps):
        x = views(rng)
        z = network.forward(x, groups=2)
        part.prepare(z)
        part.forward(z, out)
        value = loss.step(out, teacher.forward(x, groups=2) if objective == "dino" else z, d_out)
        part.backward(d_out, z, d_z)
        if decorrelation > 0.0:
            extra.step(z, d_z, value)
        found.append(loss.loss())
        network.backward(d_z)
        movers[0].step(network.parameters, network.gradients, 0.01)
        if part.trains:
            movers[1].step(part.parameters, part.gradients, 0.01)
    return np.array(found), z.copy()


@pytest.mark.parametrize("rule", PICTURE_HEADS)
def test_every_head_lowers_the_loss(rule):
    found, _ = train("similarity", rule, 60)
    assert found[-5:].mean() < 0.8 * found[:5].mean()


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "similarity"])
def test_every_objective_falls(name):
    found, _ = train(name, "none", 60)
    assert found[-5:].mean() < 0.95 * found[:5].mean()


def test_length_collapses_without_a_head_and_less_with_a_criterion_against_it():
    _, alone = train("similarity", "none", 150, normalisation="length")
    _, apart = train("similarity", "none", 150, decorrelation=1.0, normalisation="length")
    assert shape(alone).rank + 1.0 < shape(apart).rank


def test_a_run_is_the_same_bits_again():
    np.testing.assert_array_equal(train("similarity", "off-diagonal", 10)[0], train("similarity", "off-diagonal", 10)[0])
