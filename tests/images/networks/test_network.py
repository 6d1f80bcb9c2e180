"""Whole networks: gradients by differences, memory, groups, inference, starts, and that they compute through ops alone."""

import gc
import tracemalloc
import types

import numpy as np
import pytest
from numba.core.runtime import _nrt_python, rtsys

from dynlab.images import layers
from dynlab.images.networks import encoders
from dynlab.images.networks.network import DOMAIN_START, Network
from dynlab.images.networks.nodes import Activation, BatchNorm, Convolution, Linear, MaxPool, MeanPool, Patches, Residual
from dynlab.machine import rng
from dynlab.tools.checks import SettingError

SMALL = [
    Convolution(6),
    BatchNorm(relu=True),
    Residual((Convolution(6), BatchNorm(relu=True), Convolution(6), BatchNorm())),
    Residual((Convolution(9, 3, 2), BatchNorm()), (Convolution(9, 1, 2), BatchNorm())),
    MeanPool(),
]
OTHER = [
    Patches(2),
    Linear(7),
    Activation("relu3"),
    MaxPool(2, 1),
    Activation(),
    MeanPool(total=True),
    BatchNorm(affine=False),
]


def normal(seed, *shape, dtype="float64"):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def network(described, shape, dtype="float64", seed=3):
    made = Network(described, shape, layers, dtype)
    made.initialise(seed)
    return made


@pytest.mark.parametrize(
    ("described", "shape", "groups"),
    [
        (SMALL, (7, 6, 3), 2),
        (OTHER, (9, 8, 1), 1),
        (encoders.encoder("demo"), (11, 12, 3), 2),
        (encoders.encoder("patch", phi="cubic"), (9, 8, 3), 1),
        (encoders.projector((9, 8, 7)), (12,), 2),
        (encoders.projector((8, 5), final_norm=True), (12,), 1),
    ],
)
def test_gradients_are_differences(described, shape, groups):
    net = network(described, shape)
    net.parameters += 0.1 * normal(5, *net.parameters.shape)  # scales and shifts that are not 1 and 0
    x = normal(1, 12, *shape)
    d_y = normal(2, 12, *net.output_shape)
    net.forward(x, groups)
    d_x = net.backward(d_y, need_input_gradient=True).copy()
    gradients = net.gradients.copy()

    def slope(array, direction, step=1e-7):
        values, start = [], array.copy()
        for sign in (1.0, -1.0):
            array[...] = start + sign * step * direction
            values.append(float((net.forward(x, groups) * d_y).sum()))
        array[...] = start
        return (values[0] - values[1]) / (2.0 * step)

    for _, start, stop, _ in net.segments:
        along = np.zeros_like(net.parameters)
        along[start:stop] = normal(start, stop - start)
        assert np.isclose(gradients @ along, slope(net.parameters, along), rtol=1e-4, atol=1e-4)
    along = normal(4, *x.shape)
    assert np.isclose((d_x * along).sum(), slope(x, along), rtol=1e-4, atol=1e-4)


def step(net, x, d_y, groups=2):
    net.forward(x, groups)
    net.backward(d_y)
    return net.gradients.tobytes()


def test_backward_overwrites_gradients_and_leaves_what_it_was_given():
    net = network(SMALL, (7, 6, 3), "float32")
    x, d_y = normal(1, 4, 7, 6, 3, dtype="float32"), normal(2, 4, 9, dtype="float32")
    before = x.tobytes(), d_y.tobytes()
    first = step(net, x, d_y)
    assert step(net, x, d_y) == first
    assert (x.tobytes(), d_y.tobytes()) == before
    net.backward(d_y, need_input_gradient=True)
    assert net.gradients.tobytes() == first


def test_the_last_norm_does_not_write_into_the_gradient_it_is_given():
    net = network([Linear(5), BatchNorm()], (4,))
    x, d_y = normal(1, 6, 4), normal(2, 6, 5)
    before = d_y.copy()
    step(net, x, d_y)
    assert np.array_equal(d_y, before)


def test_steps_do_not_grow():
    net = network(SMALL, (7, 6, 3), "float32")
    x, d_y = normal(1, 8, 7, 6, 3, dtype="float32"), normal(2, 8, 9, dtype="float32")

    def several(count):
        for _ in range(count):
            step(net, x, d_y)
            net.forward(x, training=False)

    _nrt_python.memsys_enable_stats()
    several(3)
    y = net.forward(x, 2)
    tracemalloc.start()
    try:
        several(2)
        gc.collect()
        before, held = tracemalloc.get_traced_memory()[0], rtsys.get_allocation_stats()
        several(30)
        gc.collect()
        after, still = tracemalloc.get_traced_memory()[0], rtsys.get_allocation_stats()
    finally:
        tracemalloc.stop()
    # One of a step's smaller results kept by each step would be 50 KB, one array of the kernels' own 30 of them.
    assert after - before < 16384
    assert (still.alloc - still.free) - (held.alloc - held.free) < 15
    assert net.forward(x, 2) is y
    net.release()
    assert net.forward(x, 2) is not y


