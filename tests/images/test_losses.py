"""Losses on pictures: values by naive loops, gradients by differences of those, and the theory's own code."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynlab.images import layers, losses
from dynlab.images.layers.rows import softmax
from dynlab.images.networks import head
from dynlab.images.settings import LOSSES
from dynlab.samples import objective
from dynlab.settings.training import Training
from dynlab.tools.checks import SettingError
from tests.images import naive_losses as naive

CASES = [("similarity", kind, stop) for kind in losses.NORMALISATIONS for stop in ("target", "online", "none")]
CASES += [(name, "batch", "target") for name in LOSSES if name != "similarity"]
WEIGHTS = (3.0, 2.0, 0.7)
CENTRE = 0.3


def outputs(rows, m, seed, dtype="float64"):
    """Correlated outputs of both sides, some of small variance (VICReg's hinge), none alike."""
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(rows // 2, m))
    size = np.exp(rng.uniform(-1.5, 1.0, m))
    sides = [size * (np.tile(common, (2, 1)) + rng.normal(size=(rows, m)) + rng.normal(size=m)) for _ in range(2)]
    return [side.astype(dtype) for side in sides]


def made(name, kind, stop, rows, m, dtype="float64"):
    numbers = {"normalisation": kind, "stop_gradient": stop, "eps": 1e-3, "vicreg_weights": WEIGHTS, "barlow_weight": 0.2}
    loss = losses.make(name, numbers, layers, rows, m, dtype)
    for array in loss.state.values():
        array[...] = CENTRE * np.arange(m)
    return loss


def value(name, kind, online, target):
    if name == "similarity":
        return naive.similarity(online, target, kind, 1e-3)
    if name == "dino":
        return naive.dino(online, target, CENTRE * np.arange(online.shape[1]), 0.1, 0.04)
    functions = {
        "barlow-twins": lambda: naive.barlow_twins(online, 0.2, 1e-3),
        "vicreg": lambda: naive.vicreg(online, WEIGHTS, 1e-4),
        "simclr": lambda: naive.simclr(online, 0.5),
    }
    return functions[name]()


@pytest.mark.parametrize("case", CASES, ids="-".join)
@settings(max_examples=6)
@given(half=st.integers(2, 5), m=st.integers(1, 4), seed=st.integers(0, 99))
def test_values_and_gradients_are_those_of_naive_loops(case, half, m, seed):
    name, kind, stop = case
    online, target = outputs(2 * half, m, seed)
    loss = made(name, kind, stop, 2 * half, m)
    d_online, d_target = np.full_like(online, np.nan), np.full_like(target, np.nan)
    before = online.copy(), target.copy()
    loss.step(online, target, d_online, d_target)
    assert loss.loss() == pytest.approx(value(name, kind, online, target), rel=1e-11, abs=1e-11)
    expected = naive.slopes(lambda x: value(name, kind, x, target), online) * (stop != "online")
    size = 1.0 + np.abs(expected).max()
    np.testing.assert_allclose(d_online, expected, atol=2e-7 * size)
    through = naive.slopes(lambda x: value(name, kind, online, x), target) * (stop != "target")
    np.testing.assert_allclose(d_target, through, atol=2e-7 * (1.0 + np.abs(through).max()))
    np.testing.assert_array_equal(online, before[0])
    np.testing.assert_array_equal(target, before[1])


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_float32_is_float64_rounded_and_a_second_step_is_the_first(case):
    name, kind, stop = case
    online, target = outputs(64, 16, 0, "float32")
    loss, exact = made(name, kind, stop, 64, 16, "float32"), made(name, kind, stop, 64, 16)
    d_online, d_target, d_exact = np.empty_like(online), np.empty_like(target), np.empty(online.shape)
    exact.step(online.astype(float), target.astype(float), d_exact, np.empty(target.shape))
    for _ in range(2):
        for array in loss.state.values():
            array[...] = CENTRE * np.arange(16)
        assert loss.step(online, target, d_online, d_target) is loss.value
        assert loss.loss() == pytest.approx(exact.loss(), rel=1e-5)
        np.testing.assert_allclose(d_online, d_exact, atol=1e-5 * (1e-3 + np.abs(d_exact).max()))
    assert d_online.dtype == np.float32 and loss.value.dtype == np.float64


def layout(m):
    """Both directions over the columns (view 1, view 2) of `dynlab.samples`."""
    first, second = list(range(m)), list(range(m, 2 * m))
    return SimpleNamespace(directions=[(first, second), (second, first)])


def through_head(rule, loss, z, matrix, target=None):
    """dL/dz and the head's gradient, with the target the same outputs."""
    part = head.make(rule, z.shape[1], layers, "float64")
    part.matrix[...] = matrix
    out, d_out, d_z, d_target = (np.empty_like(z) for _ in range(4))
    part.forward(z, out)
    loss.step(out, z, d_out, d_target)
    part.backward(d_out, z, d_z)
    return d_z + d_target, part.gradients.reshape(matrix.shape)


@pytest.mark.parametrize("rule", ["none", "off-diagonal", "linear", "symmetric"])
@pytest.mark.parametrize("stop", ["target", "online", "none"])
@pytest.mark.parametrize("kind", ["batch", "none"])
def test_similarity_and_heads_are_the_theory_code(rule, stop, kind):
    m, half = 4, 9
    z, _ = outputs(2 * half, m, 5)
    matrix = np.eye(m) if rule == "none" else np.eye(m) + 0.3 * np.random.default_rng(1).normal(size=(m, m))
    numbers = {"normalisation": kind, "stop_gradient": stop, "eps": 0.0}
    loss = losses.make("similarity", numbers, layers, 2 * half, m, "float64")
    d_z, d_head = through_head(rule, loss, z, matrix)
    columns = np.hstack([z[:half], z[half:]])
    moments = objective.moments(columns)
    training = Training(head=rule, stop_gradient=stop, normalisation=kind, symmetric=True)
    expected, slope = objective.batch_loss(training, moments, layout(m), matrix)
    assert loss.loss() == pytest.approx(expected, rel=1e-12)
    d_columns = slope.of_outputs(columns, moments)
    np.testing.assert_allclose(d_z, np.vstack([d_columns[:, :m], d_columns[:, m:]]), atol=1e-13)
    np.testing.assert_allclose(d_head, slope.head, atol=1e-13)


@pytest.mark.parametrize("rule", ["off-diagonal", "linear"])
def test_unit_length_is_the_theory_code(rule):
    m, half = 3, 7
    z, _ = outputs(2 * half, m, 8)
    z[2] = 0.0
    matrix = np.eye(m) + 0.2 * np.random.default_rng(1).normal(size=(m, m))
    loss = losses.make("similarity", {"normalisation": "length"}, layers, 2 * half, m, "float64")
    d_z, d_head = through_head(rule, loss, z, matrix)
    columns = np.hstack([z[:half], z[half:]])
    d_columns, d_matrix = np.zeros_like(columns), np.zeros((m, m))
    training = Training(head=rule, normalisation="length", symmetric=True)
    expected = objective.unit_length_slope(training, columns, layout(m), matrix, d_columns, d_matrix)
    assert loss.loss() == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(d_z, np.vstack([d_columns[:, :m], d_columns[:, m:]]), atol=1e-14)
    np.testing.assert_allclose(d_head, d_matrix, atol=1e-14)


@pytest.mark.parametrize("name", ["barlow-twins", "vicreg"])
def test_decorrelating_objectives_are_the_theory_code(name):
    m, half = 5, 11
    z, _ = outputs(2 * half, m, 3)
    numbers = {"eps": 0.0, "vicreg_eps": 0.0, "vicreg_weights": WEIGHTS, "barlow_weight": 0.2}
    loss, d_z = losses.make(name, numbers, layers, 2 * half, m, "float64"), np.empty_like(z)
    loss.step(z, None, d_z)
    columns = np.hstack([z[:half], z[half:]])
    moments = objective.moments(columns)
    training = Training(
        head="none", stop_gradient="none", objective=name, vicreg_weights=WEIGHTS, barlow_weight=0.2, symmetric=True
    )
    expected, slope = objective.batch_loss(training, moments, layout(m), np.eye(m))
    assert loss.loss() == pytest.approx(expected, rel=1e-12)
    d_columns = slope.of_outputs(columns, moments)
    np.testing.assert_allclose(d_z, np.vstack([d_columns[:, :m], d_columns[:, m:]]), atol=1e-12)


def test_decorrelation_adds_the_theory_code_to_another_loss():
    m, half = 4, 8
    z, _ = outputs(2 * half, m, 4)
    part = losses.Decorrelation(0.7, layers, 2 * half, m, "float64", eps=0.0)
    d_z, total = np.ones_like(z), np.array([2.0])
    part.step(z, d_z, total)
    assert total[0] == pytest.approx(2.0 + naive.decorrelation(z, 0.7, 0.0), rel=1e-12)
    np.testing.assert_allclose(d_z - 1.0, naive.slopes(lambda x: naive.decorrelation(x, 0.7, 0.0), z), atol=1e-7)
    columns = np.hstack([z[:half], z[half:]])
    moments = objective.moments(columns)
    slope = objective.Slope.zero(2 * m, m)
    value = sum(objective.decorrelation(0.7, moments, x, 0.5, slope) for x, _ in layout(m).directions)
    d_columns = slope.of_outputs(columns, moments)
    assert total[0] == pytest.approx(2.0 + value, rel=1e-12)
    np.testing.assert_allclose(d_z - 1.0, np.vstack([d_columns[:, :m], d_columns[:, m:]]), atol=1e-13)


def test_the_loss_of_length_is_two_minus_two_cosines_and_of_batch_two_minus_two_correlations():
    online, target = outputs(12, 3, 2)
    swapped = np.vstack([target[6:], target[:6]])
    loss = losses.make("similarity", {"normalisation": "length"}, layers, 12, 3, "float64")
    loss.step(online, target, np.empty_like(online))
    cosines = (online * swapped).sum(1) / np.linalg.norm(online, axis=1) / np.linalg.norm(swapped, axis=1)
    assert loss.loss() == pytest.approx(2 - 2 * cosines.mean(), rel=1e-13)
    loss = losses.make("similarity", {"normalisation": "batch", "eps": 0.0}, layers, 12, 3, "float64")
    loss.step(online, target, np.empty_like(online))
    rho = [np.corrcoef(online[v, j], swapped[v, j])[0, 1] for v in (slice(0, 6), slice(6, 12)) for j in range(3)]
    assert loss.loss() == pytest.approx(6 - sum(rho), rel=1e-13)


def test_the_teacher_centre_moves_after_the_step_and_is_saved():
    online, target = outputs(8, 3, 6)
    loss = losses.make("dino", {"centre_momentum": 0.75}, layers, 8, 3, "float64")
    centre = np.zeros(3)
    for _ in range(3):
        loss.step(online, target, np.empty_like(online))
        assert loss.loss() == pytest.approx(naive.dino(online, target, centre, 0.1, 0.04), rel=1e-11)
        centre = 0.75 * centre + 0.25 * target.mean(0)
    np.testing.assert_allclose(loss.state["centre"], centre, rtol=1e-13)
    again = losses.make("dino", {}, layers, 8, 3, "float64")
    again.load(loss.save())
    np.testing.assert_array_equal(again.state["centre"], loss.state["centre"])


def test_softmax_survives_large_outputs():
    x = np.array([[1000.0, 999.0, -np.inf], [0.0, -1e30, 1.0]])
    out, logs = np.empty_like(x), np.empty(2)
    softmax(x, None, 0.5, out, logs)
    np.testing.assert_allclose(out.sum(1), 1.0, rtol=1e-14)
    np.testing.assert_allclose(logs, [np.log1p(np.exp(-2.0))] * 2, rtol=1e-14)


@pytest.mark.parametrize(
    "name, numbers, word",
    [
        ("similarty", {}, "objective='similarty'"),
        ("similarity", {"normalisation": "scale"}, "normalisation='scale'"),
        ("simclr", {"temperature": 0.0}, "temperature=0.0"),
        ("vicreg", {"vicreg_weights": (1.0, 2.0)}, "vicreg_weights="),
        ("dino", {"stop_gradient": "none"}, "stop_gradient='none'"),
        ("similarity", {"temprature": 1.0}, "temprature"),
    ],
)
def test_settings_that_mean_nothing_are_refused_in_a_line(name, numbers, word):
    with pytest.raises(SettingError, match=word) as raised:
        losses.make(name, numbers, layers, 8, 3)
    assert "\n" not in str(raised.value)


def test_settings_of_training_are_taken_over_and_odd_rows_refused():
    loss = losses.make("similarity", Training(normalisation="length", stop_gradient="none"), layers, 8, 3)
    assert loss.settings == losses.LossSettings(normalisation="length", stop_gradient="none")
    with pytest.raises(SettingError, match="rows=7"):
        losses.make("similarity", {}, layers, 7, 3)
