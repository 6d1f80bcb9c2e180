"""kNN, linear probe and the shape of features, by naive loops and on clouds whose answers are known."""

import json
import os
import subprocess
import sys

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dynlab.images import logistic
from dynlab.images.worth import accuracy, spectrum
from dynlab.images.worth import knn as knn_module
from dynlab.images.worth.knn import knn, knn_scores
from dynlab.images.worth.probe import STRENGTHS, choose_strength, linear_probe, standard, stratified
from dynlab.images.worth.span import Fits
from dynlab.population import moments
from dynlab.tools.checks import SettingError
from dynlab.tools.files import json_text
from dynlab.tools.intervals import wilson
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
    found = knn_scores(unit[0], labels, unit[1], min(k, n), 0.3)
    np.testing.assert_allclose(found, naive.knn_scores(train, labels, test, k, 0.3), rtol=1e-9)


def test_of_equal_neighbours_the_first_vote():
    train, labels = np.ones((50, 1), np.float32), np.repeat(np.arange(5), 10)
    scores = knn_scores(train, labels, np.ones((1, 1), np.float32), 12, 1.0)
    np.testing.assert_allclose(scores[0], [10, 2, 0, 0, 0], rtol=1e-12)


def test_blocks_change_nothing(monkeypatch):
    train, labels = clouds(300, 6, 4, 0)
    test, test_labels = clouds(70, 6, 4, 1)
    whole = knn(train, labels, test, test_labels, k=20)
    monkeypatch.setattr(knn_module, "CHUNK_ENTRIES", 300 * 9)
    assert knn(train, labels, test, test_labels, k=20) == whole
    assert 0.5 < whole.share < 1.0


def test_knn_counts_pictures_and_says_how():
    train, labels = clouds(200, 5, 3, 0, apart=50.0)
    found = knn(train, labels, train[:40], labels[:40], k=7, temperature=0.07)
    assert (found.correct, found.total, found.share) == (40, 40, 1.0)
    assert found.interval == wilson(40, 40)
    for word in ("7 nearest of 200", "0.07", "40 pictures"):
        assert word in found.protocol
    assert "200 nearest of 200" in knn(train, labels, train, labels, k=500).protocol
    assert json.loads(json.dumps(found.as_json()))["accuracy"] == 1.0


@settings(max_examples=10)
@given(n=st.integers(1, 12), d=st.integers(1, 4), classes=st.integers(1, 4), seed=st.integers(0, 99))
def test_the_probe_minimises_what_it_says_it_does(n, d, classes, seed):
    rng = np.random.default_rng(seed)
    features, labels = rng.normal(size=(n, d)), rng.integers(0, classes, n)
    problem = logistic.Logistic(logistic.blocks(features, labels), classes, 0.3)
    flat = rng.normal(size=(d + 1) * classes)
    value, gradient = problem(flat)
    assert value == pytest.approx(naive.logistic(flat, features, labels, classes, 0.3), rel=1e-12)
    expected = naive.slopes(lambda x: naive.logistic(x, features, labels, classes, 0.3), flat)
    np.testing.assert_allclose(gradient, expected, atol=1e-7)
    again, _ = problem(flat)
    assert again == value


def test_blocks_change_only_the_order_of_sums(monkeypatch):
    features, labels = clouds(300, 5, 3, 2, dtype="float64")
    flat = np.random.default_rng(0).normal(size=18)
    whole = logistic.Logistic(logistic.blocks(features, labels), 3, 1.0)(flat)
    monkeypatch.setattr(logistic, "ROWS", 37)
    parts = logistic.blocks(features, labels)
    assert [len(block.labels) for block in parts] == [37] * 8 + [4]
    value, gradient = logistic.Logistic(parts, 3, 1.0)(flat)
    assert value == pytest.approx(whole[0], rel=1e-13)
    np.testing.assert_allclose(gradient, whole[1], atol=1e-14)
    np.testing.assert_allclose(logistic.second_moments(parts), features.T @ features / 300, rtol=1e-12)


