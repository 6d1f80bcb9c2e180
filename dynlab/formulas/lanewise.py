"""What formulas do where they would branch, so that they also run with many numbers at once (`dynlab.machine.lanes`).

In Python, and for plain numbers, each function is what it says; compiled code has a form of each for vectors, in which a
condition is one bit a lane.
"""

import numpy as np

EXPONENT_BIAS, MANTISSA_BITS = 1023, 52


def where(condition, yes, no):
    """`yes` where the condition holds, else `no`; both are computed."""
    return yes if condition else no


def anywhere(condition):
    """Whether the condition holds, in any lane."""
    return condition


def taken(values, places):
    """values[places[i]] for a list of places: of each lane its own."""
    return values[int(places)]


def two_to_the(shifted):
    """2^k from the float64 k + 1.5 * 2^52, the last bits of which are the integer k; |k| below 1023."""
    return np.int64((np.float64(shifted).view(np.int64) + EXPONENT_BIAS) << MANTISSA_BITS).view(np.float64)
