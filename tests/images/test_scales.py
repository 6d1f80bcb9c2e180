"""Single precision on pictures holds what double precision does, at every size of its numbers that it can hold at all.

Each float32 function against slow float64 loops over the same numbers, at scales 1e-30 to 1e30 and far from zero.
"""

import math

import numpy as np
import pytest

from dynlab.images import layers, losses
from dynlab.images.layers.dense import unit_length, unit_length_backward
from dynlab.images.layers.normalise import batch_norm
from dynlab.images.layers.rows import centre_columns
from dynlab.images.networks import head
from dynlab.images.worth.knn import knn, knn_scores
from dynlab.images.worth.probe import linear_probe
from dynlab.images.worth.spectrum import shape
from tests import naive_layers
from tests.images import naive_losses as naive
from tests.images.test_losses import CASES, made, outputs, value

SCALES = (1e-30, 1e-24, 1e-19, 1e-10, 1e-3, 1.0, 1e5, 1e10, 1e19, 1e24, 1e30)
LARGEST = float(np.finfo(np.float32).max)


def drawn(scale, rows=10, m=4):
    """Outputs of both sides in float32, and the same numbers in float64."""
    single = [(scale * side).astype(np.float32) for side in outputs(rows, m, 3)]
    return single, [side.astype(float) for side in single]


@pytest.mark.parametrize("scale", SCALES, ids=str)
@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_losses_and_gradients_at_every_scale(case, scale):
    """Right, or not finite where the gradient is no number of single precision (VICReg's fourth powers)."""
    name, kind, stop = case
    single, double = drawn(scale)
    loss = made(name, kind, stop, 10, 4, "float32")
    exact = made(name, kind, stop, 10, 4, "float64")
    for array in loss.state.values():
        array *= np.float32(scale)
    centre = loss.state["centre"].astype(float) if loss.state else 0.0

    def slow(online, target):
        return naive.dino(online, target, centre, 0.1, 0.04) if name == "dino" else value(name, kind, online, target)

    d_online, d_target = (np.empty_like(side) for side in single)
    with np.errstate(over="ignore", invalid="ignore"):
        loss.step(*single, d_online, d_target)
    for array, held in zip(exact.state.values(), [centre], strict=bool(loss.state)):
        array[...] = held
    want = [np.empty_like(side) for side in double]
    exact.step(*double, *want)
    if np.abs(want[0]).max() > 1e-2 * LARGEST:
        assert name == "vicreg" and not np.isfinite(d_online).all()
        return
    assert loss.loss() == pytest.approx(slow(*double), rel=2e-5, abs=1e-6 * min(1.0, scale))
    for found, expected in zip((d_online, d_target), want, strict=True):
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-4 * np.abs(expected).max() + 1e-38)
    if stop != "online" and np.abs(want[0]).max() * scale > 1e-6 * abs(slow(*double)):  # else differences show nothing
        slopes = naive.slopes(lambda x: slow(x, double[1]), double[0], 1e-5 * scale)
        np.testing.assert_allclose(d_online, slopes, rtol=0, atol=1e-3 * np.abs(slopes).max())


@pytest.mark.parametrize("name", ["dino", "simclr"])
@pytest.mark.parametrize("temperature", [1e-4, 1e-2, 1.0, 100.0])
def test_losses_at_every_temperature(name, temperature):
    single, double = drawn(1.0)
    numbers = {"temperature": temperature, "student_temperature": temperature, "teacher_temperature": 0.4 * temperature}
    loss = losses.make(name, numbers, layers, 10, 4)
    loss.step(*single, np.empty_like(single[0]))
    if name == "dino":
        want = naive.dino(*double, np.zeros(4), temperature, 0.4 * temperature)
    else:
        want = naive.simclr(double[0], temperature)
    assert loss.loss() == pytest.approx(want, rel=1e-5, abs=3e-7 / temperature)
    assert loss.loss() >= 0.0


@pytest.mark.parametrize("offset", [1.0, 1e4, 1e12, -1e30])
def test_what_all_outputs_of_a_row_have_in_common_does_not_change_dino(offset):
    """The offset is a power of two and the outputs are whole, so that single precision holds their sum."""
    power = math.copysign(2.0 ** round(math.log2(abs(offset))), offset)
    rows = np.random.default_rng(0).integers(0, 2**10, (8, 5)).astype(float)
    rows *= max(1.0, 2.0 ** (math.log2(abs(power)) - 22))
    online = (rows + power).astype(np.float32)
    np.testing.assert_array_equal(online.astype(float) - power, rows)
    found = []
    for outs in (online, rows.astype(np.float32)):
        loss = losses.make("dino", {"student_temperature": 50.0, "teacher_temperature": 20.0}, layers, 8, 5)
        loss.step(outs, outs, np.empty_like(outs))
        found.append(loss.loss())
    assert found[0] == found[1]
    assert found[0] == pytest.approx(naive.dino(rows, rows, np.zeros(5), 50.0, 20.0), rel=1e-5)
    assert found[0] > 0.0


