"""kNN, linear probe and the shape of features, by naive loops and on clouds whose answers are known."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynlab._checks import SettingError
from dynlab._stats import wilson
from dynlab.images import evaluation
from dynlab.population import moments
from tests.images import naive_losses as naive


def clouds(n, d, classes, seed, apart=2.0, dtype="float32"):
    """Gaussian clouds around centres that the first `classes` axes hold."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    return (apart * np.eye(classes, d)[labels] + rng.normal(size=(n, d))).astype(dtype), labels


@settings(max_examples=15)
@given(n=st.integers(2, 30), d=st.integers(1, 4), k=st.integers(1, 9), seed=st.integers(0, 99))
def test_votes_are_those_of_naive_loops(n, d, k, seed):
    rng = np.random.default_rng(seed)
    train, test = rng.normal(size=(n, d)), rng.normal(size=(5, d))
    if d == 1:  # cosines are -1, 0 or 1: many ties, and zero rows
        train, test = np.round(train), np.round(test)
    labels = rng.integers(0, 3, n)
    unit = [naive.unit(part) for part in (train, test)]
    found = evaluation.knn_scores(unit[0], labels, unit[1], min(k, n), 0.3)
    np.testing.assert_allclose(found, naive.knn_scores(train, labels, test, k, 0.3), rtol=1e-9)


def test_of_equal_neighbours_the_first_vote():
    train, labels = np.ones((50, 1), np.float32), np.repeat(np.arange(5), 10)
    scores = evaluation.knn_scores(train, labels, np.ones((1, 1), np.float32), 12, 1.0)
    np.testing.assert_allclose(scores[0] / np.e, [10, 2, 0, 0, 0], rtol=1e-12)


def test_blocks_change_nothing(monkeypatch):
    train, labels = clouds(300, 6, 4, 0)
    test, test_labels = clouds(70, 6, 4, 1)
    whole = evaluation.knn(train, labels, test, test_labels, k=20)
    monkeypatch.setattr(evaluation, "CHUNK_ENTRIES", 300 * 9)
    assert evaluation.knn(train, labels, test, test_labels, k=20) == whole
    assert 0.5 < whole.share < 1.0


def test_knn_counts_pictures_and_says_how():
    train, labels = clouds(200, 5, 3, 0, apart=50.0)
    found = evaluation.knn(train, labels, train[:40], labels[:40], k=7, temperature=0.07)
    assert (found.correct, found.total, found.share) == (40, 40, 1.0)
    assert found.interval == wilson(40, 40)
    for word in ("7 nearest of 200", "0.07", "40 pictures"):
        assert word in found.protocol
    assert "200 nearest of 200" in evaluation.knn(train, labels, train, labels, k=500).protocol
    assert json.loads(json.dumps(found.as_json()))["accuracy"] == 1.0


@settings(max_examples=10)
@given(n=st.integers(1, 12), d=st.integers(1, 4), classes=st.integers(1, 4), seed=st.integers(0, 99))
def test_the_probe_minimises_what_it_says_it_does(n, d, classes, seed):
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(size=(n, d)), rng.integers(0, classes, n)
    problem = evaluation.Logistic(features, labels, classes, 0.3)
    flat = rng.normal(size=(d + 1) * classes)
    value, gradient = problem(flat)
    assert value == pytest.approx(naive.logistic(flat, features, labels, classes, 0.3), rel=1e-12)
    expected = naive.slopes(lambda x: naive.logistic(x, features, labels, classes, 0.3), flat)
    np.testing.assert_allclose(gradient, expected, atol=1e-7)
    again, _ = problem(flat)
    assert again == value


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_fit_is_a_minimum(dtype):
    features, labels = clouds(400, 5, 3, 2, dtype=dtype)
    fit = evaluation.fit_logistic(features, labels, 1.0)
    assert fit.converged and fit.slope < 1e-3
    exact = evaluation.Logistic(features.astype(float), labels, 3, 1.0)
    value, gradient = exact(fit.flat)
    assert np.abs(gradient).max() < 1e-3
    rng = np.random.default_rng(0)
    assert all(exact(fit.flat + 0.05 * rng.normal(size=fit.flat.shape))[0] > value for _ in range(5))


