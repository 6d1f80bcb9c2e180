"""Layers over time against loops and differences; a network of them at any length."""

import numba
import numpy as np
import pytest

from dynlab.images import layers
from dynlab.images.networks.network import Network
from dynlab.images.networks.nodes import BatchNorm, Linear
from dynlab.images.settings import pretraining
from dynlab.sounds import frames, speech_networks
from dynlab.sounds.frames import Frames, StatisticsPool
from dynlab.sounds.speech_networks import SpeechNetworks, embeddings_of, tdnn
from dynlab.tools.checks import SettingError
from tests.sounds import naive_sounds as naive


def normal(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


@pytest.mark.parametrize(
    "length, kernel, stride, dilation", [(1, 3, 1, 1), (7, 5, 2, 1), (8, 3, 1, 2), (9, 4, 3, 2), (2, 5, 2, 3)]
)
def test_unfolding_and_its_transpose(length, kernel, stride, dilation):
    x = normal(0, 3, length, 2)
    want = naive.unfold(x, kernel, stride, dilation)
    out = frames.unfold(x, kernel, stride, dilation, np.full(want.shape, np.nan))
    assert (out == want).all()
    d_out = normal(1, *want.shape)
    d_x = frames.unfold_backward(d_out, kernel, stride, dilation, np.full(x.shape, np.nan))
    assert (d_out * out).sum() == pytest.approx((d_x * x).sum(), abs=1e-12)
    # Entry by entry: unfolding is linear, and its columns are what it makes of single entries.
    one = np.zeros_like(x)
    one[1, length // 2, 1] = 1.0
    assert d_x[1, length // 2, 1] == pytest.approx((naive.unfold(one, kernel, stride, dilation) * d_out).sum(), abs=1e-12)


@pytest.mark.parametrize("length", [1, 2, 13])
def test_statistics_and_their_derivative(length):
    x = normal(2, 3, length, 4)
    out = frames.statistics_pool(x, np.full((3, 8), np.nan))
    assert out == pytest.approx(naive.statistics(x), abs=1e-12)
    d_out = normal(3, 3, 8)
    d_x = frames.statistics_pool_backward(d_out, x, out, np.full(x.shape, np.nan))
    for i, t, q in ((0, 0, 0), (1, length - 1, 2), (2, length // 2, 3)):
        step = np.zeros_like(x)
        step[i, t, q] = 1e-5
        slope = ((naive.statistics(x + step) - naive.statistics(x - step)) * d_out).sum() / 2e-5
        assert d_x[i, t, q] == pytest.approx(slope, abs=1e-6)


def small():
    return [
        Frames(3, stride=2),
        Linear(4, bias=False),
        BatchNorm(relu=True),
        Frames(3, dilation=2),
        Linear(5),
        StatisticsPool(),
    ]


def test_a_network_over_time_has_the_gradient_of_its_loss():
    network = Network(small(), (9, 3), layers, "float64")
    network.initialise(0)
    x, weight = normal(4, 6, 9, 3), normal(5, 6, 10)
    network.forward(x)
    d_x = network.backward(weight, need_input_gradient=True).copy()
    gradient = network.gradients.copy()
    for which, found in ((network.parameters, gradient), (x, d_x)):
        direction = normal(6, *which.shape)
        losses = []
        for sign in (1.0, -1.0):
            which += sign * 1e-6 * direction
            losses.append((network.forward(x) * weight).sum())
            which -= sign * 1e-6 * direction
        assert (losses[0] - losses[1]) / 2e-6 == pytest.approx((found * direction).sum(), rel=1e-6)


def test_recordings_of_one_length_are_not_taken_for_each_other(monkeypatch):
    settings = pretraining(dataset="speech", projector=(8, 4))
    rows, bounds = normal(7, 40, 40).astype("f4"), np.arange(0, 41, 8)
    whole = embeddings_of(settings, None, rows, bounds, layers)[0]
    monkeypatch.setattr(speech_networks, "TOGETHER", 2)
    assert embeddings_of(settings, None, rows, bounds, layers)[0] == pytest.approx(whole, abs=1e-6)


def test_recordings_of_any_length_have_embeddings_of_their_own():
    settings = pretraining(dataset="speech", projector=(8, 4))
    rows, bounds = normal(7, 60, 40).astype("f4"), np.array([0, 1, 20, 39, 60])
    hidden, z = embeddings_of(settings, None, rows, bounds, layers)
    assert hidden.shape == (4, 128) and z.shape == (4, 4) and np.isfinite(z).all()
    for i in range(4):
        alone = embeddings_of(
            settings, None, rows[bounds[i] : bounds[i + 1]], np.array([0, bounds[i + 1] - bounds[i]]), layers
        )
        assert alone[0][0] == pytest.approx(hidden[i], abs=1e-6)
    # The length changes no parameter, and weights go from one length to another.
    long, short = (SpeechNetworks(settings, count, 40, layers) for count in (48, 5))
    assert long.encoder.parameters.tobytes() == short.encoder.parameters.tobytes()
    long.encoder.parameters += 1.0
    moved = embeddings_of(settings, long.state(), rows, bounds, layers)[0]
    assert np.abs(moved - hidden).max() > 0.01


def test_pictures_convolutions_take_features_of_any_length_too():
    settings = pretraining(dataset="speech", encoder="demo", projector=())
    rows = normal(8, 30, 40).astype("f4")
    hidden, z = embeddings_of(settings, None, rows, np.array([0, 11, 30]), layers)
    assert hidden.shape == (2, 128) and (hidden == z).all()


def test_threads_change_no_bit():
    network = Network(tdnn(), (12, 40), layers)
    network.initialise(1)
    x, before = normal(9, 8, 12, 40).astype("f4"), numba.get_num_threads()
    try:
        found = []
        for threads in (1, min(2, before)):
            numba.set_num_threads(threads)
            network.forward(x, groups=2)
            network.backward(np.ones((8, 128), "f4"))
            found.append(network.gradients.tobytes())
    finally:
        numba.set_num_threads(before)
    assert found[0] == found[1]


def test_layers_over_time_want_time():
    for layer in (Frames(), StatisticsPool()):
        with pytest.raises(SettingError, match="frames, channels"):
            Network([layer], (4, 4, 1), layers)
    with pytest.raises(SettingError, match="dilation"):
        Network([Frames(dilation=0)], (4, 4), layers)
