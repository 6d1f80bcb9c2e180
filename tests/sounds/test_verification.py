"""Error rates against counting over all thresholds, values worked by hand, and the law of normal scores."""

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynlab.images.data.archives import DataError
from dynlab.sounds import verification
from dynlab.sounds.recordings import Recordings
from dynlab.sounds.verification import cosine_scores, equal_error_rate, error_rates, least_detection_cost, trials_from_file
from dynlab.tools.checks import SettingError
from tests.sounds import naive_sounds as naive

SCORES = st.lists(st.tuples(st.sampled_from([-1.0, -0.5, 0.0, 0.1, 0.1 + 1e-12, 0.7, 1.0]), st.booleans()), min_size=2)


def named(names, speakers, labels=None):
    fields = [{"speaker": s} | ({} if labels is None else {"label": labels[i]}) for i, s in enumerate(speakers)]
    return Recordings(np.zeros(0, "f4"), np.zeros(len(names) + 1, int), 8000, tuple(names), tuple(fields))


@given(SCORES, st.floats(0.01, 0.99))
def test_rates_are_those_of_a_sweep_over_all_thresholds(trials, prior):
    scores, target = [s for s, _ in trials], [t for _, t in trials]
    if all(target) or not any(target):
        return
    given_, truth = np.array(scores), np.array(target)
    assert np.array(error_rates(given_, truth)).T == pytest.approx(np.array(naive.operating_points(scores, target)))
    rate = equal_error_rate(given_, truth)
    assert rate == pytest.approx(naive.equal_error_rate(scores, target), abs=1e-12)
    assert least_detection_cost(given_, truth, prior) == pytest.approx(naive.least_cost(scores, target, prior), abs=1e-12)
    # An increasing function of the scores changes nothing, nor does taking the two kinds for each other the other way round.
    assert equal_error_rate(np.sinh(given_) + given_, truth) == pytest.approx(rate, abs=1e-12)
    assert equal_error_rate(-given_, ~truth) == pytest.approx(rate, abs=1e-12)


@pytest.mark.parametrize(
    "targets, others, rate, cost",
    [
        ([2, 3], [0, 1], 0.0, 0.0),
        ([1, 3], [0, 2], 0.5, 0.5),  # threshold above 2: one of two missed, no false alarm
        ([0, 1], [2, 3], 1.0, 1.0),
        ([1, 1], [1, 1, 1], 0.5, 1.0),
        ([2, 3, 4, 5], [0, 1, 1, 2.5], 0.25, 0.25),
        ([1, 2, 2], [0, 2], 3 / 7, 1.0),  # (1/2, 1/3) to (0, 1) crosses at a seventh of the way
    ],
)
def test_worked_values(targets, others, rate, cost):
    scores, target = np.array([*targets, *others], float), np.array([True] * len(targets) + [False] * len(others))
    assert equal_error_rate(scores, target) == pytest.approx(rate, abs=1e-15)
    assert least_detection_cost(scores, target) == pytest.approx(cost, abs=1e-15)


def test_normal_scores_a_distance_apart():
    quantiles = np.array([NormalDist().inv_cdf((i + 0.5) / 2000) for i in range(2000)])
    scores, target = np.concatenate([quantiles + 2.0, quantiles]), np.arange(4000) < 2000
    assert equal_error_rate(scores, target) == pytest.approx(NormalDist().cdf(-1.0), abs=1e-3)


def test_trials_across_labels():
    # Two speakers, two digits, two recordings of each: 8 * 7/2 pairs, of which 2 * 6 are of one digit.
    known = named("abcdefgh", "xxxxyyyy", "00110011")
    trials = verification.trials_of(known)
    assert (len(trials), int(trials.target.sum())) == (16, 8)
    labels = known.of("label")
    assert (labels[trials.first] != labels[trials.second]).all() and (trials.first < trials.second).all()
    assert len(verification.trials_of(named("abc", "xxy"))) == 3
    with pytest.raises(DataError, match="0 of 1 of one"):
        verification.trials_of(named("ab", "xy"))


def test_trials_from_a_file(tmp_path):
    known, path = named(["a/1.wav", "a/2.wav", "b/1.wav"], "aab"), tmp_path / "trials.txt"
    path.write_text("1 a/1.wav a/2.wav\n\n0 a/1.wav b/1.wav\n")
    trials = trials_from_file(path, known)
    assert (trials.first.tolist(), trials.second.tolist(), trials.target.tolist()) == ([0, 0], [1, 2], [True, False])
    for text, said in (
        ("1 a/1.wav", "line 1"), ("1 a/1.wav a/2.wav\n2 a/1.wav b/1.wav", "line 2"), ("1 a/1.wav c.wav", "c.wav"),
        ("1 a/1.wav a/2.wav", "1 of 1"), ("", "0 of 0"),
    ):  # fmt: skip
        path.write_text(text)
        with pytest.raises(DataError, match=said):
            trials_from_file(path, known)
    with pytest.raises(DataError, match="file of trials"):
        trials_from_file(tmp_path / "none", known)


def test_scores_are_cosines():
    rows = np.array([[3.0, 4.0], [4.0, 3.0], [0.0, 0.0]], np.float32)
    trials = verification.Trials(np.array([0, 0]), np.array([1, 2]), np.array([True, False]), "")
    assert cosine_scores(rows, trials).tolist() == pytest.approx([0.96, 0.0])
    assert cosine_scores(rows, trials, np.array([3.0, 3.0]))[0] == 0.0
    found = verification.verify(rows, trials)
    assert (found.eer, found.min_dcf, found.targets, found.others) == (0.0, 0.0, 1, 1) and found.as_json()["eer"] == 0.0


def test_whitened_embeddings_have_unit_covariance():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 3)) @ np.array([[2.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.0, 0.0, 9.0]]) + 5.0
    mean, turn = verification.whitening(rows)
    assert np.cov(((rows - mean) @ turn).T) == pytest.approx(np.eye(3), abs=1e-9)


def test_mean_and_deviation_of_each_recording():
    features = np.array([[1.0, 0.0], [3.0, 0.0], [7.0, 2.0]])
    assert verification.mean_and_deviation(features, np.array([0, 2, 3])).tolist() == [[2, 0, 1, 0], [7, 2, 0, 0]]


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(SettingError, match="target"):
        equal_error_rate(np.array([1.0]), np.array([True]))
    with pytest.raises(SettingError, match="prior"):
        least_detection_cost(np.array([1.0, 0.0]), np.array([True, False]), 1.0)
