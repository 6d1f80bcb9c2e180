"""Fits that begin in the leading directions end where fits in all directions end."""

import numpy as np
import pytest

from dynlab.images import logistic
from dynlab.images.worth import span as module
from dynlab.images.worth.probe import linear_probe
from dynlab.images.worth.span import Fits


@pytest.fixture
def few(monkeypatch):
    """Five leading directions, of twenty features or more."""
    monkeypatch.setattr(module, "LEADING", 5)
    monkeypatch.setattr(module, "MANY", 20)


def pictures(n, seed=0, dtype="float64"):
    """24 features, most of whose variance lies in five directions; classes apart along the first and, less, the last."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(np.random.default_rng(9).normal(size=(24, 24)))[0]
    plain = rng.normal(size=(n, 24)) * np.where(np.arange(24) < 5, 3.0, 0.3)
    labels = np.digitize(plain[:, 0] + 3.0 * plain[:, 23] + rng.normal(size=n), (-2.0, 2.0))
    return (plain @ axes.T).astype(dtype), labels, axes


def test_the_leading_directions_are_those_of_the_eigenvectors():
    features, _, axes = pictures(4000)
    span = module.leading(features.T @ features / 4000, 5)
    np.testing.assert_allclose(span.T @ span, np.eye(5), atol=1e-12)
    values, vectors = np.linalg.eigh(features.T @ features)
    assert values[-5] > 20.0 * values[-6]
    assert np.linalg.svd(vectors[:, -5:].T @ span, compute_uv=False).min() > 1.0 - 1e-6


@pytest.mark.parametrize("kind", ["zeros", "all alike", "few pictures"])
def test_features_that_are_fewer_than_they_look_have_a_span(kind):
    rng = np.random.default_rng(0)
    alike = np.repeat(rng.normal(size=(50, 1)), 24, 1)
    features = {"zeros": np.zeros((50, 24)), "all alike": alike, "few pictures": rng.normal(size=(3, 24))}[kind]
    span = module.leading(features.T @ features / len(features), 5)
    np.testing.assert_allclose(span.T @ span, np.eye(5), atol=1e-9)
    assert np.linalg.norm(features - features @ span @ span.T) <= 1e-5 * np.linalg.norm(features)


def test_pictures_within_a_span_are_products_with_it():
    features, labels, axes = pictures(30)
    found = module.projected(logistic.blocks(features, labels), axes[:, :4].copy())
    np.testing.assert_allclose(found[0].by_feature.columns_turned(0, 4).T, features @ axes[:, :4], atol=1e-13)
    assert (found[0].labels == labels).all()


@pytest.mark.parametrize("strength", [1e-3, 1.0, 100.0])
def test_the_fit_ends_at_the_minimum_in_all_directions(few, strength):
    features, labels, _ = pictures(600)
    parts = logistic.blocks(features, labels)
    moments = logistic.second_moments(parts)
    plain = logistic.fit(parts, 3, strength, moments=moments, tolerance=1e-12)
    found = Fits(parts, 3, moments).fit(strength, None, 200, 1e-12)
    assert plain.converged and found.converged
    np.testing.assert_allclose(found.flat, plain.flat, rtol=1e-4, atol=1e-5)
    assert strength > 1e-3 or found.iterations < plain.iterations  # a small one leaves little to do beside the span


def test_a_fit_goes_on_from_another_and_takes_more_pictures(few):
    features, labels, _ = pictures(600)
    parts, more = logistic.blocks(features[:500], labels[:500]), logistic.blocks(features[500:], labels[500:])
    fits = Fits(parts, 3, logistic.second_moments(parts))
    before = fits.fit(0.1, None, 200, 1e-9)
    again = fits.fit(0.1, before.flat, 200, 1e-9)
    assert again.iterations <= 1
    fits.add(more)
    whole = logistic.fit(logistic.blocks(features, labels), 3, 0.1, tolerance=1e-12)
    np.testing.assert_allclose(fits.fit(0.1, before.flat, 200, 1e-12).flat, whole.flat, rtol=1e-4, atol=1e-5)


def test_the_probe_has_the_same_answers_from_the_span_on(monkeypatch):
    train, labels, _ = pictures(900, dtype="float32")
    test, test_labels, _ = pictures(400, seed=1, dtype="float32")
    plain = linear_probe(train, labels, test, test_labels)
    monkeypatch.setattr(module, "LEADING", 5)
    monkeypatch.setattr(module, "MANY", 20)
    found = linear_probe(train, labels, test, test_labels)
    assert found.details["converged"] and plain.share > 0.6
    assert found.details["C"] == plain.details["C"] and abs(found.correct - plain.correct) <= 1
