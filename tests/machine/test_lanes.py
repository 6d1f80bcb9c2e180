"""Vectors of eight numbers in compiled code: each lane of each operation against plain numbers, to the bit."""

from __future__ import annotations

import math

import numpy as np
import pytest

from dynlab.formulas import lanewise
from dynlab.formulas.lanewise import anywhere, taken, two_to_the, where
from dynlab.machine import jit
from dynlab.machine.lanes import LANE_COUNT, in_lanes, lane_array

HARD = (0.0, -0.0, 1.0, -1.5, math.pi, 1e-310, -5e-324, 1e300, -1e300, math.inf, -math.inf, math.nan)
OPERATIONS = 22


@jit.kernel
def every_operation(a, b, out):
    """Fill out (OPERATIONS, LANE_COUNT), a and b (LANE_COUNT,) being the operands."""
    rows, x, y = in_lanes(out), in_lanes(a)[0], in_lanes(b)[0]
    rows[0], rows[1], rows[2], rows[3] = x + y, x - y, x * y, x / y
    rows[4], rows[5], rows[6], rows[7] = x + 0.1, 0.1 - x, 3 * x, 2.0 / x
    rows[8], rows[9], rows[10], rows[11] = -x, abs(x), max(x, y), min(x, y)
    rows[12], rows[13] = max(0.0, x), min(x, 1.0)
    rows[14] = where(x < y, x, y)
    rows[15] = where((x <= y) & (x != 1.0), 1.0, y)
    rows[16] = where((x > y) | (x >= 1e300), x, 0)
    rows[17] = where((x == y) | False, x, y)
    rows[18] = np.sqrt(x)
    total = 0.0
    for k in range(3):
        total += x * k
    rows[19] = total
    rows[20] = np.arctan(x)
    rows[21] = 2.0 if anywhere(x > y) else 1.0


@jit.kernel
def one_by_one(a, b, out):
    """The same for the plain numbers."""
    for lane in range(LANE_COUNT):
        x, y, o = a[0, lane], b[0, lane], out[:, lane]
        o[0], o[1], o[2], o[3] = x + y, x - y, x * y, x / y
        o[4], o[5], o[6], o[7] = x + 0.1, 0.1 - x, 3 * x, 2.0 / x
        o[8], o[9], o[10], o[11] = -x, abs(x), max(x, y), min(x, y)
        o[12], o[13] = max(0.0, x), min(x, 1.0)
        o[14] = where(x < y, x, y)
        o[15] = where((x <= y) & (x != 1.0), 1.0, y)
        o[16] = where((x > y) | (x >= 1e300), x, 0)
        o[17] = where((x == y) | False, x, y)
        o[18] = np.sqrt(x)
        o[19] = 0.0 + x * 0 + x * 1 + x * 2
        o[20] = np.arctan(x)
        o[21] = 0.0


@jit.kernel
def powers(x, out):
    shifted = in_lanes(x)
    in_lanes(out)[0] = two_to_the(shifted[0])
    out[1, 0] = two_to_the(x[0, 0])


@jit.kernel
def gather(values, places, out):
    in_lanes(out)[0] = taken(in_lanes(values), in_lanes(places)[0])
    out[1, 0] = taken(values[:, 0], places[0, 0])


def in_python(x, y):
    """The operations with Python's numbers, NumPy for what Python refuses."""
    with np.errstate(all="ignore"):
        x, y = np.float64(x), np.float64(y)
        larger, smaller = (y if y > x else x), (y if y < x else x)
        return [
            x + y, x - y, x * y, x / y, x + 0.1, 0.1 - x, 3 * x, 2.0 / x, -x, abs(x), larger, smaller,
            x if x > 0.0 else 0.0, 1.0 if 1.0 < x else x, x if x < y else y, 1.0 if x <= y and x != 1.0 else y,
            x if x > y or x >= 1e300 else 0.0, x if x == y else y, np.sqrt(x), 0.0 + x * 0 + x + x * 2,
            math.atan(x),
        ]  # fmt: skip


def bits(values):
    """Of numbers; all that are none are alike."""
    values = np.array(values, dtype=np.float64)
    return np.where(np.isnan(values), np.float64(math.nan), values).view(np.int64)


def test_lanes_are_the_plain_numbers():
    pairs = np.array([(x, y) for x in HARD for y in HARD])
    pairs = np.concatenate([pairs, np.random.default_rng(0).normal(size=(8 * 13 - len(pairs) % 8, 2))])
    for some in pairs[: len(pairs) // LANE_COUNT * LANE_COUNT].reshape(-1, LANE_COUNT, 2):
        a, b = lane_array(1), lane_array(1)
        a[0], b[0] = some.T
        mine, plain = lane_array(OPERATIONS), lane_array(OPERATIONS)
        every_operation(a, b, mine)
        one_by_one(a, b, plain)
        expected = np.array([in_python(x, y) for x, y in some]).T
        np.testing.assert_array_equal(bits(mine[:-1]), bits(expected), err_msg=str(some))
        np.testing.assert_array_equal(bits(plain[:-1]), bits(expected), err_msg=str(some))
        assert (mine[-1] == (2.0 if (a > b).any() else 1.0)).all()


@pytest.mark.parametrize("power", [-1022, -3, 0, 1, 52, 1023])
def test_powers_of_two(power):
    x, out = lane_array(1), lane_array(2)
    x[0] = power + 6755399441055744.0
    powers(x, out)
    assert out[0].tolist() == [math.ldexp(1.0, power)] * LANE_COUNT
    assert out[1, 0] == lanewise.two_to_the(x[0, 0]) == math.ldexp(1.0, power)


def test_each_lane_takes_its_own():
    rng = np.random.default_rng(1)
    values, places, out = lane_array(5), lane_array(1), lane_array(2)
    values[:], places[0] = rng.normal(size=(5, LANE_COUNT)), rng.integers(0, 5, LANE_COUNT)
    gather(values, places, out)
    assert out[0].tolist() == [values[int(places[0, lane]), lane] for lane in range(LANE_COUNT)]
    assert out[1, 0] == lanewise.taken(values[:, 0], places[0, 0])


def test_vectors_lie_where_one_instruction_reads_them():
    for shape in ((1,), (3,), (9, 9), (8, 9)):
        made = lane_array(*shape)
        assert made.shape == (*shape, LANE_COUNT) and made.flags.c_contiguous and not made.any()
        assert made.ctypes.data % (8 * LANE_COUNT) == 0


@pytest.mark.parametrize(("condition", "expected"), [(True, 2.0), (False, 3.0)])
def test_in_python_they_are_what_they_say(condition, expected):
    assert lanewise.where(condition, 2.0, 3.0) == expected
    assert lanewise.anywhere(condition) is condition
