"""The head on pictures: the rules of `dynlab.formulas.head_rules`, gradients by differences, and what no step may touch."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynlab.formulas import head_rules
from dynlab.images import layers
from dynlab.images.networks import head
from dynlab.images.networks.rotations import psd_spectrum
from dynlab.images.settings import PICTURE_HEADS, PICTURE_OPTIMISERS
from dynlab.images.training import optimise
from dynlab.population.head_matrices import from_correlation, moving_correlation, norm_and_asymmetry
from dynlab.tools.checks import SettingError
from tests.images.naive_losses import slopes


def data(n, m, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, m)) @ rng.normal(size=(m, m)), rng.normal(size=(n, m))


def product(part, z, weights):
    """sum of weights times the head's outputs, which has weights for its gradient."""
    out = np.empty_like(z)
    return float((part.forward(z, out) * weights).sum())


@pytest.mark.parametrize("rule", PICTURE_HEADS)
@settings(max_examples=5)
@given(half=st.integers(2, 5), m=st.integers(1, 5), seed=st.integers(0, 99))
def test_gradients_are_differences(rule, half, m, seed):
    z, weights = data(2 * half, m, seed)
    part = head.make(rule, m, layers, "float64")
    if rule != "none":
        part.parameters += 0.3 * np.random.default_rng(seed).normal(size=part.parameters.shape)
    kept, d_z = z.copy(), np.full_like(z, np.nan)
    product(part, z, weights)
    part.backward(weights.copy(), z, d_z)
    gradients = part.gradients.copy()
    size = 1.0 + np.abs(d_z).max()
    np.testing.assert_allclose(d_z, slopes(lambda x: product(part, x, weights), z), atol=1e-6 * size)
    if rule == "mlp":  # nearly at a kink of relu, differences are not derivatives: see below
        return
    before = part.parameters.copy()

    def of_parameters(values):
        part.parameters[...] = values
        return product(part, z, weights)

    expected = slopes(of_parameters, before).reshape(m, m)
    head_rules.project_gradient(head_rules.rule_number(rule), m, expected)
    np.testing.assert_allclose(gradients.reshape(m, m), expected, atol=1e-6 * (1.0 + np.abs(expected).max()))
    np.testing.assert_array_equal(z, kept)


def test_gradients_of_the_weights_of_an_mlp_are_differences():
    z, weights = data(12, 3, 1)
    part = head.make("mlp", 3, layers, "float64", hidden=7, seed=4)
    product(part, z, weights)
    part.backward(weights, z, np.empty_like(z))
    gradients, before = part.gradients.copy(), part.parameters.copy()

    def of_parameters(values):
        part.parameters[...] = values
        return product(part, z, weights)

    np.testing.assert_allclose(gradients, slopes(of_parameters, before), atol=1e-6 * (1.0 + np.abs(gradients).max()))


def test_forward_is_the_matrix_times_each_output():
    z, _ = data(6, 4, 2)
    part = head.make("linear", 4, layers, "float64", start="random", seed=5)
    out = part.forward(z, np.empty_like(z))
    np.testing.assert_allclose(out[3], part.matrix @ z[3], rtol=1e-13)


@pytest.mark.parametrize("name", PICTURE_OPTIMISERS)
def test_the_diagonal_is_never_touched(name):
    m = 8
    part = head.make("off-diagonal", m, layers)
    made = optimise.make(name, part.parameters, part.decays, layers, part.segments, weight_decay=0.1)
    rng = np.random.default_rng(0)
    d_z = np.empty((16, m), np.float32)
    for _ in range(20):
        z, d_out = rng.normal(size=(2, 16, m)).astype(np.float32)
        part.backward(d_out, z, d_z)
        assert not part.gradients.reshape(m, m).diagonal().any()
        made.step(part.parameters, part.gradients, 0.1)
    np.testing.assert_array_equal(part.matrix.diagonal(), np.ones(m, np.float32))
    assert np.abs(part.matrix - np.eye(m)).max() > 1e-3
    assert part.norm_and_asymmetry() == norm_and_asymmetry(part.matrix)


def test_a_symmetric_head_stays_symmetric_to_the_bit():
    part = head.make("symmetric", 5, layers, start="random", seed=2)
    made = optimise.make("adam", part.parameters, part.decays, layers)
    rng = np.random.default_rng(1)
    for _ in range(10):
        z, d_out = rng.normal(size=(2, 8, 5)).astype(np.float32)
        part.backward(d_out, z, np.empty_like(z))
        made.step(part.parameters, part.gradients, 0.05)
    np.testing.assert_array_equal(part.matrix, part.matrix.T)


