"""Layer functions against loops, and derivatives against differences, in float64 and float32."""

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynlab.images.layers import pointwise as the_pointwise
from dynlab.images.layers.convolution import convolution_work, convolve, convolve_backward_data, convolve_backward_weights
from dynlab.images.layers.dense import matmul, multiply_packed, packed
from dynlab.images.layers.normalise import batch_norm, batch_norm_backward, batch_norm_inference, update_running
from dynlab.images.layers.pointwise import add, cube, cube_backward, relu_backward, relu_cube, relu_cube_backward
from dynlab.images.layers.pool import max_pool, max_pool_backward, mean_pool, mean_pool_backward
from tests import naive_layers as naive

TOLERANCE = {"float64": 1e-12, "float32": 2e-5}


def normal(seed, *shape, dtype="float64"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(got, want, dtype="float64"):
    """Equal up to rounding of sums of such numbers."""
    return np.allclose(got, want, rtol=0.0, atol=TOLERANCE[dtype] * (1.0 + np.abs(want).max()))


def slope(function, x, direction, step=1e-6):
    """Derivative of a scalar function along a direction, by a central difference."""
    return (function(x + step * direction) - function(x - step * direction)) / (2.0 * step)


def check_convolution(n, h, w, c_in, c_out, k, stride, dtype):
    x, weights = normal(1, n, h, w, c_in, dtype=dtype), normal(2, k, k, c_in, c_out, dtype=dtype)
    want = naive.convolve(x, weights, stride)
    work = convolution_work(x.shape, weights.shape, stride, dtype)
    out = np.full(want.shape, np.nan, dtype)
    assert close(convolve(x, weights, stride, out, work), want, dtype)
    d_out = normal(3, *want.shape, dtype=dtype)
    want_x, want_w = naive.convolve_gradients(x, weights, d_out, stride)
    d_x, d_w = np.full(x.shape, np.nan, dtype), np.full(weights.shape, np.nan, dtype)
    assert close(convolve_backward_data(d_out, weights, stride, d_x, work), want_x, dtype)
    assert close(convolve_backward_weights(x, d_out, stride, d_w, work), want_w, dtype)
    assert close(convolve(x, weights, stride, np.full(want.shape, np.nan, dtype), work), want, dtype)


@given(
    st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.integers(1, 20), st.integers(1, 40),
    st.sampled_from((1, 3)), st.integers(1, 3), st.sampled_from(("float32", "float64")),
)  # fmt: skip
@settings(max_examples=30)
def test_convolutions_are_the_loops(n, h, w, c_in, c_out, k, stride, dtype):
    check_convolution(n, h, w, c_in, c_out, k, stride, dtype)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "shape",
    [
        (3, 14, 13, 3, 32, 3, 1),  # a margin; more places than a task and a part have
        (7, 9, 9, 64, 96, 3, 2),  # several panels and tiles, all of them whole
        (5, 12, 11, 9, 33, 1, 2),  # rows and columns that no tap reaches; a panel of one column
        (1, 3, 1100, 17, 8, 1, 1),  # many parts
    ],
)
def test_convolutions_of_many_tiles_are_the_loops(shape, dtype):
    check_convolution(*shape, dtype)


@pytest.mark.parametrize(("k", "stride"), [(1, 1), (1, 2), (3, 1), (3, 2)])
def test_gradients_of_a_convolution_are_its_differences(k, stride):
    x, w = normal(1, 2, 5, 6, 4), normal(2, k, k, 4, 5)
    work = convolution_work(x.shape, w.shape, stride, "float64")
    shape = naive.convolve(x, w, stride).shape
    d_out = normal(3, *shape)

    def loss(x, w):
        return float((convolve(x, w, stride, np.empty(shape), work) * d_out).sum())

    along_x, along_w = normal(4, *x.shape), normal(5, *w.shape)
    d_x = convolve_backward_data(d_out, w, stride, np.empty_like(x), work)
    d_w = convolve_backward_weights(x, d_out, stride, np.empty_like(w), work)
    assert np.isclose((d_x * along_x).sum(), slope(lambda x: loss(x, w), x, along_x), rtol=1e-7)
    assert np.isclose((d_w * along_w).sum(), slope(lambda w: loss(x, w), w, along_w), rtol=1e-7)


