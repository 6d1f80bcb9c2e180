"""The closed forms underneath: activations, their Gaussian moments, the moments of the patch counts."""

from __future__ import annotations

import numpy as np
import pytest

from dynlab.formulas import masks
from dynlab.settings.activation_records import ACTIVATIONS
from tests import naive
from tests.oracles import exact
from tests.population.gradient import checkers

every_activation = pytest.mark.parametrize("activation", sorted(ACTIVATIONS))


@every_activation
def test_activation_and_slope(activation):
    record = ACTIVATIONS[activation]
    phi, degree, odd = naive.ACTIVATIONS[activation]
    assert (record.degree, record.odd, record.name) == (degree, odd, activation)
    for z in (-2.0, -0.5, 0.0, 1e-9, 0.7, 3.0):
        assert record.function(z) == pytest.approx(phi(z), rel=1e-15)
        if z != 0 or degree > 1:
            slope = (phi(z + 1e-5) - phi(z - 1e-5)) / 2e-5 if abs(z) > 1e-5 else 1.0 * (degree == 1)
            assert record.slope(z) == pytest.approx(slope, rel=1e-8, abs=1e-9)


@every_activation
def test_moments_by_quadrature(activation):
    checkers.moments_against_quadrature(ACTIVATIONS[activation].moments, activation)


@every_activation
def test_moments_at_any_angle(activation):
    for angle in (0.0, 1e-10, 1e-5, 0.3, np.pi / 2, 2.5, 3.0, np.pi - 1e-5, np.pi - 1e-10, np.pi):
        checkers.moments_against_exact(ACTIVATIONS[activation].moments, activation, angle)


@pytest.mark.parametrize("mask", ["half", "independent"])
def test_patch_counts(mask):
    for patches in (2, 3, 4, 5, 8, 10):
        if mask == "half" and patches % 2:
            continue
        for n in range(1, patches):
            checkers.counts_against_enumeration(masks.count_moments, patches, n, mask)


@pytest.mark.parametrize("mask", ["half", "independent"])
def test_patch_counts_of_many_patches(mask):
    """Too many masks to enumerate: exact rational sums instead."""
    for patches, n in ((16, 4), (100, 1), (100, 99), (400, 123)):
        same, across, noise, *_ = masks.count_moments(patches, n, mask == "half")
        right = exact.count_moments(patches, n, mask)
        assert same == pytest.approx(float(right.NN), rel=1e-14)
        assert across == pytest.approx(float(right.NxN), rel=1e-14, abs=1e-14 * n)
        assert noise == pytest.approx(float(right.n), rel=1e-14)
