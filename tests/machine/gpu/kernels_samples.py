"""The kernels of minibatches against the CPU's, in the simulator or on a device; batches that fill no block."""

import numpy as np
import pytest

import dynlab
from dynlab import Model, Training
from dynlab.machine import gpu
from dynlab.population.starts import draw_start
from dynlab.samples import cuda, gradient, kernels
from dynlab.samples.generator import samples
from tests.samples.naive_batch import naive_sums

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
BATCH, DIM = 13, 9
SMALL = {"patches": 6, "feature_patches": 2}


def run(kernel, threads, *arguments):
    device = gpu.to_device(arguments)
    kernel[gpu.blocks_for(threads, cuda.BLOCK), cuda.BLOCK](*device)
    return gpu.to_host(device)


def problem(model, training, precision="float64", data=None):
    rng = np.random.default_rng(0)
    m = model.neurons
    head = np.eye(m) + (0.0 if training.head == "none" else 0.3) * rng.normal(size=(m, m)) * (1 - np.eye(m))
    state = rng.normal(size=(m, DIM)), head, rng.normal(size=(m, DIM)) if training.target == "average" else None
    source = gradient.Source(2**35 + 3, data)
    kinds = gradient.Minibatch, cuda.DeviceMinibatch
    return [kind(model, training, DIM, BATCH, source, precision) for kind in kinds], state


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_draws_are_the_same_bits(precision):
    (work, _), _ = problem(Model(**SMALL), Training(), precision)
    numbers = work._numbers(7)
    width = work.blocks * gradient.PRECISIONS[precision][1]
    order = np.array([0, 3, 2**32 - 2, 11, 5])
    out = run(cuda.fill, 5 * 6 * work.blocks, numbers, order, np.zeros((5, 6, width), work.dtype))[-1]
    keys = int(numbers[kernels.KEY_0]), int(numbers[kernels.KEY_1])
    for s, sample in enumerate(order):
        for p in range(6):
            row = np.zeros(width, work.dtype)
            kernels.fill_patch(p, int(sample), 7, *keys, work.blocks, row)
            np.testing.assert_array_equal(out[s, p], row)


@pytest.mark.parametrize("mask", ["half", "independent"])
def test_contents(mask):
    model = Model(mask=mask, **SMALL)
    (work, _), _ = problem(model, Training())
    drawn = samples(model, DIM, BATCH, seed=2**35 + 3, step=7)
    kept = np.zeros((BATCH, 6), np.int8), np.zeros((BATCH, 6), np.int8), np.zeros(BATCH, np.int64), np.zeros(BATCH)
    _, _, carries, view, feature, sign = run(cuda.contents, BATCH, work._numbers(7), np.arange(BATCH), *kept)
    np.testing.assert_array_equal(view, drawn.view)
    np.testing.assert_array_equal(feature, drawn.feature)
    np.testing.assert_array_equal(sign, drawn.sign)
    shown = (drawn.patches[:, :, : model.features] != 0).any(2)
    np.testing.assert_array_equal(carries, shown)


def test_moments_and_folds_against_plain_sums():
    rng = np.random.default_rng(0)
    z, chunks = rng.normal(size=(29, 3)), 7
    sums = run(cuda.column_sums, chunks * 3, z, chunks, np.zeros((chunks, 3)))[-1]
    mean = sums.sum(0) / 29
    np.testing.assert_allclose(mean, z.mean(0), rtol=1e-13)
    products = run(cuda.product_sums, chunks * 9, z, mean, chunks, np.zeros((chunks, 3, 3)))[-1]
    np.testing.assert_allclose(products.sum(0) / 29, np.cov(z.T, bias=True), rtol=1e-12)
    parts = rng.normal(size=(11, 23))
    assert (run(cuda.fold, 23, parts, np.zeros(23))[-1] == naive_sums(parts)).all()
    const, linear = rng.normal(size=3), rng.normal(size=(3, 3))
    slopes = run(cuda.output_slopes, z.size, const, linear, mean, z, np.zeros_like(z))[-1]
    np.testing.assert_allclose(slopes, (const + (z - mean) @ linear.T) / 29, rtol=1e-12, atol=1e-15)
    feature = rng.integers(0, 2, 29)
    own = run(cuda.signal_sums, chunks * 6, z, feature, chunks, np.zeros((chunks, 3, 2)))[-1].sum(0)
    np.testing.assert_allclose(own, np.stack([z[feature == l].sum(0) for l in (0, 1)], 1), rtol=1e-12)


CASES = {
    "cubic": ({}, Training(), "float64"), "relu": ({"activation": "relu"}, Training(), "float64"),
    "relu3": ({"activation": "relu3"}, Training(head="none"), "float64"), "single": ({}, Training(), "float32"),
    "linear head": ({"neurons": 4}, Training(head="linear"), "float64"),
    "eight": ({"neurons": 8, "activation": "linear"}, Training(), "float64"),
    "average": ({"mask": "independent"}, Training(target="average", symmetric=True), "float64"),
    "average, one way": ({}, Training(target="average"), "float64"),
    "both sides": ({}, Training(stop_gradient="none"), "float64"),
    "length": ({}, Training(normalisation="length"), "float64"),
    "barlow": ({}, Training(objective="barlow-twins", head="none", stop_gradient="none"), "float64"),
    "directpred": ({}, Training(head="directpred"), "float32"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("data", [None, 29])
def test_gradients(name, data):
    shape, training, precision = CASES[name]
    (here, there), state = problem(Model(**SMALL, **shape), training, precision, data)
    a, b = here.gradient(5, *state), there.gradient(5, *state)
    rtol, atol = (1e-9, 1e-12) if precision == "float64" else (1e-4, 1e-5)
    assert a.problem == b.problem
    for field in ("loss", "d_weights", "d_head", "head"):
        np.testing.assert_allclose(getattr(a, field), getattr(b, field), rtol=rtol, atol=atol, err_msg=field)
    np.testing.assert_allclose(here.outputs(5, *state[::2]), there.outputs(5, *state[::2]), rtol=rtol, atol=atol)


def test_gradient_does_not_depend_on_the_launch(monkeypatch):
    (_, work), state = problem(Model(**SMALL), Training())
    first = work.gradient(5, *state)
    for block in (8, 32):
        monkeypatch.setattr(cuda, "BLOCK", block)
        again = work.gradient(5, *state)
        np.testing.assert_array_equal(first.d_weights, again.d_weights)
        assert first.loss == again.loss


def test_training():
    model = Model(**SMALL)
    how = {"method": "sgd", "dim": DIM, "batch": BATCH, "steps": 5, "eta": 0.01, "seed": 3}
    here, there = (dynlab.simulate(model, draw_start(model, DIM, 0, 0), device=d, **how) for d in ("cpu", "cuda"))
    assert there.settings["device"].startswith("cuda (")
    for name in ("time", "signal", "noise_gram", "head", "loss"):
        np.testing.assert_allclose(getattr(here, name), getattr(there, name), rtol=1e-9, atol=1e-12, err_msg=name)


def test_what_has_no_kernel_is_refused():
    model = Model(neurons=9)
    with pytest.raises(dynlab.SettingError, match="up to 8 neurons"):
        dynlab.minibatch_gradient(model, Training(), np.ones((9, 12)), batch=4, device="cuda")