def norm_case(rows, c, groups, affine, residual, dtype="float64"):
    x = 2.0 * normal(1, rows, c, dtype=dtype) + normal(2, c, dtype=dtype)
    scale, shift = (normal(3, c, dtype=dtype), normal(4, c, dtype=dtype)) if affine else (None, None)
    beside = normal(5, rows, c, dtype=dtype) if residual else None
    statistics = np.full((2, groups, c), np.nan, dtype)
    return x, scale, shift, beside, statistics


NORMS = [(14, 3, 1), (14, 5, 2), (2050, 37, 2), (6, 1, 3), (1026, 64, 1)]


@pytest.mark.parametrize(("rows", "c", "groups"), NORMS)
@pytest.mark.parametrize(("relu", "residual", "affine"), [(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 0), (0, 0, 0)])
def test_batch_norm_is_the_loops(rows, c, groups, relu, residual, affine):
    for dtype in ("float32", "float64"):
        x, scale, shift, beside, (mean, inverse) = norm_case(rows, c, groups, affine, residual, dtype)
        want, means, variances = naive.batch_norm(x, groups, scale, shift, 1e-3, relu, beside)
        out = np.full(x.shape, np.nan, dtype)
        batch_norm(x, groups, scale, shift, 1e-3, out, mean, inverse, bool(relu), beside)
        assert close(out, want, dtype)
        assert close(mean, means, dtype)
        assert close(inverse, 1.0 / np.sqrt(variances + 1e-3), dtype)


@pytest.mark.parametrize(("rows", "c", "groups"), NORMS)
@pytest.mark.parametrize(("relu", "residual", "affine"), [(0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 0), (0, 0, 0)])
def test_gradients_of_batch_norm_are_its_differences(rows, c, groups, relu, residual, affine):
    x, scale, shift, beside, (mean, inverse) = norm_case(rows, c, groups, affine, residual)
    d_out = normal(6, rows, c)

    def loss(x, scale, shift, beside):
        out, aside = np.empty_like(x), np.empty((2, groups, c))
        batch_norm(x, groups, scale, shift, 1e-3, out, *aside, bool(relu), beside)
        return float((out * d_out).sum())

    out = np.empty_like(x)
    batch_norm(x, groups, scale, shift, 1e-3, out, mean, inverse, bool(relu), beside)
    gradients = [np.full(x.shape, np.nan), *(np.full(c, np.nan) if affine else None for _ in range(2))]
    d_beside = np.full(x.shape, np.nan) if residual else None
    arguments = (x, out, groups, mean, inverse, scale)
    batch_norm_backward(d_out, *arguments, *gradients, bool(relu), d_beside)
    inputs = [x, scale, shift, beside]
    for i, gradient in enumerate([*gradients, d_beside]):
        if gradient is None:
            continue
        along = normal(7 + i, *gradient.shape)
        before, after = inputs[:i], inputs[i + 1 :]
        numeric = slope(lambda v, a=before, b=after: loss(*a, v, *b), inputs[i], along, 1e-7)
        assert np.isclose((gradient * along).sum(), numeric, rtol=1e-5, atol=1e-5)
    in_place = d_out.copy()
    again = np.empty_like(x) if residual else None
    batch_norm_backward(in_place, *arguments, in_place, *gradients[1:], bool(relu), again)
    assert close(in_place, gradients[0])
    assert again is None or np.array_equal(again, d_beside)


def test_the_variance_survives_a_large_mean():
    x = normal(1, 4000, 6, dtype="float32") + np.float32(3000.0)
    mean, inverse = np.empty((2, 1, 6), "float32")
    batch_norm(x, 1, None, None, 0.0, np.empty_like(x), mean, inverse)
    assert np.allclose(inverse, 1.0 / x.astype(float).std(axis=0), rtol=1e-4)