def test_numbers_of_rows_and_groups_may_change_from_step_to_step():
    net, fresh = (network(SMALL, (7, 6, 3), "float32") for _ in range(2))
    cases = {}
    for rows, groups in [(8, 2), (4, 1), (8, 1), (8, 2), (4, 2), (8, 4)]:
        x, d_y = normal(rows, rows, 7, 6, 3, dtype="float32"), normal(2, rows, 9, dtype="float32")
        cases[rows, groups] = step(net, x, d_y, groups)
        fresh.release()
        assert step(fresh, x, d_y, groups) == cases[rows, groups]
    assert len(set(cases.values())) == len(cases)


def test_groups_are_batches_of_their_own():
    net, other = network(SMALL, (7, 6, 3)), network(SMALL, (7, 6, 3))
    x, d_y = normal(1, 8, 7, 6, 3), normal(2, 8, 9)
    y = net.forward(x, 2).copy()
    net.backward(d_y)
    total = np.zeros_like(net.gradients)
    for half in (slice(0, 4), slice(4, 8)):
        assert np.allclose(other.forward(x[half]), y[half], rtol=0.0, atol=1e-12)
        other.backward(d_y[half])
        total += other.gradients
    assert np.allclose(net.gradients, total, rtol=0.0, atol=1e-11)
    assert np.allclose(net.buffers, other.buffers, rtol=0.0, atol=1e-12)
    assert not np.allclose(net.forward(x, 1), y)


def test_inference_uses_running_statistics_and_changes_nothing():
    net = network(SMALL, (7, 6, 3))
    x = normal(1, 8, 7, 6, 3)
    for _ in range(400):
        y = net.forward(x, 1)
    buffers = net.buffers.copy()
    alone = np.concatenate([net.forward(x[i : i + 1], training=False).copy() for i in range(8)])
    together = net.forward(x, training=False)
    assert np.allclose(alone, together, rtol=0.0, atol=1e-12)
    assert np.array_equal(net.buffers, buffers)
    # The running variance is the unbiased one: with the fewest rows (8 x 4 x 3 places) it is a hundredth larger.
    assert np.allclose(together, y, rtol=0.0, atol=0.1)
    with pytest.raises(RuntimeError, match="training"):
        net.backward(normal(2, 8, 9))


def test_flat_vectors():
    net = network(SMALL + [Linear(4)], (7, 6, 3), "float32")
    assert [start for _, start, _, _ in net.segments] == [0] + [stop for _, _, stop, _ in net.segments[:-1]]
    assert net.segments[-1][2] == len(net.parameters) == len(net.gradients) == len(net.decays)
    assert len({name for name, *_ in net.segments}) == len(net.segments)
    assert net.decays.dtype == np.uint8
    for name, start, stop, shape in net.segments:
        assert (net.decays[start:stop] == name.endswith("weight")).all()
        assert stop - start == np.prod(shape)
    # Views: a change of the flat vector is a change of the network.
    x = normal(1, 4, 7, 6, 3, dtype="float32")
    net.parameters[...] = 0.0
    assert not net.forward(x).any()


def test_starts():
    net = network([Convolution(40), BatchNorm(), MeanPool(), Linear(60), Linear(50, bias=False, start="normal")], (8, 8, 30))
    part = {name: net.parameters[start:stop] for name, start, stop, _ in net.segments}
    convolution = part["0.convolution.weight"]
    assert np.isclose(convolution.std(), np.sqrt(2.0 / (9 * 40)), rtol=0.03)
    assert abs(convolution.mean()) < 0.03 * convolution.std()
    assert (part["1.batchnorm.scale"] == 1.0).all() and not part["1.batchnorm.shift"].any()
    for name in ("3.linear.weight", "3.linear.bias"):
        assert np.abs(part[name]).max() < 1.0 / np.sqrt(40)
    assert np.isclose(part["3.linear.weight"].std(), 1.0 / np.sqrt(3 * 40), rtol=0.05)
    assert np.isclose(part["4.linear.weight"].std(), 1.0 / np.sqrt(60), rtol=0.05)
    # Number i of segment s of stream t under a seed, by the undecorated generator.
    net.initialise(2**40 + 17, stream=5)
    a, b, _, _ = rng.philox(7, 3 + rng.DOMAIN * DOMAIN_START, 5, 0, *rng.key_of(2**40 + 17))
    want = (2.0 * (((a << 21) | (b >> 11)) + 0.5) * 2.0**-53 - 1.0) / np.sqrt(40)
    assert net.parameters[net.segments[3][1] + 7] == want
    words = rng.philox(0, 0 + rng.DOMAIN * DOMAIN_START, 5, 0, *rng.key_of(2**40 + 17))
    assert net.parameters[0] == np.sqrt(2.0 / (9 * 40)) * rng.normal_pair(*words)[0]


