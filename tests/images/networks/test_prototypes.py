"""DINO's last layer: cosines with prototypes, against loops and by hand."""

import numpy as np
import pytest

from dynlab.images import layers
from dynlab.images.networks.prototypes import Prototypes
from dynlab.tools.checks import SettingError
from tests.images import naive_losses as naive


def test_by_hand():
    """z = (3, 4) has the direction (0.6, 0.8); prototypes along the axes, of lengths 5 and 1/2, see 0.8 and 0.6."""
    part = Prototypes(2, 2, layers, "float64")
    part.matrix[...] = [[0.0, 5.0], [0.5, 0.0]]
    out, d_z = np.empty((1, 2)), np.empty((1, 2))
    np.testing.assert_allclose(part.forward(np.array([[3.0, 4.0]]), out), [[0.8, 0.6]], rtol=1e-15)
    # dF_1/dz = (e_2 - 0.8 y)/|z| = (-0.48, 0.36)/5; dF_1/dv_1 = (y - 0.8 e_2)/5 = (0.6, 0)/5, nothing for v_2.
    part.backward(np.array([[1.0, 0.0]]), np.array([[3.0, 4.0]]), d_z)
    np.testing.assert_allclose(d_z, [[-0.096, 0.072]], rtol=1e-13)
    np.testing.assert_allclose(part.gradients, [0.12, 0.0, 0.0, 0.0], atol=1e-15)


@pytest.mark.parametrize("count, m, rows", [(2, 3, 4), (7, 5, 6), (40, 8, 3)])
def test_outputs_and_gradients_are_those_of_loops(count, m, rows):
    rng = np.random.default_rng(count)
    part = Prototypes(count, m, layers, "float64", seed=3)
    z, d_out = rng.normal(size=(rows, m)), rng.normal(size=(rows, count))
    v = part.matrix.copy()
    assert np.abs(v).max() <= m**-0.5 and np.unique(v).size == v.size
    np.testing.assert_allclose(part.forward(z, np.empty((rows, count))), naive.prototypes(z, v), rtol=1e-12, atol=1e-14)
    d_z = np.empty_like(z)
    part.backward(d_out, z, d_z)
    slopes = naive.slopes(lambda x: (d_out * naive.prototypes(x, v)).sum(), z)
    np.testing.assert_allclose(d_z, slopes, atol=1e-8)
    slopes = naive.slopes(lambda x: (d_out * naive.prototypes(z, x)).sum(), v)
    np.testing.assert_allclose(part.gradients.reshape(count, m), slopes, atol=1e-8 / np.linalg.norm(v, axis=1).min())


def test_lengths_mean_nothing_and_zeros_are_no_trouble():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4, 6)).astype(np.float32)
    part, out = Prototypes(5, 6, layers), np.empty((4, 5), np.float32)
    first = part.forward(z, out).copy()
    part.matrix *= np.float32(1e20)
    np.testing.assert_allclose(part.forward(z * np.float32(1e-25), out), first, atol=1e-6)
    d_z = np.empty_like(z)
    z[1] = 0.0
    part.forward(z, out)
    part.backward(np.ones_like(out), z, d_z)
    assert not d_z[1].any() and np.isfinite(d_z).all() and not out[1].any()


def test_it_goes_on_from_what_was_saved():
    one, two = Prototypes(5, 6, layers, seed=1), Prototypes(5, 6, layers, seed=2)
    assert not np.array_equal(one.parameters, two.parameters)
    two.load(one.save())
    np.testing.assert_array_equal(one.parameters, two.parameters)
    with pytest.raises(SettingError, match="prototypes=1: must be an integer >= 2"):
        Prototypes(1, 6, layers)
