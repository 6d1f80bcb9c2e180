"""The rules of the head against NumPy's linear algebra and their definitions."""

import numpy as np
import pytest

from dynlab.formulas import head_rules
from dynlab.population.head_matrices import from_correlation, moving_correlation, norm_and_asymmetry


def correlation(seed, m, rank=None):
    """A random correlation matrix E f f^T (m, m)."""
    f = np.random.default_rng(seed).standard_normal((m, rank or m + 2)) * np.geomspace(1, 0.01, m)[:, None]
    return f @ f.T


@pytest.mark.parametrize("m", [1, 2, 3, 7, 16])
def test_directpred_is_its_definition(m):
    s = correlation(m, m)
    values, vectors = np.linalg.eigh(s)
    wanted = vectors @ np.diag(np.sqrt(values / values.max()) + 0.1) @ vectors.T
    assert np.abs(from_correlation("directpred", s, 0.1) - wanted).max() < 1e-12


@pytest.mark.parametrize("m", [1, 2, 5])
def test_directcopy_is_its_definition(m):
    s = correlation(m, m)
    wanted = s / np.linalg.norm(s, 2) + 0.3 * np.eye(m)
    assert np.abs(from_correlation("directcopy", s, 0.3) - wanted).max() < 1e-13


def test_directpred_of_collapsed_outputs():
    one = np.array([[1.0, 2.0], [2.0, 4.0]])
    direction = np.array([1.0, 2.0]) / np.sqrt(5)
    wanted = np.outer(direction, direction) + 0.1 * np.eye(2)
    assert np.abs(from_correlation("directpred", one, 0.1) - wanted).max() < 1e-12


def test_a_complex_step_goes_through_the_eigenvalues():
    s, m = correlation(3, 4), 4
    change = correlation(5, 4)
    head, vectors = np.zeros((m, m), complex), np.zeros((m, m), complex)
    head_rules.head_of_correlation(head_rules.DIRECTPRED, m, 0.1, head_rules.RESOLVED, s + 1e-30j * change, vectors, head)
    step = 1e-6
    ahead, behind = (from_correlation("directpred", s + sign * step * change) for sign in (1, -1))
    assert np.abs(head.imag * 1e30 - (ahead - behind) / (2 * step)).max() < 1e-7
    assert np.abs(head.real - from_correlation("directpred", s)).max() < 1e-14


def test_what_each_rule_trains():
    gradient = np.arange(9.0).reshape(3, 3) + 1.0
    wanted = {
        "none": np.zeros((3, 3)),
        "fixed": np.zeros((3, 3)),
        "directpred": np.zeros((3, 3)),
        "directcopy": np.zeros((3, 3)),
        "linear": gradient,
        "off-diagonal": gradient - np.diag(np.diagonal(gradient)),
        "symmetric": (gradient + gradient.T) / 2,
    }
    assert set(wanted) == set(head_rules.HEADS)
    for rule, result in wanted.items():
        found = gradient.copy()
        head_rules.project_gradient(head_rules.rule_number(rule), 3, found)
        assert (found == result).all(), rule


def test_moving_correlation():
    first, second = np.eye(2), np.ones((2, 2))
    assert (moving_correlation(None, first) == first).all()
    assert np.allclose(moving_correlation(first, second), [[1.0, 0.7], [0.7, 1.0]])


def test_norm_and_asymmetry():
    norm, asymmetry = norm_and_asymmetry([[1.0, 3.0], [4.0, 1.0]])
    assert norm == 5.0 and asymmetry == pytest.approx(np.sqrt(2) / 5)
    assert np.isnan(norm_and_asymmetry(np.eye(2))[1])