def test_running_statistics_follow_each_group_and_serve_inference():
    x, (mean, inverse) = normal(1, 12, 5), np.empty((2, 2, 5))
    batch_norm(x, 2, None, None, 1e-3, np.empty_like(x), mean, inverse)
    running_mean, running_variance = np.zeros(5), np.ones(5)
    update_running(mean, inverse, 1e-3, 6, 0.1, running_mean, running_variance)
    want_mean, want_variance = np.zeros(5), np.ones(5)
    for part in (x[:6], x[6:]):
        want_mean = 0.9 * want_mean + 0.1 * part.mean(axis=0)
        want_variance = 0.9 * want_variance + 0.1 * part.var(axis=0, ddof=1)
    assert close(running_mean, want_mean)
    assert close(running_variance, want_variance)
    scale, shift, beside = normal(2, 5), normal(3, 5), normal(4, 12, 5)
    plain = scale * (x - want_mean) / np.sqrt(want_variance + 1e-3) + shift
    out = np.empty_like(x)
    assert close(batch_norm_inference(x, want_mean, want_variance, scale, shift, 1e-3, out), plain)
    batch_norm_inference(x, want_mean, want_variance, scale, shift, 1e-3, out, True, beside)
    assert close(out, np.maximum(plain + beside, 0.0))
    batch_norm_inference(x, want_mean, want_variance, None, None, 1e-3, out)
    assert close(out, (x - want_mean) / np.sqrt(want_variance + 1e-3))


PAIRS = {
    "relu": (the_pointwise.relu, relu_backward, lambda z: np.maximum(z, 0.0)),
    "cube": (cube, cube_backward, lambda z: z**3),
    "relu_cube": (relu_cube, relu_cube_backward, lambda z: np.maximum(z, 0.0) ** 3),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pointwise_functions(name):
    forward, backward, want = PAIRS[name]
    x, d_out, along = normal(1, 5, 3501), normal(2, 5, 3501), normal(3, 5, 3501)
    assert close(forward(x, np.empty_like(x)), want(x))
    d_x = backward(d_out, x, np.empty_like(x))
    assert np.isclose((d_x * along).sum(), slope(lambda x: (want(x) * d_out).sum(), x, along, 1e-7), rtol=1e-5)
    assert np.array_equal(backward(in_place := d_out.copy(), x, in_place), d_x)
    assert np.isnan(forward(np.array([np.nan]), np.empty(1))[0])


def test_add():
    x, y = normal(1, 4, 4100), normal(2, 4, 4100)
    for out in (np.empty_like(x), x.copy(), y.copy()):
        first, second = (out if np.array_equal(out, x) else x), (out if np.array_equal(out, y) else y)
        assert np.array_equal(add(first, second, out), x + y)


def test_batch_norm_lets_what_is_not_a_number_through_its_relu():
    x = normal(1, 8, 3)
    x[2, 1] = np.nan
    out = batch_norm(x, 1, None, None, 1e-5, np.empty_like(x), *np.empty((2, 1, 3)), True)
    assert np.isnan(out[:, 1]).all()
    assert np.isfinite(out[:, [0, 2]]).all()


@pytest.mark.parametrize("total", [False, True])
def test_mean_pool(total):
    x, d_out = normal(1, 3, 5, 4, 7), normal(2, 3, 7)
    want = x.sum(axis=(1, 2)) if total else x.mean(axis=(1, 2))
    assert close(mean_pool(x, np.empty((3, 7)), total), want)
    d_x = mean_pool_backward(d_out, np.empty_like(x), total)
    assert np.isclose((d_x * x).sum(), (want * d_out).sum())
    assert close(d_x, np.broadcast_to(d_x[:, :1, :1], d_x.shape))


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (3, 1), (1, 1)])
def test_max_pool(size, stride):
    x = normal(1, 2, 7, 6, 3)
    want = naive.max_pool(x, size, stride)
    out, where = np.empty(want.shape), np.empty(want.shape, np.uint8)
    assert np.array_equal(max_pool(x, size, stride, out, where), want)
    d_out, along = normal(2, *want.shape), normal(3, *x.shape)
    d_x = max_pool_backward(d_out, where, size, stride, np.full(x.shape, np.nan))
    numeric = slope(lambda x: (naive.max_pool(x, size, stride) * d_out).sum(), x, along, 1e-7)
    assert np.isclose((d_x * along).sum(), numeric, rtol=1e-6)


def test_max_pool_takes_the_first_of_equal_ones():
    out, where = np.empty((1, 1, 1, 1)), np.empty((1, 1, 1, 1), np.uint8)
    max_pool(np.zeros((1, 2, 2, 1)), 2, 2, out, where)
    assert where[0, 0, 0, 0] == 0