def test_a_student_that_agrees_with_its_teacher_has_loss_zero():
    """Cross-entropy of one-hot shares with themselves: 0, where log Z and the outputs are 1e4 to 1e11 each."""
    for size in (1e3, 1e6, 1e10):
        outs = (size * np.tile(np.eye(4, dtype=np.float32)[[1, 3, 0]], (2, 1)) + np.float32(size / 7)).astype(np.float32)
        loss = losses.make("dino", {}, layers, 6, 4)
        loss.step(outs, outs, np.empty_like(outs))
        assert loss.loss() == 0.0


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_unit_length_and_its_gradient(scale):
    x = (scale * np.random.default_rng(0).normal(size=(6, 5))).astype(np.float32)
    x[2] = 0.0
    x[3] *= np.float32(1e-3)
    out, lengths, d_x = np.empty_like(x), np.empty(6, np.float32), np.empty_like(x)
    unit_length(x, out, lengths)
    want = naive.unit(x.astype(float))
    np.testing.assert_allclose(out, want, atol=2e-7)
    np.testing.assert_allclose(lengths, [math.sqrt(sum(v * v for v in row)) for row in x.astype(float)], rtol=2e-7)
    d_out = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    unit_length_backward(d_out, out, lengths, d_x)
    for i, row in enumerate(x.astype(float)):
        length = math.sqrt(sum(v * v for v in row))
        across = (d_out[i] - want[i] * sum(d_out[i] * want[i])) / (length or 1.0) * (length > 0.0)
        np.testing.assert_allclose(d_x[i], across, atol=1e-6 * (np.abs(across).max() or 1.0))


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_batch_norm_without_eps_does_not_see_the_scale(scale):
    x = np.random.default_rng(0).normal(size=(700, 6)) + np.linspace(-3.0, 3.0, 6)
    single = (scale * x).astype(np.float32)
    mean, inverse = np.empty((2, 2, 6), np.float32)
    out = batch_norm(single, 2, None, None, 0.0, np.empty_like(single), mean, inverse)
    want, means, variances = naive_layers.batch_norm(single.astype(float), 2, None, None, 0.0, False, None)
    np.testing.assert_allclose(out, want, atol=5e-6)
    np.testing.assert_allclose(inverse, 1.0 / np.sqrt(variances), rtol=2e-6)
    np.testing.assert_allclose(mean, means, rtol=1e-5)


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5])
def test_columns_are_centred_as_well_as_their_numbers_are_held(offset):
    x = (np.random.default_rng(0).normal(size=(3000, 3)) + offset).astype(np.float32)
    out, means = np.empty_like(x), np.empty(3, np.float32)
    centre_columns(x, means, out)
    exact = x.astype(float) - [math.fsum(column) / len(x) for column in x.astype(float).T]
    np.testing.assert_allclose(out, exact, atol=1e-6)


@pytest.mark.parametrize("rule", ["directpred", "directcopy"])
@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_heads_from_correlations_do_not_see_the_scale_of_the_outputs(rule, scale):
    z = np.random.default_rng(0).normal(size=(12, 4)) * np.array([1.0, 0.5, 2.0, 0.1])
    heads = []
    for size in (1.0, scale):
        part = head.make(rule, 4, layers)
        part.prepare((size * z).astype(np.float32))
        heads.append(part.matrix.copy())
    np.testing.assert_allclose(heads[1], heads[0], atol=1e-6)


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_the_shape_of_features_does_not_see_their_scale(scale):
    z = (np.random.default_rng(0).normal(size=(50, 5)) + 3.0).astype(np.float32)
    found, expected = shape((scale * z.astype(float)).astype(np.float32)), shape(z)
    for name in ("rank", "covariance_rank", "singular_rank", "mean_abs_correlation", "dead"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-4)


@pytest.mark.parametrize("scale", SCALES, ids=str)
def test_neighbours_and_probe_do_not_see_the_scale_of_the_features(scale):
    """Clouds far apart: every picture is right, at every scale and temperature."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 120)
    features = ((8.0 * np.eye(4, 6)[labels] + rng.normal(size=(120, 6))) * scale).astype(np.float32)
    for temperature in (1e-300, 1e-4, 0.1, 1e4):
        assert knn(features, labels, features[:40], labels[:40], 10, temperature).share == 1.0
    assert linear_probe(features, labels, features, labels).share == 1.0


@pytest.mark.parametrize("temperature", [1e-5, 1e-4, 1e-3, 0.1])
def test_votes_at_low_temperatures_are_those_of_loops(temperature):
    rng = np.random.default_rng(0)
    train, test, labels = rng.normal(size=(60, 3)), rng.normal(size=(20, 3)), rng.integers(0, 3, 60)
    unit = [naive.unit(part) for part in (train, test)]
    found = knn_scores(unit[0], labels, unit[1], 15, temperature)
    np.testing.assert_allclose(found, naive.knn_scores(train, labels, test, 15, temperature), rtol=1e-8, atol=1e-12)
