"""Encoder `patch` with hidden units: the formula by loops, its gradients by complex steps, what trains and what does not."""

import re

import numpy as np
import pytest

from dynlab.images import layers
from dynlab.images.networks import encoders
from dynlab.images.networks.network import Network
from dynlab.images.networks.nodes import Activation, Linear, MeanPool, Patches
from dynlab.images.settings import Pretraining
from dynlab.images.training.train import Trainer
from dynlab.images.verdict import output_count
from dynlab.tools.checks import SettingError
from tests import naive_layers as naive
from tests.images import small

SIZE, OUTPUTS, HIDDEN, SHAPE = 3, 3, 4, (7, 6, 2)
UNITS, LENGTH = OUTPUTS * HIDDEN, SIZE * SIZE * SHAPE[2]
# By the sign of the real part, so that a complex step passes through.
PHI = {"relu": lambda z: z if z.real > 0 else 0.0, "cubic": lambda z: z**3, "relu3": lambda z: z**3 if z.real > 0 else 0.0}
OWN = np.array([[j == h // HIDDEN for h in range(UNITS)] for j in range(OUTPUTS)])  # (m, M), as in the theory


def network(phi="relu", readout="own", seed=1, **more):
    described = encoders.encoder("patch", size=SIZE, features=OUTPUTS, phi=phi, hidden=HIDDEN, readout=readout, **more)
    net = Network(described, SHAPE, layers, "float64")
    net.initialise(seed)
    return net


def parts(net, vector):
    """w (d, M) and a (m, M), of parameters or gradients."""
    (_, _, middle, _), (_, start, stop, _) = net.segments
    assert middle == start == LENGTH * UNITS
    return vector[:middle].reshape(LENGTH, UNITS), vector[start:stop].reshape(UNITS, OUTPUTS).T


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(("phi", "readout"), [("relu", "own"), ("cubic", "shared"), ("relu3", "fixed")])
def test_formula_and_gradients_by_loops_and_complex_steps(phi, readout):
    net, x, d_y = network(phi, readout), normal(0, 2, *SHAPE), normal(2, 2, OUTPUTS)
    w, a = (part.copy() for part in parts(net, net.parameters))
    used = np.ones_like(OWN) if readout == "shared" else OWN
    assert a[used].all() and not a[~used].any() and not np.signbit(a[~used]).any()
    assert np.allclose(net.forward(x), naive.hidden_features(x, w, a, SIZE, PHI[phi]).real, rtol=1e-12, atol=1e-12)
    net.gradients[:] = np.nan  # what a backward pass leaves is its own
    d_x = net.backward(d_y, need_input_gradient=True)
    d_w, d_a = parts(net, net.gradients)

    def slope(x, w, a):
        return (naive.hidden_features(x, w, a, SIZE, PHI[phi]) * d_y).sum().imag / 1e-30

    for seed in range(4):
        along = [normal(10 + seed, *part.shape) for part in (x, w, a)]
        assert np.isclose((d_x * along[0]).sum(), slope(x + 1e-30j * along[0], w, a), rtol=1e-11)
        assert np.isclose((d_w * along[1]).sum(), slope(x, w + 1e-30j * along[1], a), rtol=1e-11)
        trained = 0.0 if readout == "fixed" else along[2] * used
        assert np.isclose((d_a * along[2]).sum(), slope(x, w, a + 1e-30j * trained), rtol=1e-11)
    assert not d_a[~used].any() and (d_a[used] == 0.0).all() == (readout == "fixed")


def test_the_start_is_the_theorys():
    net = Network(encoders.patch(5, 40, "relu", 25), (5, 5, 3), layers)
    net.initialise(3)
    w, a = net.parameters[: 75 * 1000], net.parameters[75 * 1000 :].reshape(1000, 40)
    own = np.array([[h // 25 == j for j in range(40)] for h in range(1000)])
    assert np.isclose(w.std(), 75**-0.5, rtol=0.02) and np.isclose(a[own].std(), 25**-0.5, rtol=0.08)
    assert not a[~own].any()
    shared = Network(encoders.patch(5, 40, "relu", 25, "shared"), (5, 5, 3), layers)
    shared.initialise(3)
    assert np.isclose(shared.parameters[75 * 1000 :].std(), 1000**-0.5, rtol=0.02)


def test_one_unit_with_a_fixed_readout_is_the_paper_encoder():
    plain = [Patches(4), Linear(64, bias=False, start="normal"), Activation("cubic"), MeanPool(total=True)]
    for given in ({}, {"hidden": 1}, {"hidden": 1, "readout": "fixed"}):
        assert encoders.encoder("patch", **given) == plain
        one = Pretraining(encoder="patch", **given)
        assert encoders.encoder("patch", **encoders.patch_settings(one)) == plain
    assert not {"hidden", "readout", "neurons"} & Pretraining(encoder="patch").plain().keys()
    assert len(encoders.patch(hidden=1, readout="own")) == len(plain) + 1


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw", "lars"])
def test_what_trains_and_what_does_not(optimiser):
    common = {"encoder": "patch", "neurons": 3, "hidden": 4, "patch_side": 6, "activation": "relu", "projector": ()}
    for readout in ("own", "fixed"):
        one = Pretraining(**common, readout=readout, batch=16, steps=3, optimiser=optimiser, weight_decay=0.1,
                          normalisation="batch", head="off-diagonal")  # fmt: skip
        assert output_count(one) == 3
        trainer = Trainer(one, small.small_set(96, 0), layers)
        assert trainer.networks.outputs == 3
        net = trainer.networks.encoder
        before = net.parameters[-36:].reshape(12, 3).copy()
        trainer.step(0)
        trainer.step(1)
        after = net.parameters[-36:].reshape(12, 3)
        assert np.array_equal(before != after, (OWN.T if readout == "own" else np.zeros((12, 3), bool))), readout


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"hidden": 2}, 'hidden=2: must be left out with encoder "convnet": it is of "patch"'),
        ({"encoder": "demo", "activation": "relu"}, "activation='relu': must be left out with encoder \"demo\""),
        ({"encoder": "demo", "patch_side": 3}, "patch_side=3: must be left out"),
        ({"encoder": "patch", "hidden": 0}, "hidden=0: must be an integer >= 1"),
        ({"encoder": "patch", "hidden": 10**9}, "hidden=1000000000: must be smaller: 64 outputs of 1000000000 hidden units"),
        ({"encoder": "patch", "neurons": 10**6}, "neurons=1000000: must be smaller"),
        ({"encoder": "patch", "readout": "all"}, "readout='all': must be one of own, shared, fixed"),
        ({"encoder": "patch", "activation": "linear"}, "activation='linear': must be one of relu, cubic, relu3"),
        (
            {"encoder": "patch", "patch_side": 25},
            "patch_side=25: must be an integer >= 1 and <= 24",
        ),
    ],
)
def test_what_has_no_meaning_is_refused(given, text):
    with pytest.raises(SettingError, match=re.escape(text)) as refused:
        Pretraining(**given)
    assert "\n" not in str(refused.value)


def test_units_that_do_not_divide_are_refused():
    from dynlab.images.networks.nodes import Readout

    with pytest.raises(SettingError, match="outputs=5: must be a divisor of 12"):
        Network([Linear(12), Readout(5)], (4,), layers)