def test_second_moments_of_more_features_than_a_strip(monkeypatch):
    """In strips of 3 features: equal to products of the whole, and the same bits above the diagonal as below it."""
    monkeypatch.setattr(logistic, "STRIP", 3)
    features, labels = clouds(60, 8, 3, 5, dtype="float32")
    found = logistic.second_moments(logistic.blocks(features, labels))
    np.testing.assert_allclose(found, features.T.astype(float) @ features.astype(float) / 60, rtol=2e-5, atol=1e-6)
    assert (found == found.T).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_that_underflow_are_zero(dtype):
    """e^-60 = 8.76e-27 counts, e^-100 = 3.7e-44 does not: numbers below the normal ones of float32 make products slow."""
    scores = np.array([[0.0, -60.0, -100.0], [-95.0, -1.0, -1.0]], dtype).T.copy()
    loss = logistic._residuals(scores, np.zeros(3), np.array([0, 1]))
    expected = np.array([[0.0, np.exp(-60.0), 0.0], [0.0, -0.5, 0.5]])
    np.testing.assert_allclose(scores.T, expected, rtol=2e-5 if dtype == "float32" else 1e-12)
    assert (scores.T[expected == 0.0] == 0.0).all()
    assert loss == pytest.approx(np.log(2.0), rel=1e-6)


def test_the_probe_of_classes_far_apart_meets_no_subnormal_number(monkeypatch):
    """Weights that separate classes by hundreds of nats: what products are given is zero or normal."""
    given = []
    plain = logistic.multiply_packed
    monkeypatch.setattr(logistic, "multiply_packed", lambda a, b, out: given.append(a.copy()) or plain(a, b, out))
    features, labels = clouds(300, 4, 3, 1, dtype="float32")
    parts = logistic.blocks(30.0 * features, labels)
    logistic.Logistic(parts, 3, 1e6)(np.random.default_rng(0).normal(size=15))
    assert given and all(((b == 0.0) | (np.abs(b) >= np.finfo(np.float32).tiny)).all() for b in given)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_fit_is_a_minimum(dtype):
    """Found by Newton's method with second differences of loops in float64, to which the fit owes nothing."""
    features, labels = clouds(400, 5, 3, 2, dtype=dtype)
    fit = logistic.fit(logistic.blocks(features, labels), 3, 1.0)
    assert fit.converged and fit.left <= logistic.TOLERANCE and fit.slope < 1e-3
    exact = logistic.Logistic(logistic.blocks(features.astype(float), labels), 3, 1.0)
    x = np.zeros(18)
    for _ in range(8):
        columns = [(exact(x + 1e-4 * e)[1] - exact(x - 1e-4 * e)[1]) / 2e-4 for e in np.eye(18)]
        x = x - np.linalg.lstsq(np.array(columns), exact(x)[1], rcond=1e-6)[0]
    assert naive.logistic(fit.flat, features, labels, 3, 1.0) - naive.logistic(x, features, labels, 3, 1.0) < 3e-6
    rng = np.random.default_rng(0)
    value = exact(fit.flat)[0]
    assert all(exact(fit.flat + 0.05 * rng.normal(size=fit.flat.shape))[0] > value for _ in range(5))


def test_the_verdict_is_the_slope_s_and_no_other():
    """Cut short it has not converged; where differences of J are rounding only, it has."""
    features, labels = clouds(400, 5, 3, 2)
    parts = logistic.blocks(features, labels)
    cut = logistic.fit(parts, 3, 1.0, iterations=1)
    assert not cut.converged and cut.left > logistic.TOLERANCE
    close = logistic.fit(parts, 3, 1.0, tolerance=1e-10)
    assert close.converged and close.slope < 1e-4
    again = logistic.fit(parts, 3, 1.0, start=close.flat)
    assert again.converged and again.iterations == 0


@pytest.mark.parametrize("d", [1, 5, 130, 300])
def test_the_factor_and_its_inverse_are_those_of_lapack(d):
    rng = np.random.default_rng(d)
    matrix = rng.normal(size=(d, 2 * d))
    matrix = matrix @ matrix.T / d + 1e-3 * np.eye(d)
    factor = logistic.cholesky(matrix)
    np.testing.assert_allclose(factor, np.linalg.cholesky(matrix), atol=1e-12 * np.abs(factor).max() * d)
    np.testing.assert_allclose(logistic.inverse_of_lower(factor) @ factor, np.eye(d), atol=1e-11 * d)