def test_turning_the_features_changes_the_way_not_the_minimum():
    rng = np.random.default_rng(5)
    features, labels = clouds(300, 6, 3, 2, dtype="float64")
    features = features @ (np.diag([3.0, 1, 1, 0.3, 0.1, 0.03]) @ rng.normal(size=(6, 6)))
    turned, outside = evaluation.on_axes(features, features[:50])
    # One product in blocks of other rows: six products, each rounded once, of entries below 10.
    np.testing.assert_allclose(turned[:50], outside, rtol=0, atol=6 * 10 * np.finfo(float).eps)
    np.testing.assert_allclose(turned.T @ turned, np.diag(np.diagonal(turned.T @ turned)), atol=1e-9)
    straight = (features - features.mean(0)) / features.std(0)
    fits = [evaluation.fit_logistic(x, labels, 1.0, iterations=2000) for x in (straight, turned)]
    scores = [fit.scores(x) - fit.scores(x).mean(1, keepdims=True) for fit, x in zip(fits, (straight, turned), strict=True)]
    np.testing.assert_allclose(*scores, atol=0.01)
    assert fits[1].iterations < fits[0].iterations


def test_the_probe_approaches_the_best_there_is():
    """Three Gaussian clouds of one covariance: no rule is better than the nearest centre, and it is linear."""
    train, labels = clouds(6000, 4, 3, 0)
    test, test_labels = clouds(4000, 4, 3, 1)
    best = (test[:, :3].argmax(1) == test_labels).mean()
    stretch = np.array([1000.0, 1.0, 1e-3, 1.0], np.float32)
    found = evaluation.linear_probe(train * stretch + 7.0, labels, test * stretch + 7.0, test_labels)
    assert abs(found.share - best) < 0.01
    assert evaluation.linear_probe(train * stretch + 7.0, labels, test * stretch + 7.0, test_labels) == found
    assert set(found.details["held_out_accuracy"]) == {f"{c:g}" for c in evaluation.STRENGTHS}
    for word in ("6000 training", "4000 pictures", f"C = {found.details['C']:g} of", "10% of each class"):
        assert word in found.protocol


def test_the_strength_is_chosen_where_the_held_out_part_says():
    """Few pictures, many features that mean nothing: all but strong shrinkage overfits."""
    train, labels = clouds(120, 100, 2, 3, apart=1.5, dtype="float64")
    chosen, tried = evaluation.choose_strength(train, labels, (1e3, 1e-3), 0.3, 200)
    assert chosen == 1e-3 and tried["0.001"] >= tried["1000"]


@settings(max_examples=25)
@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=5), share=st.sampled_from([0.1, 0.25, 0.5]))
def test_the_held_out_part_has_its_share_of_each_class(counts, share):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    held = evaluation.stratified(labels, share)
    for label, count in enumerate(counts):
        taken = int(held[labels == label].sum())
        assert taken == min(max(1, round(share * count)), count - 1)


