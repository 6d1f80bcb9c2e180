"""Ensembles: the same bits however the work is cut, their tables, their starts, and the race law."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import dynlab
from dynlab import Model
from dynlab.ensembles import ensemble
from dynlab.population.moments import MERGED
from dynlab.population.outcomes import outcomes, squared_cosines
from dynlab.population.starts import draw_start
from dynlab.tools.intervals import wilson

FRAME = (
    "seed outcome cosine_1_1 cosine_1_2 cosine_2_1 cosine_2_2 carried_1_1 carried_1_2 carried_2_1 carried_2_2 "
    "time_first time_second head_peak time_peak head_bound rank head_end time_end loss_end drift status steps rejected"
).split()
SHARES = ["both", "only_strong", "only_weak", "neither", "waiting", "failed"]


def same_bits(a, b):
    pd.testing.assert_frame_equal(a.reset_index(drop=True), b.reset_index(drop=True), check_exact=True)


@pytest.mark.parametrize("activation", ["cubic", "relu"])
def test_threads_chunks_and_subsets(activation, monkeypatch):
    model = Model(activation=activation, weak=0.5)
    whole = dynlab.ensemble(model, dim=200, seeds=150, threads=1)
    same_bits(whole.frame, dynlab.ensemble(model, dim=200, seeds=150, threads=2).frame)
    chosen = [3, 77, 140, 12]
    same_bits(whole.frame.iloc[chosen], dynlab.ensemble(model, dim=200, seeds=chosen).frame)
    for chunk in (1, 7, 1000):
        monkeypatch.setattr(ensemble, "CHUNK", chunk)
        other = dynlab.ensemble(model, dim=200, seeds=150, threads=2)
        same_bits(whole.frame, other.frame)
        same_bits(whole.summary_row(), other.summary_row())


def test_the_seed_matters_and_the_count_does_not():
    few = dynlab.ensemble(Model(), dim=200, seeds=5).frame
    same_bits(few, dynlab.ensemble(Model(), dim=200, seeds=20).frame.iloc[:5])
    assert not few["time_first"].equals(dynlab.ensemble(Model(), dim=200, seeds=5, seed=1).frame["time_first"])


def test_columns():
    result = dynlab.ensemble(Model(), dim=200, seeds=50, eta_head=0.1)
    assert list(result.frame.columns) == FRAME
    summary = result.summary_row()
    assert len(summary) == 1
    needed = ["activation", "head", "dim", "seeds", "eta_head", "until", *SHARES, "merged", "time_first", "head_peak"]
    needed += ["head_bound", "head_end", "time_second", "steps"] + [f"{x}_{end}" for x in SHARES for end in ("low", "high")]
    assert set(needed) == set(summary.columns)
    row, frame = summary.iloc[0], result.frame
    assert row[SHARES].sum() == pytest.approx(1.0, abs=1e-12)
    for name in SHARES:
        count = int((frame["outcome"] == name).sum())
        assert row[name] == count / 50
        assert (row[f"{name}_low"], row[f"{name}_high"]) == wilson(count, 50)
    for name in ("time_first", "head_peak", "head_bound", "head_end", "steps"):
        assert row[name] == frame[name].median()
    assert row["merged"] == (frame["rank"] < MERGED).mean()
    assert (frame["head_peak"] <= frame["head_bound"] * (1 + 1e-6)).mean() > 0.9
    three = dynlab.ensemble(Model(strengths=(1.0, 0.7, 0.5)), dim=64, seeds=4, until=1e4)
    assert {"learnt_0", "learnt_3", "failed", "learnt_2_low"} <= set(three.summary_row().columns)
    assert set(three.frame["outcome"]) <= {"0", "1", "2", "3", "failed"}


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (186, 1000)])
def test_wilson(k, n):
    """The ends are the shares p at which k lies 1.96 standard errors away, sqrt(p (1 - p)/n)."""
    low, high = wilson(k, n)
    assert 0.0 <= low <= k / n <= high <= 1.0
    for end in {low, high} - {0.0, 1.0}:
        assert abs(k / n - end) == pytest.approx(1.959963984540054 * np.sqrt(end * (1 - end) / n), rel=1e-9)


def noiseless(powers):
    """States (N, m, K) of a cubic model of equal strengths whose outputs carry these shares, without noise."""
    signal = np.array(powers) ** (1 / 6)
    return signal, np.zeros((len(signal), signal.shape[1], signal.shape[1]))


def test_outcomes():
    model = Model(weak=1.0, activation="cubic")
    shares = [
        [[0.99, 0.01], [0.02, 0.98]], [[0.99, 0.01], [0.99, 0.01]], [[0.01, 0.99], [0.0, 1.0]], [[0.99, 0.01], [0.02, 0.98]],
    ]  # fmt: skip
    signal, gram = noiseless(shares)
    failed = np.array([False, False, False, True])
    assert outcomes(model, signal, gram, failed).tolist() == ["both", "only_strong", "only_weak", "failed"]
    for share, said in ((0.049, "only_strong"), (0.051, "both")):
        edge = noiseless([[[1 - share, share], [1.0, 0.0]]])
        assert outcomes(model, *edge, failed[:1]).tolist() == [said]
    # v_1 with a noise part b: 12/5 A^6 against 90 sigma^6 b^6 = 45/32 b^6; 5 % at (b/A)^6 = 19 * 12/5 * 32/45.
    ratio = (19 * 2.4 * 32 / 45) ** (1 / 3)
    for more, said in ((0.99, "only_strong"), (1.01, "neither")):
        state = np.array([[[1.0, 0.0], [0.0, 0.0]]]), np.array([[[ratio * more, 0.0], [0.0, 1.0]]])
        assert outcomes(Model(activation="cubic"), *state, failed[:1]).tolist() == [said]
    wide = Model(strengths=(1.0, 0.8, 0.5), activation="cubic")
    assert outcomes(wide, np.eye(3)[None, [0, 1]], np.zeros((1, 2, 2)), failed[:1]).tolist() == ["2"]


def test_squared_cosines():
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((2, 7))
    state = dynlab.OrderParameters.from_weights(Model(), weights)
    expected = weights[:, :2] ** 2 / (weights**2).sum(1, keepdims=True)
    np.testing.assert_allclose(squared_cosines(Model(), state.signal, state.noise_gram), expected, rtol=1e-13)


def test_opposite_relu_neurons_are_not_collapsed():
    """Without head two relu neurons end on the strong feature with equal or opposite signs, half of the starts each. Outputs
    of opposite signs are two functions: rank 1.92 (1.931 without the noise that relu keeps, by hand in
    tests/population/test_moments.py).
    """
    run = dynlab.ensemble(Model(activation="relu"), dim=1000, seeds=200, head="none")
    signs = np.sign(run.ends[0][:, :, 0]).prod(1)
    rank = run.frame["rank"].to_numpy()
    assert run.frame["outcome"].eq("only_strong").all() and (np.abs(run.ends[0][:, :, 1]) < 1e-9).all()
    assert (rank[signs < 0] > 1.9).all() and (rank[signs < 0] < 1.931).all() and (rank[signs > 0] < 1.06).all()
    assert run.summary_row()["merged"].iloc[0] == (signs > 0).mean() and 60 < (signs > 0).sum() < 140


def test_outputs_tell_what_is_learnt_where_noise_costs_nothing():
    """Little noise: weights keep long noise parts, squared cosines stay small, yet the outputs are all feature."""
    model = Model(activation="relu3", strengths=(0.85, 0.21, 0.19), noise=0.03, patches=8)
    frame = dynlab.ensemble(model, dim=1398, seeds=4, head="none").frame
    assert (frame[[f"cosine_{j}_{l}" for j in (1, 2) for l in (1, 2, 3)]].max() < 0.05).all()
    assert (frame["carried_1_1"] > 0.99).all() and (frame["carried_2_1"] > 0.99).all()
    assert frame["outcome"].eq("1").all() and frame["status"].isin(("until", "stationary")).all()


@pytest.mark.parametrize("dim", [6, 40])
def test_starts_are_those_of_dense_weights(dim):
    """Kolmogorov and Smirnov against w_j ~ N(0, I/d) drawn in d dimensions: A, norms and angle of the noise parts."""
    model, count = Model(), 1500
    drawn = [draw_start(model, dim, 5, i) for i in range(count)]
    rng = np.random.default_rng(1)
    dense = rng.standard_normal((count, 2, dim)) / np.sqrt(dim)
    noise = dense[:, :, 2:]
    plain = noise @ noise.transpose(0, 2, 1)
    signal = np.array([start.signal for start in drawn])
    gram = np.array([start.noise_gram for start in drawn])
    assert (np.array([start.head for start in drawn]) == np.eye(2)).all()
    for j in range(2):
        assert stats.kstest(gram[:, j, j] * dim, stats.chi2(dim - 2).cdf).pvalue > 1e-3
        assert stats.ks_2samp(gram[:, j, j], plain[:, j, j]).pvalue > 1e-3
        for f in range(2):
            assert stats.kstest(signal[:, j, f] * np.sqrt(dim), stats.norm.cdf).pvalue > 1e-3
    angle, plain_angle = (q[:, 0, 1] / np.sqrt(q[:, 0, 0] * q[:, 1, 1]) for q in (gram, plain))
    assert stats.ks_2samp(angle, plain_angle).pvalue > 1e-3
    # Moments, with the standard errors of the normal law: E A = 0, E A A' = 1/d between equal entries only.
    flat = signal.reshape(count, 4)
    np.testing.assert_allclose(flat.T @ flat / count * dim, np.eye(4), atol=5 * np.sqrt(2 / count))
    np.testing.assert_allclose(gram.mean(0), (dim - 2) / dim * np.eye(2), atol=5 * np.sqrt(2 / count / dim) * 1.1)


def test_race_law():
    """Head none, cubic: a neuron takes the weak feature with p = (2/pi) arctan((weak/strong)^(3/2)), by itself."""
    seeds = 4000
    p = 2 / np.pi * np.arctan(0.3**1.5)
    expected = {"both": 2 * p * (1 - p), "only_strong": (1 - p) ** 2, "only_weak": p * p}
    frame = dynlab.ensemble(Model(weak=0.3), dim=1000, seeds=seeds, head="none").frame
    for name, share in expected.items():
        count = int((frame["outcome"] == name).sum())
        low, high = wilson(count, seeds)
        assert low <= share <= high, f"{name}: {count} of {seeds}, law {share:.4f}"
    assert not frame["outcome"].isin(["neither", "failed"]).any()


def test_cost_does_not_grow_with_dim():
    peaks = []
    for dim in (1000, 10**12):
        dynlab.ensemble(Model(), dim=dim, seeds=4, threads=1)
        tracemalloc.start()
        dynlab.ensemble(Model(), dim=dim, seeds=64, threads=1)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0] and peaks[1] < 20e6


def test_progress_is_told_from_the_calling_thread():
    import threading

    told = []
    dynlab.ensemble(Model(), dim=100, seeds=200, progress=lambda done: told.append((done, threading.get_ident())))
    assert [done for done, _ in told] == sorted(done for done, _ in told) and told[-1][0] == 200
    assert {who for _, who in told} == {threading.get_ident()}