@pytest.mark.parametrize("size", [1.0, 1e-3, 40.0])
def test_the_search_finds_minima_of_convex_functions(size):
    """sum log cosh(x - a), whose slope flattens far away, from near and far; and a quadratic of curvatures 1 to 100."""
    a = size * np.arange(1.0, 6.0)

    def flattening(x):
        return float(np.log(np.cosh(np.clip(x - a, -300, 300))).sum()), np.tanh(x - a)

    place, slope, count = logistic.minimise(flattening, np.zeros(5), 200, 1e-12)
    np.testing.assert_allclose(place, a, atol=1e-5)
    assert np.abs(slope).max() < 2e-6 and count < 60
    curvature = np.array([1.0, 3.0, 10.0, 30.0, 100.0])
    place, _, _ = logistic.minimise(lambda x: (0.0, curvature * (x - a)), np.zeros(5), 200, 1e-20)
    np.testing.assert_allclose(place, a, rtol=1e-8)


def test_threads_change_no_bit_of_neighbours_and_probe():
    train, labels = clouds(500, 70, 5, 0, apart=1.0)
    test, test_labels = clouds(300, 70, 5, 1, apart=1.0)
    before, found = numba.get_num_threads(), []
    try:
        for threads in (1, before):
            numba.set_num_threads(threads)
            mean, deviation = standard(train)
            parts = accuracy.standard_blocks(train, labels, np.ones(500, bool), mean, deviation)
            fit = logistic.fit(parts, 5, 0.1)
            votes = knn_scores(train, labels, test, 20, 0.1)
            found.append((fit.flat.tobytes(), votes.tobytes(), linear_probe(train, labels, test, test_labels)))
    finally:
        numba.set_num_threads(before)
    assert found[0] == found[1]


THREADS = """
import sys, numpy as np
from dynlab.images import logistic
from dynlab.images.worth import knn
from dynlab.images.worth.probe import standard, standard_blocks
rng = np.random.default_rng(0)
labels = rng.integers(0, 7, 3000)
features = (np.eye(7, 200)[labels] + rng.normal(size=(3000, 200))).astype(np.float32)
mean, deviation = standard(features)
fit = logistic.fit(standard_blocks(features, labels, np.ones(3000, bool), mean, deviation), 7, 0.1)
sys.stdout.write(fit.flat.tobytes().hex())
sys.stdout.write(knn.knn_scores(features[:2000], labels[:2000], features[2000:], 50, 0.1).tobytes().hex())
"""


def test_where_it_has_come_to_is_told():
    train, labels = clouds(200, 5, 3, 0)
    lines = []
    knn(train, labels, train[:40], labels[:40], told=lines.append)
    linear_probe(train, labels, train[:40], labels[:40], told=lines.append)
    assert lines[0] == "nearest neighbours of 0 of 40 pictures" and lines[1] == "probe: C = 0.0001"
    assert lines[-1].startswith("probe: fit of all with C = ") and lines[-1].endswith("of at most 200")


def test_neither_the_threads_nor_the_kernels_of_blas_decide_about_a_picture():
    """The same bits where BLAS has one thread and plain arithmetic, and where it has two and what it chooses."""
    settings = ({"OPENBLAS_NUM_THREADS": "1", "OPENBLAS_CORETYPE": "Nehalem", "MKL_NUM_THREADS": "1"}, {})
    found = [
        subprocess.run([sys.executable, "-c", THREADS], env=os.environ | more, capture_output=True, text=True, check=True)
        for more in settings
    ]
    assert found[0].stdout == found[1].stdout and len(found[0].stdout) > 1000


