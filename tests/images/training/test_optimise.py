"""Optimisers against naive loops, and torch.optim where there is one; schedules."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynlab.formulas import updates
from dynlab.images import layers
from dynlab.images.layers.updates import CHUNK
from dynlab.images.settings import PICTURE_OPTIMISERS
from dynlab.images.training import optimise
from dynlab.tools.checks import SettingError
from tests.images import naive_losses as naive

STEPS = 10


def problem(size, seed, dtype="float64"):
    rng = np.random.default_rng(seed)
    mask = (rng.random(size) < 0.6).astype(np.uint8)
    return rng.normal(size=size).astype(dtype), rng.normal(size=(STEPS, size)).astype(dtype), mask


def walk(optimiser, p, gradients, rate):
    p = p.copy()
    for g in gradients:
        kept = g.copy()
        optimiser.step(p, g, rate)
        np.testing.assert_array_equal(g, kept)
    return p


@pytest.mark.parametrize("dtype, error", [("float64", 1e-13), ("float32", 3e-6)])
@pytest.mark.parametrize("nesterov", [False, True])
@settings(max_examples=8)
@given(size=st.integers(1, 40), seed=st.integers(0, 99), momentum=st.sampled_from([0.9, 0.0]))
def test_sgd_is_the_naive_loop(dtype, error, nesterov, size, seed, momentum):
    p, gradients, mask = problem(size, seed, dtype)
    made = optimise.Sgd(p, mask, layers, weight_decay=0.1, momentum=momentum, nesterov=nesterov)
    expected = naive.sgd(p.astype(float), gradients, mask, 0.05, 0.1, momentum, nesterov)
    np.testing.assert_allclose(walk(made, p, gradients, 0.05), expected, rtol=error, atol=error)


@pytest.mark.parametrize("dtype, error", [("float64", 1e-12), ("float32", 1e-5)])
@pytest.mark.parametrize("name, some", [("Adam", 0.1), ("AdamW", 0.4)])
@settings(max_examples=8)
@given(size=st.integers(1, 40), seed=st.integers(0, 99), decays=st.booleans())
def test_adam_is_the_naive_loop(dtype, error, name, some, size, seed, decays):
    p, gradients, mask = problem(size, seed, dtype)
    decay = some if decays else 0.0
    made = getattr(optimise, name)(p, mask, layers, weight_decay=decay, betas=(0.8, 0.95), eps=1e-4)
    expected = getattr(naive, name.lower())(p.astype(float), gradients, mask, 0.02, decay, (0.8, 0.95), 1e-4)
    np.testing.assert_allclose(walk(made, p, gradients, 0.02), expected, rtol=error, atol=error)
    assert made.weight_decay == decay


@pytest.mark.parametrize("dtype, error", [("float64", 1e-13), ("float32", 3e-6)])
@pytest.mark.parametrize("rates", ["scaled", "clipped"])
@settings(max_examples=8)
@given(sizes=st.lists(st.integers(1, 12), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_lars_is_the_naive_loop(dtype, error, rates, sizes, seed):
    edges = np.concatenate([[0], np.cumsum(sizes)]).tolist()
    p, gradients, mask = problem(edges[-1], seed, dtype)
    p[: edges[1]] = 0.0  # a tensor of zeros has to get away from them
    spans = list(zip(edges[:-1], edges[1:], strict=True))
    for start, stop in spans[::2]:
        mask[start:stop] = 0  # norms and biases
    segments = [(str(i), *span, ()) for i, span in enumerate(spans)]
    # Own rates of some 0.05 to 0.5 here, to either side of the common one where that is 0.1.
    rate, trust = (0.5, 0.05) if rates == "scaled" else (0.1, 0.2)
    made = optimise.Lars(p, mask, layers, segments, weight_decay=0.1, momentum=0.9, trust=trust, rates=rates)
    expected = naive.lars(p.astype(float), gradients, mask, spans, rate, 0.1, 0.9, trust, rates == "clipped")
    np.testing.assert_allclose(walk(made, p, gradients, rate), expected, rtol=error, atol=error)


def test_clipped_rates_are_those_of_the_rule_by_hand():
    """|p| = 5, |g| = 2, no decay. trust 0.04: own rate 0.1, below the common 1; trust 4: own rate 10, which is cut to 1."""
    for trust, moved in ((0.04, 0.1), (4.0, 1.0)):
        p, g = np.array([3.0, 4.0]), np.array([2.0, 0.0])
        optimise.Lars(p, np.ones(2, np.uint8), layers, [("w", 0, 2, ())], trust=trust, rates="clipped").step(p, g, 1.0)
        np.testing.assert_allclose(p, [3.0 - 2.0 * moved, 4.0], rtol=1e-15)


class Slopes:
    def __init__(self, gradients):
        self.gradients = np.array(gradients)


@pytest.mark.parametrize("most, left", [(1.0, 1.0 / 13.0), (13.0, 1.0), (20.0, 1.0), (2.6, 0.2)])
def test_gradients_are_clipped_by_their_common_norm(most, left):
    """3, 4, 12: 13 together."""
    parts = [Slopes([3.0, 4.0]), Slopes(np.float32([12.0]))]
    assert optimise.clip_gradients(parts, most, layers) == pytest.approx(13.0, rel=1e-14)
    for part, whole in zip(parts, ([3.0, 4.0], [12.0]), strict=True):
        np.testing.assert_allclose(part.gradients, left * np.array(whole), rtol=1e-7)
    broken = [Slopes([np.nan, 1.0])]
    assert np.isnan(optimise.clip_gradients(broken, most, layers)) and broken[0].gradients[1] == 1.0


def large(name):
    size = 3 * CHUNK + 17
    p, gradients, mask = problem(size, 0, "float32")
    segments = [("a", 0, CHUNK + 5, ()), ("b", CHUNK + 5, size, ())]
    return p, gradients[:3], optimise.make(name, p, mask, layers, segments, weight_decay=0.1)


@pytest.mark.parametrize("name", PICTURE_OPTIMISERS)
def test_the_bits_do_not_depend_on_the_number_of_threads(name):
    results, before = [], numba.get_num_threads()
    for threads in (1, before):
        p, gradients, made = large(name)
        numba.set_num_threads(threads)
        try:
            results.append(walk(made, p, gradients, 0.01))
        finally:
            numba.set_num_threads(before)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize("name", PICTURE_OPTIMISERS)
def test_vectors_of_several_chunks_are_updated_to_the_end(name):
    p, gradients, made = large(name)
    mask = made.decays
    spans = [(0, CHUNK + 5), (CHUNK + 5, len(p))]
    exact = p.astype(float)
    expected = {
        "sgd": lambda: naive.sgd(exact, gradients, mask, 0.01, 0.1, 0.9, False),
        "adam": lambda: naive.adam(exact, gradients, mask, 0.01, 0.1, (0.9, 0.999), 1e-8),
        "adamw": lambda: naive.adamw(exact, gradients, mask, 0.01, 0.1, (0.9, 0.999), 1e-8),
        "lars": lambda: naive.lars(exact, gradients, mask, spans, 0.01, 0.1, 0.9, 0.001),
    }[name]()
    np.testing.assert_allclose(walk(made, p, gradients, 0.01), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", PICTURE_OPTIMISERS)
def test_a_run_goes_on_from_what_was_saved(name):
    p, gradients, mask = problem(30, 3, "float32")
    segments = [("a", 0, 30, ())]
    straight = optimise.make(name, p, mask, layers, segments, weight_decay=0.01)
    whole = walk(straight, p, gradients, 0.01)
    first = optimise.make(name, p, mask, layers, segments, weight_decay=0.01)
    half = walk(first, p, gradients[:4], 0.01)
    second = optimise.make(name, p, mask, layers, segments, weight_decay=0.01)
    second.load(first.save())
    np.testing.assert_array_equal(walk(second, half, gradients[4:], 0.01), whole)
    with pytest.raises(SettingError):
        optimise.make(name, p[:-1], mask[:-1], layers, [("a", 0, 29, ())]).load(first.save())


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("dtype, error", [("float64", 1e-12), ("float32", 2e-6)])
def test_sgd_is_torch_optim(nesterov, dtype, error):
    torch = pytest.importorskip("torch", reason="torch is not installed: its optimisers are not compared")
    p, gradients, _ = problem(50, 1, dtype)
    made = optimise.Sgd(p, np.ones(50, np.uint8), layers, 0.02, 0.9, nesterov)
    other = torch.nn.Parameter(torch.tensor(p))
    peer = torch.optim.SGD([other], lr=0.03, momentum=0.9, weight_decay=0.02, nesterov=nesterov)
    for g in gradients:
        made.step(p, g, 0.03)
        other.grad = torch.tensor(g)
        peer.step()
    np.testing.assert_allclose(p, other.detach().numpy(), rtol=error, atol=error)


@pytest.mark.parametrize("dtype, error", [("float64", 1e-12), ("float32", 2e-6)])
def test_adam_is_torch_optim(dtype, error):
    torch = pytest.importorskip("torch", reason="torch is not installed: its optimisers are not compared")
    p, gradients, _ = problem(50, 2, dtype)
    made = optimise.Adam(p, np.ones(50, np.uint8), layers, 0.02)
    other = torch.nn.Parameter(torch.tensor(p))
    peer = torch.optim.Adam([other], lr=0.003, weight_decay=0.02)
    for g in gradients:
        made.step(p, g, 0.003)
        other.grad = torch.tensor(g)
        peer.step()
    np.testing.assert_allclose(p, other.detach().numpy(), rtol=error, atol=error)


def test_a_tensor_without_norm_keeps_the_rate():
    assert updates.trust_ratio(0.01, 0.0, 1.0, 0.1) == 1.0
    assert updates.trust_ratio(0.01, 2.0, 0.0, 0.1) == 1.0
    assert updates.trust_ratio(0.01, 2.0, 0.3, 0.1) == pytest.approx(0.01 * 2.0 / 0.5)


@pytest.mark.parametrize(
    "call, word",
    [
        (lambda p, d: optimise.make("adamax", p, d, layers), "optimiser='adamax'"),
        (lambda p, d: optimise.make("lars", p, d, layers, [("a", 0, 5, ())], rates="cut"), "rates='cut'"),
        (lambda p, d: optimise.make("adam", p, d, layers, betas=(0.9, 1.0)), "betas="),
        (lambda p, d: optimise.make("sgd", p, d, layers, momentum=-0.1), "momentum=-0.1"),
        (lambda p, d: optimise.make("sgd", p, d[:-1], layers), "decays="),
        (lambda p, d: optimise.make("lars", p, d, layers, [("a", 0, 3, ())]), "segments="),
    ],
)
def test_what_is_refused(call, word):
    with pytest.raises(SettingError, match=word) as raised:
        call(np.zeros(5), np.ones(5, np.uint8))
    assert "\n" not in str(raised.value)