@given(st.integers(1, 40), st.integers(1, 70), st.integers(1, 70), st.sampled_from(("float32", "float64")))
@settings(max_examples=15)
def test_matmul_is_the_product(m, k, n, dtype):
    a, b, start = normal(1, m, k, dtype=dtype), normal(2, k, n, dtype=dtype), normal(3, m, n, dtype=dtype)
    want = a.astype(float) @ b.astype(float)
    for left, right, words in (
        (a, b, {}),
        (np.ascontiguousarray(a.T), b, {"transpose_a": True}),
        (a, np.ascontiguousarray(b.T), {"transpose_b": True}),
        (np.asfortranarray(a), b[:, :], {}),
    ):
        assert close(matmul(left, right, np.full((m, n), np.nan, dtype), **words), want, dtype)
        assert close(matmul(left, right, start.copy(), accumulate=True, **words), want + start, dtype)


def test_arrays_that_do_not_fit_are_refused():
    x, w, out = normal(1, 2, 4, 4, 3), normal(2, 3, 3, 3, 5), np.empty((2, 4, 4, 5))
    work = convolution_work(x.shape, w.shape, 1, "float64")
    for wrong in ((x[:1], w, 1, out), (x, w, 2, out), (x.astype("float32"), w, 1, out), (x, w, 1, out[:, :3])):
        with pytest.raises(ValueError, match="scratch is for x, w, out of shapes"):
            convolve(*wrong, work)
    a, b, out = normal(1, 4, 5), normal(2, 5, 6), np.empty((4, 6))
    for wrong in ((a, b[:4], out), (a, b, out[:3]), (a.astype("float32"), b, out)):
        with pytest.raises(ValueError, match="matmul"):
            matmul(*wrong)


def test_products_with_a_packed_matrix_take_some_columns_of_the_left():
    """As often as it stands on the right, a matrix is packed once; its first columns are a matrix in the same memory."""
    a, b = normal(1, 7, 50, dtype="float32"), normal(2, 41, 90, dtype="float32")
    right, out = packed(b), np.empty((7, 90), "float32")
    for first in (0, 4, 9):
        assert close(multiply_packed(a, right, out, first), a[:, first : first + 41].astype(float) @ b, "float32")
    assert close(multiply_packed(a, packed(b.T.copy(), transpose=True), out), a[:, :41].astype(float) @ b, "float32")
    some = np.empty((7, 33), "float32")
    assert close(multiply_packed(a, right.first_columns(33), some), a[:, :41].astype(float) @ b[:, :33], "float32")
    for low, high in ((0, 90), (5, 37), (64, 90)):
        assert (right.columns_turned(low, high) == b[:, low:high].T).all()
    for wrong in ((a, right, out, 10), (a, right, out[:, :89]), (a, right, out.astype(float)), (a[:6], right, out)):
        with pytest.raises(ValueError, match="multiply_packed"):
            multiply_packed(*wrong)


def test_matmul_of_many_rows():
    a, b = normal(1, 3000, 20), normal(2, 3000, 35)
    assert close(matmul(a, b, np.empty((20, 35)), transpose_a=True), a.T @ b)


def test_bits_do_not_depend_on_the_number_of_threads():
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("one core: nothing to compare")
    x, w = normal(1, 9, 11, 10, 20, dtype="float32"), normal(2, 3, 3, 20, 40, dtype="float32")
    work = convolution_work(x.shape, w.shape, 1)
    before, answers = numba.get_num_threads(), []
    try:
        for threads in (1, 2):
            numba.set_num_threads(threads)
            out, d_x, d_w = np.empty((9, 11, 10, 40), "float32"), np.empty_like(x), np.empty_like(w)
            convolve(x, w, 1, out, work)
            convolve_backward_data(out, w, 1, d_x, work)
            convolve_backward_weights(x, out, 1, d_w, work)
            flat, made = out.reshape(-1, 40), [np.empty((2, 40), "float32") for _ in range(2)]
            normed, d_flat = np.empty_like(flat), np.empty_like(flat)
            batch_norm(flat, 2, w[0, 0, 0], w[0, 0, 1], 1e-5, normed, *made, True)
            sums = [np.empty(40, "float32") for _ in range(2)]
            batch_norm_backward(flat, flat, normed, 2, *made, w[0, 0, 0], d_flat, *sums, True)
            product = matmul(flat, normed, np.empty((40, 40), "float32"), transpose_a=True)
            answers.append([a.tobytes() for a in (out, d_x, d_w, normed, *made, d_flat, *sums, product)])
    finally:
        numba.set_num_threads(before)
    assert answers[0] == answers[1]