FORKED = """
import os, sys, numpy as np
from dynlab.images.worth.knn import knn
x, y = np.eye(6, dtype=np.float32), np.arange(6)
if "before" not in sys.argv:
    assert knn(x, y, x, y, 1).share == 1.0
child = os.fork()
if not child:
    try:
        print(knn(x, y, x, y, 1).share, flush=True)
    except RuntimeError as error:
        print(f"{type(error).__name__}: {error}", flush=True)
    os._exit(0)
status = os.waitpid(child, 0)[1]
assert knn(x, y, x, y, 1).share == 1.0
sys.exit(0 if status == 0 else 3)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize("words", [[], ["before"]], ids=["after", "before"])
def test_a_process_forked_after_threads_were_used_is_told_to_be_spawned(words):
    """It does not end by a signal; it computes, or says in a line what to do. Forked before, it computes."""
    done = subprocess.run([sys.executable, "-c", FORKED, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1.0\n" or (not words and "ForkError" in done.stdout and "spawn" in done.stdout)


def test_the_features_of_most_curvature_are_found_as_fast_as_the_others():
    """Mixed and of sizes 3 to 0.03: the minimum is that of the features mixed in no way, found in about as many steps."""
    rng = np.random.default_rng(5)
    features, labels = clouds(300, 6, 3, 2, dtype="float64")
    mixed = features @ np.diag([3.0, 1, 1, 0.3, 0.1, 0.03]) @ rng.normal(size=(6, 6))
    parts = logistic.blocks(mixed, labels)
    known = logistic.fit(parts, 3, 1.0, iterations=2000)
    blind = logistic.fit(parts, 3, 1.0, iterations=2000, moments=np.eye(6))
    values = [logistic.Logistic(parts, 3, 1.0)(fit.flat)[0] for fit in (known, blind)]
    assert values[0] == pytest.approx(values[1], abs=1e-4)
    assert known.iterations < blind.iterations


def test_the_probe_approaches_the_best_there_is():
    """Three Gaussian clouds of one covariance: no rule is better than the nearest centre, and it is linear."""
    train, labels = clouds(6000, 4, 3, 0)
    test, test_labels = clouds(4000, 4, 3, 1)
    best = (test[:, :3].argmax(1) == test_labels).mean()
    stretch = np.array([1000.0, 1.0, 1e-3, 1.0], np.float32)
    found = linear_probe(train * stretch + 7.0, labels, test * stretch + 7.0, test_labels)
    assert abs(found.share - best) < 0.01
    assert linear_probe(train * stretch + 7.0, labels, test * stretch + 7.0, test_labels) == found
    assert set(found.details["held_out_accuracy"]) == {f"{c:g}" for c in STRENGTHS}
    assert found.details["converged"] and f"{found.details['C']:g}" in found.details["held_out_accuracy"]
    for word in ("6000 training", "4000 pictures", "C chosen of 0.0001, 0.001", "10% of each class", "standard errors"):
        assert word in found.protocol


def test_the_strength_is_chosen_where_the_held_out_part_says():
    """Few pictures, many features that mean nothing: all but strong shrinkage overfits."""
    train, labels = clouds(120, 100, 2, 3, apart=1.5, dtype="float64")
    held = stratified(labels, 0.3)
    inside, outside = (logistic.blocks(train[part], labels[part]) for part in (~held, held))
    chosen, tried, _ = choose_strength(Fits(inside, 2, logistic.second_moments(inside)), outside, (1e3, 1e-3))
    assert chosen == 1e-3 and tried["0.001"] >= tried["1000"]


def test_no_larger_strengths_are_tried_where_one_is_worse_beyond_doubt(monkeypatch):
    """Held-out pictures right, of 10000: 5000, 5200 (best), 5195 (no doubt), 4900 (three deviations of 71 are 212), 9000."""
    counts = iter([5000, 5200, 5195, 4900, 9000])

    class Told:
        flat = np.zeros(4)

        def correct(self, parts):
            return next(counts)

    monkeypatch.setattr(logistic, "fit", lambda *given, **more: Told())
    parts = logistic.blocks(np.zeros((10000, 1)), np.zeros(10000, int))
    chosen, tried, _ = choose_strength(Fits(parts, 2, np.eye(1)), parts, (1.0, 2.0, 3.0, 4.0, 5.0))
    assert chosen == 2.0 and tried == {"1": 0.5, "2": 0.52, "3": 0.5195, "4": 0.49}


def test_pictures_right_are_counted_by_their_largest_scores(monkeypatch):
    """By hand: one feature, weights (1, -1), biases (0, 1): class 0 from 1/2 on, of equals the first."""
    monkeypatch.setattr(logistic, "ROWS", 2)
    parts = logistic.blocks(np.array([[1.0], [0.5], [0.0], [-3.0], [2.0]]), np.array([0, 0, 1, 1, 1]))
    assert logistic.Fit(np.array([1.0, -1.0, 0.0, 1.0]), 2, 0, 0.0, 0.0).correct(parts) == 4


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("strip", [1, 3, 512])
def test_a_triangle_is_multiplied_in_strips(lower, strip, monkeypatch):
    monkeypatch.setattr(logistic, "STRIP", strip)
    rng = np.random.default_rng(0)
    matrix = np.tril(rng.normal(size=(7, 7))) if lower else np.triu(rng.normal(size=(7, 7)))
    left = rng.normal(size=(4, 7))
    expected = [[sum(left[i, k] * matrix[k, j] for k in range(7)) for j in range(7)] for i in range(4)]
    np.testing.assert_allclose(logistic.Triangle(matrix).after(left), expected, rtol=1e-13)


@settings(max_examples=25)
@given(counts=st.lists(st.integers(1, 30), min_size=1, max_size=5), share=st.sampled_from([0.1, 0.25, 0.5]))
def test_the_held_out_part_has_its_share_of_each_class(counts, share):
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    held = stratified(labels, share)
    for label, count in enumerate(counts):
        taken = int(held[labels == label].sum())
        assert taken == min(max(1, round(share * count)), count - 1)


def test_the_shape_of_known_clouds():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(20000, 6))
    shape = spectrum.shape(z)
    assert shape.rank == pytest.approx(6, abs=0.01) and shape.covariance_rank == pytest.approx(6, abs=0.01)
    assert shape.mean_abs_correlation < 0.02 and shape.dead == 0
    collapsed = spectrum.shape(z[:, :1] * np.array([1.0, -2.0, 3.0]) + 5.0)
    assert collapsed.rank == pytest.approx(1, abs=1e-6) and collapsed.mean_abs_correlation == pytest.approx(1)
    stretched = spectrum.shape(z * np.array([100.0, 1, 1, 1, 1, 1]))
    assert stretched.rank > 5.9 and stretched.covariance_rank < 1.02
    assert stretched.spectrum[0] == pytest.approx(1e4, rel=0.05)
    assert list(stretched.spectrum) == sorted(stretched.spectrum, reverse=True)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_rank_and_correlations_are_those_of_numpy_and_the_theory(dtype):
    z = (np.random.default_rng(1).normal(size=(50, 4)) @ np.random.default_rng(2).normal(size=(4, 4)) + 100.0).astype(dtype)
    shape = spectrum.shape(z)
    correlation = np.corrcoef(z.astype(float).T)
    assert shape.rank == pytest.approx(moments.spectral_rank(correlation), rel=1e-9)
    assert shape.mean_abs_correlation == pytest.approx(np.abs(correlation[~np.eye(4, dtype=bool)]).mean(), rel=1e-9)
    np.testing.assert_allclose(shape.spectrum, np.linalg.eigvalsh(np.cov(z.astype(float).T, bias=True))[::-1], rtol=1e-9)


def test_features_that_never_vary_are_counted_and_left_out():
    z = np.random.default_rng(0).normal(size=(1000, 4)).astype(np.float32)
    z[:, 1] = 0.1
    shape = spectrum.shape(z)
    assert shape.dead == 1 and shape.mean_abs_correlation < 0.1 and shape.spectrum[-1] == 0.0
    nothing = spectrum.shape(np.ones((10, 3)))
    assert nothing.dead == 3 and np.isnan(nothing.mean_abs_correlation)
    assert '"mean_abs_correlation": null' in json_text(nothing.as_json())  # JSON has no nan
    probe = linear_probe(z, np.arange(1000) % 2, z, np.arange(1000) % 2)
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
        assert spectrum.shape(blurred) == spectrum.shape(z) and spectrum.shape(z).dead == 1
        assert linear_probe(blurred, labels, z, labels) == linear_probe(z, labels, z, labels)
    everything = np.full((400, 3), 0.1, dtype) * (1 + np.finfo(dtype).eps * rng.integers(-1, 2, (400, 3)).astype(dtype))
    assert repr(spectrum.shape(everything)) == repr(spectrum.shape(np.full((400, 3), 0.1, dtype)))


@pytest.mark.parametrize("pictures, features", [(2000, 6), (40, 90)])
def test_eigenvalues_that_vanish_are_zero_in_the_spectrum(pictures, features):
    """Rank 3 by construction: the entropies are those of three numbers, whatever rounding leaves of the others."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(pictures, 3)) @ rng.normal(size=(3, features))
    shape = spectrum.shape(z)
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
@pytest.mark.parametrize("function", [knn, linear_probe])
def test_what_is_refused(function, change, word):
    rng = np.random.default_rng(0)
    given = {"train": rng.normal(size=(8, 2)), "train_labels": np.arange(8) % 2}
    given |= {"test": rng.normal(size=(4, 2)), "test_labels": np.arange(4) % 2}
    with pytest.raises(SettingError, match=word):
        function(**(given | change))
