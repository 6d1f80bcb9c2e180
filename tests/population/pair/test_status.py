"""A trajectory that fails is counted and named, never dropped."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import dynlab
from dynlab import Model, OrderParameters
from dynlab.population.pair import flow
from dynlab.population.starts import draw_start
from dynlab.population.status import STATUS_NAMES

MODEL = Model()


@pytest.fixture
def few_steps(monkeypatch):
    monkeypatch.setattr(flow, "run_flow", partial(flow.run_flow, max_steps=30))


def test_too_few_steps_are_a_failure(few_steps):
    result = dynlab.ensemble(MODEL, dim=1000, seeds=12)
    frame = result.frame
    assert len(frame) == 12 and frame["seed"].tolist() == list(range(12))
    assert (frame["status"] == "steps").all() and (frame["outcome"] == "failed").all()
    assert ((frame["steps"] + frame["rejected"]) == 30).all()
    summary = result.summary_row().iloc[0]
    assert summary["failed"] == 1.0 and summary["seeds"] == 12
    assert summary[["both", "only_strong", "only_weak", "neither"]].sum() == 0.0


def test_some_failures_stay_in_the_shares(monkeypatch):
    """The failed seeds count in the denominator: the shares of five outcomes add up to one."""
    plain = dynlab.ensemble(MODEL, dim=1000, seeds=40)
    limit = int((plain.frame["steps"] + plain.frame["rejected"]).median())
    monkeypatch.setattr(flow, "run_flow", partial(flow.run_flow, max_steps=limit))
    result = dynlab.ensemble(MODEL, dim=1000, seeds=40)
    failed = result.frame["outcome"] == "failed"
    assert 0 < failed.sum() < 40
    assert (failed == (result.frame["status"] == "steps")).all()
    summary = result.summary_row().iloc[0]
    assert summary["failed"] == failed.mean()
    shares = summary[["both", "only_strong", "only_weak", "neither", "waiting", "failed"]].sum()
    assert shares == pytest.approx(1.0, abs=1e-12)
    kept = plain.frame[~failed]
    assert result.frame[~failed]["outcome"].tolist() == kept["outcome"].tolist()


def test_a_failed_run_keeps_what_it_had(few_steps):
    run = dynlab.simulate(MODEL, draw_start(MODEL, 1000, 0, 0))
    assert run.status == "steps" and not run.success
    assert len(run.time) > 30 and np.isfinite(run.signal).all()
    assert np.isnan(run.events["stationary"])
    cut = dynlab.simulate(MODEL, draw_start(MODEL, 1000, 0, 0), times=[1.0, 1e11])
    assert cut.status == "steps" and cut.time.tolist() == [1.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_states_that_are_not_finite(bad):
    """Refused where a state is made; named where one gets into the solver all the same; its neighbours unharmed."""
    with pytest.raises(ValueError, match="finite"):
        OrderParameters([[bad, 0.1], [0.1, 0.1]], np.eye(2))
    starts = [draw_start(MODEL, 100, 0, i) for i in range(3)]
    z, side = (np.array(part) for part in zip(*(flow.encode(MODEL, start) for start in starts), strict=True))
    spoilt = z.copy()
    spoilt[1, 0] = bad
    options = {"head_rate": 0.01, "until": 1e4, "rtol": 1e-6, "settle": False}
    good, mixed = (flow.run_flow(MODEL, states, side, **options) for states in (z, spoilt))
    names = [STATUS_NAMES[code] for code in mixed.status.tolist()]
    assert names == ["until", "not finite", "until"]
    np.testing.assert_array_equal(mixed.end[[0, 2]], good.end[[0, 2]])


@pytest.mark.parametrize("activation", ["cubic", "relu3", "relu", "linear"])
def test_a_signal_of_zero_stays_zero(activation):
    model = Model(weak=0.5, activation=activation)
    start = OrderParameters([[0.5, 0.0], [0.0, 0.4]], np.eye(2))
    run = dynlab.simulate(model, start, head="none", until=2.0)
    assert run.success
    assert (run.signal[:, 0, 1] == 0.0).all() and (run.signal[:, 1, 0] == 0.0).all()
    assert (np.abs(run.signal[-1] - start.signal) > 1e-6).any()


@pytest.mark.parametrize("until", [1e101, 1e300])
def test_an_end_beyond_the_range_of_numbers_is_refused(until):
    """Decays like t^(-1/2) and what they leave of a force are below the smallest number long before."""
    with pytest.raises(dynlab.SettingError, match="1e\\+100"):
        dynlab.ensemble(MODEL, seeds=2, until=until)
    with pytest.raises(dynlab.SettingError, match="1e\\+100"):
        dynlab.simulate(MODEL, draw_start(MODEL, 1000, 0, 0), until=until)


def test_the_latest_end_is_reached():
    frame = dynlab.ensemble(MODEL, seeds=4, until=1e100).frame
    assert frame["status"].eq("until").all() and np.isfinite(frame["loss_end"]).all()