def test_the_shape_of_known_clouds():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(20000, 6))
    shape = evaluation.shape(z)
    assert shape.rank == pytest.approx(6, abs=0.01) and shape.covariance_rank == pytest.approx(6, abs=0.01)
    assert shape.mean_abs_correlation < 0.02 and shape.dead == 0
    collapsed = evaluation.shape(z[:, :1] * np.array([1.0, -2.0, 3.0]) + 5.0)
    assert collapsed.rank == pytest.approx(1, abs=1e-6) and collapsed.mean_abs_correlation == pytest.approx(1)
    stretched = evaluation.shape(z * np.array([100.0, 1, 1, 1, 1, 1]))
    assert stretched.rank > 5.9 and stretched.covariance_rank < 1.02
    assert stretched.spectrum[0] == pytest.approx(1e4, rel=0.05)
    assert list(stretched.spectrum) == sorted(stretched.spectrum, reverse=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_rank_and_correlations_are_those_of_numpy_and_the_theory(dtype):
    z = (np.random.default_rng(1).normal(size=(50, 4)) @ np.random.default_rng(2).normal(size=(4, 4)) + 100.0).astype(dtype)
    shape = evaluation.shape(z)
    correlation = np.corrcoef(z.astype(float).T)
    assert shape.rank == pytest.approx(moments.spectral_rank(correlation), rel=1e-9)
    assert shape.mean_abs_correlation == pytest.approx(np.abs(correlation[~np.eye(4, dtype=bool)]).mean(), rel=1e-9)
    np.testing.assert_allclose(shape.spectrum, np.linalg.eigvalsh(np.cov(z.astype(float).T, bias=True))[::-1], rtol=1e-9)


def test_features_that_never_vary_are_counted_and_left_out():
    z = np.random.default_rng(0).normal(size=(1000, 4)).astype(np.float32)
    z[:, 1] = 0.1
    shape = evaluation.shape(z)
    assert shape.dead == 1 and shape.mean_abs_correlation < 0.1 and shape.spectrum[-1] == 0.0
    nothing = evaluation.shape(np.ones((10, 3)))
    assert nothing.dead == 3 and np.isnan(nothing.mean_abs_correlation)
    probe = evaluation.linear_probe(z, np.arange(1000) % 2, z, np.arange(1000) % 2)
    assert 0.4 < probe.share < 0.65


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_feature_that_varies_by_rounding_alone_does_not_vary(dtype):
    """As a unit that is the same for all pictures comes out of sums in different orders: the last bit is the processor's."""
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(400, 3)).astype(dtype), np.arange(400) % 2
    z[:, 1] = 0.1
    for _ in range(3):
        blurred = z.copy()
        blurred[:, 1] *= 1 + np.finfo(dtype).eps * rng.integers(-1, 2, 400).astype(dtype)
        assert evaluation.shape(blurred) == evaluation.shape(z) and evaluation.shape(z).dead == 1
        assert evaluation.linear_probe(blurred, labels, z, labels) == evaluation.linear_probe(z, labels, z, labels)
    everything = np.full((400, 3), 0.1, dtype) * (1 + np.finfo(dtype).eps * rng.integers(-1, 2, (400, 3)).astype(dtype))
    assert repr(evaluation.shape(everything)) == repr(evaluation.shape(np.full((400, 3), 0.1, dtype)))


@pytest.mark.parametrize("pictures, features", [(2000, 6), (40, 90)])
def test_eigenvalues_that_vanish_are_zero_in_the_spectrum(pictures, features):
    """Rank 3 by construction: the entropies are those of three numbers, whatever rounding leaves of the others."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(pictures, 3)) @ rng.normal(size=(3, features))
    shape = evaluation.shape(z)
    values = np.linalg.svd(z - z.mean(0), compute_uv=False)[:3] ** 2 / pictures
    assert shape.spectrum[3:] == (0.0,) * (features - 3)
    np.testing.assert_allclose(shape.spectrum[:3], values, rtol=1e-12)
    share = np.sqrt(values) / np.sqrt(values).sum()
    assert shape.singular_rank == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-12)


@pytest.mark.parametrize(
    "change, word",
    [
        ({"train": np.full((8, 2), np.nan)}, "train='nan or infinity'"),
        ({"test": np.zeros((4, 3))}, "test="),
        ({"test": np.zeros(4)}, "test="),
        ({"train_labels": np.zeros(7, int)}, "labels="),
        ({"train_labels": np.full(8, -1)}, "labels="),
        ({"test_labels": np.zeros(4)}, "labels="),
    ],
)
@pytest.mark.parametrize("function", [evaluation.knn, evaluation.linear_probe])
def test_what_is_refused(function, change, word):
    rng = np.random.default_rng(0)
    given = {"train": rng.normal(size=(8, 2)), "train_labels": np.arange(8) % 2}
    given |= {"test": rng.normal(size=(4, 2)), "test_labels": np.arange(4) % 2}
    with pytest.raises(SettingError, match=word):
        function(**(given | change))