def test_seeds_and_streams_start_apart_and_buffers_anew():
    net = network(SMALL, (7, 6, 3), "float32")
    first, fresh = net.parameters.copy(), net.buffers.copy()
    net.forward(normal(1, 4, 7, 6, 3, dtype="float32"))
    assert not np.array_equal(net.buffers, fresh)
    net.initialise(3)
    assert np.array_equal(net.parameters, first)
    assert np.array_equal(net.buffers, fresh)
    for words in ({"seed": 4}, {"seed": 3, "stream": 1}):
        net.initialise(**words)
        assert not np.isclose(net.parameters, first)[net.decays == 1].any()


def test_a_pass_that_was_broken_off_can_be_made_again():
    faulty = types.SimpleNamespace(**{name: getattr(layers, name) for name in layers.__all__})
    net, plain = Network(SMALL, (7, 6, 3), faulty), network(SMALL, (7, 6, 3), "float32")
    net.initialise(3)
    x, d_y = normal(1, 4, 7, 6, 3, dtype="float32"), normal(2, 4, 9, dtype="float32")

    def broken(*_):
        raise KeyboardInterrupt

    for name, call in (("add", lambda: step(net, x, d_y)), ("mean_pool", lambda: net.forward(x, training=False))):
        right = getattr(faulty, name)
        setattr(faulty, name, broken)
        with pytest.raises(KeyboardInterrupt):
            call()
        setattr(faulty, name, right)
    assert step(net, x, d_y) == step(plain, x, d_y)
    net.initialise(3)
    plain.initialise(3)
    assert net.forward(x, training=False).tobytes() == plain.forward(x, training=False).tobytes()


class Foreign:
    """An array of another device: it can be sliced and reshaped, and nothing else."""

    def __init__(self, array):
        self._array, self.shape, self.dtype = array, array.shape, array.dtype

    def reshape(self, *shape):
        return Foreign(self._array.reshape(*shape))

    def __getitem__(self, part):
        assert isinstance(part, slice)
        return Foreign(self._array[part])

    __array_ufunc__ = None

    def __array__(self, *_, **__):
        raise AssertionError("a network computes through its ops alone")


def foreign_ops():
    """The layer functions for such arrays."""

    def inside(value):
        return value._array if isinstance(value, Foreign) else value

    def wrap(function):
        def wrapped(*arguments, **words):
            given = list(arguments) + list(words.values())
            arrays = {id(a._array): a for a in given if isinstance(a, Foreign)}
            out = function(*map(inside, arguments), **{name: inside(a) for name, a in words.items()})
            return arrays.get(id(out), Foreign(out)) if isinstance(out, np.ndarray) else out

        return wrapped

    ops = types.SimpleNamespace(**{name: wrap(getattr(layers, name)) for name in layers.__all__})
    ops.to_host = lambda array: array._array.copy()
    ops.to_device = lambda host: Foreign(np.array(host))
    return ops


@pytest.mark.parametrize(("described", "shape"), [(SMALL, (7, 6, 3)), (OTHER, (9, 8, 1))])
def test_a_network_computes_through_its_ops_alone(described, shape):
    ops = foreign_ops()
    net, plain = Network(described, shape, ops), network(described, shape, "float32")
    net.initialise(3)
    x = normal(1, 4, *shape, dtype="float32")
    y = ops.to_host(net.forward(ops.to_device(x), 2))
    assert y.tobytes() == plain.forward(x, 2).tobytes()
    d_x = ops.to_host(net.backward(ops.to_device(y), True))
    assert d_x.tobytes() == plain.backward(y.copy(), True).tobytes()
    assert ops.to_host(net.gradients).tobytes() == plain.gradients.tobytes()
    assert ops.to_host(net.forward(ops.to_device(x), training=False)).tobytes() == plain.forward(x, training=False).tobytes()


@pytest.mark.parametrize(
    ("described", "text"),
    [
        ([], "at least one"),
        (["relu"], "one of Convolution"),
        ([Convolution(4, 5)], "kernel=5: must be 1 or 3"),
        ([Convolution(0)], "channels=0"),
        ([Activation("tanh")], "kind='tanh'"),
        ([Linear(4, start="zero")], "start='zero'"),
        ([MaxPool(9)], "size=9"),
        ([Residual((Convolution(4),))], "ending in BatchNorm"),
        ([Residual((Convolution(4), BatchNorm()))], "a shortcut of its shape"),
    ],
)
def test_bad_layers(described, text):
    with pytest.raises(SettingError, match=text):
        Network(described, (7, 6, 3), layers)


def test_bad_inputs():
    net = network(SMALL, (7, 6, 3))
    with pytest.raises(SettingError, match=r"\(n, \*\(7, 6, 3\)\)"):
        net.forward(normal(1, 4, 6, 7, 3))
    with pytest.raises(SettingError, match="3 equal groups"):
        net.forward(normal(1, 4, 7, 6, 3), 3)
    with pytest.raises(SettingError, match="float64"):
        net.forward(normal(1, 4, 7, 6, 3, dtype="float32"))
    net.forward(normal(1, 4, 7, 6, 3))
    with pytest.raises(SettingError, match="d_y"):
        net.backward(normal(1, 2, 9))
    with pytest.raises(RuntimeError, match="forward"):
        network(SMALL, (7, 6, 3)).backward(normal(1, 4, 9))