@pytest.mark.parametrize("rule", head.FROM_CORRELATION)
def test_heads_of_the_correlation_are_the_theory_rule_on_the_moving_average(rule):
    part, average = head.make(rule, 6, layers, "float64"), None
    np.testing.assert_array_equal(part.matrix, np.eye(6))
    for seed in range(4):
        z, _ = data(30, 6, seed)
        part.prepare(z)
        average = moving_correlation(average, z.T @ z / 30)
        np.testing.assert_allclose(part.matrix, from_correlation(rule, average), atol=1e-10)
    again = head.make(rule, 6, layers, "float64")
    again.load(part.save())
    for one in (part, again):
        one.prepare(z)
    np.testing.assert_array_equal(again.matrix, part.matrix)
    assert not part.trains and not part.decays.any()


@pytest.mark.parametrize("rule", head.FROM_CORRELATION)
@settings(max_examples=10)
@given(m=st.integers(1, 8), rank=st.integers(1, 8), seed=st.integers(0, 99))
def test_the_head_of_any_correlation_is_the_theory_rule(rule, m, rank, seed):
    z = np.random.default_rng(seed).normal(size=(min(rank, m), m))
    correlation = z.T @ z
    expected = from_correlation(rule, correlation, 0.05)
    np.testing.assert_allclose(head.head_from_correlation(rule, correlation, 0.05), expected, atol=3e-7)


@settings(max_examples=20)
@given(m=st.integers(1, 12), rank=st.integers(0, 12), seed=st.integers(0, 99), spread=st.floats(0.0, 12.0))
def test_the_spectrum_is_that_of_lapack(m, rank, seed, spread):
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(m, min(rank, m))) * 10.0 ** -rng.uniform(0.0, spread, min(rank, m))
    matrix = factor @ factor.T
    values, vectors = psd_spectrum(matrix)
    size = 1e-300 + np.abs(matrix).max()
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix), atol=1e-13 * size)
    np.testing.assert_allclose((vectors * values) @ vectors.T, matrix, atol=1e-13 * size)
    resolved = vectors[:, values > 1e-6 * size]
    np.testing.assert_allclose(resolved.T @ resolved, np.eye(resolved.shape[1]), atol=1e-13)


@pytest.mark.parametrize("rule", head.FROM_CORRELATION)
def test_outputs_that_vanish_or_diverge_leave_a_head_that_says_so(rule):
    np.testing.assert_array_equal(head.head_from_correlation(rule, np.zeros((3, 3)), 0.1), 0.1 * np.eye(3))
    assert np.isnan(head.head_from_correlation(rule, np.full((3, 3), np.nan), 0.1)).all()


@pytest.mark.parametrize("rule", PICTURE_HEADS)
def test_a_head_goes_on_from_what_was_saved(rule):
    part, again = head.make(rule, 4, layers), head.make(rule, 4, layers)
    z = np.random.default_rng(3).normal(size=(8, 4)).astype(np.float32)
    part.parameters += 0.5
    part.prepare(z)
    again.load(part.save())
    np.testing.assert_array_equal(part.forward(z, np.empty_like(z)), again.forward(z, np.empty_like(z)))


def test_a_random_start_is_that_of_the_seed():
    first, second, other = (head.make("linear", 64, layers, start="random", seed=s).matrix for s in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert np.abs(first - other).max() > 0.1
    assert abs(first.std() * 8.0 - 1.0) < 0.05 and abs(first.mean()) < 0.01


@pytest.mark.parametrize(
    "rule, numbers, word", [("fixed", {}, "head='fixed'"), ("off-diagonal", {"start": "random"}, "head_start=")]
)
def test_what_is_refused(rule, numbers, word):
    with pytest.raises(SettingError, match=word):
        head.make(rule, 4, layers, **numbers)


@pytest.mark.parametrize("rule", ["directpred", "directcopy"])
def test_a_head_that_is_set_every_third_step_follows_its_gradient_in_between(rule):
    """Set in steps 0 and 3, from the average over all steps so far; E_jr of any j, r has the gradient sum_n dF_nj z_nr."""
    part = head.make(rule, 3, layers, "float64", rho=0.3, eps=0.2, every=3)
    assert part.trains and part.decays.all()
    average, moved = None, part.matrix.copy()
    for step in range(5):
        z, weights = data(8, 3, step)
        average = moving_correlation(average, z.T @ z / 8, 0.3)
        part.prepare(z)
        np.testing.assert_allclose(part.correlation, average, rtol=1e-12)
        if step in (0, 3):
            np.testing.assert_allclose(part.matrix, from_correlation(rule, average, 0.2), atol=1e-10)
        else:
            np.testing.assert_array_equal(part.matrix, moved)
        part.backward(weights, z, np.empty_like(z))
        np.testing.assert_allclose(part.gradients.reshape(3, 3), weights.T @ z, rtol=1e-12)
        part.parameters -= 0.01 * part.gradients
        moved = part.matrix.copy()
        if step == 1:
            again = head.make(rule, 3, layers, "float64", rho=0.3, eps=0.2, every=3)
            again.load(part.save())
            assert again.count == 2 and np.array_equal(again.matrix, moved)
    assert not head.make(rule, 3, layers).trains
    assert "count" not in head.make(rule, 3, layers).save()
