"""Linear equations by columns against NumPy's, with exchanges of rows, at sizes around a block and far above it."""

import numpy as np
import pytest

from dynlab.population.any_training import equations


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 9, 25])
@pytest.mark.parametrize("graded", [0.0, 12.0])
def test_equations_are_solved(n, graded):
    """graded: decades over which rows and columns are spread."""
    rng = np.random.default_rng(n)
    scale = 10.0 ** rng.uniform(-graded, 0.0, (2, n))
    matrix = rng.standard_normal((n, n)) * scale[0][:, None] * scale[1]
    right = rng.standard_normal(n) * scale[0]
    columns, order, found = matrix.T.copy(), np.zeros(n, np.int64), np.zeros(n)
    equations.factor(columns, order)
    equations.substitute(columns, order, right, found)
    rest = np.abs(matrix @ found - right)
    assert (rest <= 1e-12 * (np.abs(matrix) @ np.abs(found) + np.abs(right)).max()).all()
    if graded == 0.0:
        assert found == pytest.approx(np.linalg.solve(matrix, right), rel=1e-9)


def test_rows_are_exchanged():
    """A zero on the diagonal, and a pivot that is too small."""
    matrix = np.array([[0.0, 1.0, 2.0], [1e-20, 3.0, 1.0], [4.0, 5.0, 6.0]])
    columns, order, found = matrix.T.copy(), np.zeros(3, np.int64), np.zeros(3)
    equations.factor(columns, order)
    equations.substitute(columns, order, np.array([5.0, 9.0, 32.0]), found)
    assert found == pytest.approx(np.linalg.solve(matrix, [5.0, 9.0, 32.0]), rel=1e-14)
