"""The table of numbers that formulas read at run time (`dynlab.formulas.expansions` lays it out).

It never moves: kernels read the memory itself, wherever this process has it (`dynlab.machine.jit`).
"""

from array import array

SIZE = 1 << 14
TABLE = array("d", bytes(8 * SIZE))


def table_number(place):
    """The number at that place; in compiled code, a load from the same memory."""
    return TABLE[place]
