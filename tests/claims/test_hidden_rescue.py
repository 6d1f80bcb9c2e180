"""The claim on hidden units: what it counts as learnt, and its verdicts on ensembles written by hand."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import dynlab
from dynlab.claims import hidden_rescue
from dynlab.claims.claim import FAILS, HOLDS, OUT_OF_REACH, Scale
from dynlab.claims.judgement import scale_of

SEEDS = 400
SCALE = Scale(dims=(10**3, 10**4), seeds=10, rare_seeds=10, rates=(0.1,), slow_seeds=SEEDS)


def ensemble(learn, rank=1.0, peak=0.9, end=1e-6, drift=1e-5, hidden=1, sided=1.0):
    """An ensemble of which the first part `learn` learns the weak feature and the first part `rank` has two outputs.

    sided: the part of the outputs whose readouts are of one sign, and which answer +v_1 alone; the others answer -v_1 too.
    """
    place = np.arange(SEEDS) / SEEDS
    frame = pd.DataFrame({
        "carried_1_2": np.where(place < learn, 0.2, 0.04), "carried_2_2": 0.01,
        "rank": np.where(place < rank, 1.9, 1.1), "head_peak": peak, "head_bound": 1.0, "head_end": end, "drift": drift,
    })  # fmt: skip
    both = np.tile((place < 1.0 - sided)[:, None], (1, 2))
    own = np.where(both[:, :, None] & (np.arange(hidden) == 1), -1.0, 1.0)  # (N, m, H)
    readout = np.zeros((SEEDS, 2, 2 * hidden))
    readout[:, 0, :hidden], readout[:, 1, hidden:] = own[:, 0], own[:, 1]
    signal = np.stack([own.reshape(SEEDS, -1), np.zeros((SEEDS, 2 * hidden))], axis=-1)
    model = dynlab.Model(activation="relu", hidden=hidden, readout="own")
    return SimpleNamespace(
        model=model, frame=frame, starts=(None, None, None, readout), ends=(signal, None, None, readout)
    )  # fmt: skip


def judged(**changed):
    """Verdicts by name, of ensembles in which all holds but for what is changed: {(hidden, rate): ensemble}."""
    runs = {(1, None): ensemble(0.0, 0.5), (1, 0.1): ensemble(0.0),
            (2, None): ensemble(0.0, 0.125, hidden=2, sided=0.5), (2, 0.1): ensemble(0.2, hidden=2),
            (4, None): ensemble(0.0, 0.125, hidden=4, sided=0.5), (4, 0.1): ensemble(0.4, 0.5, hidden=4)}  # fmt: skip
    runs |= changed.get("runs", {})
    by_point = {point: runs[point.model.hidden, None if point.head == "none" else point.eta_head]
                for point in hidden_rescue.points(SCALE)}  # fmt: skip
    found = hidden_rescue.judge(SCALE, by_point)
    assert len({record.name for record in found.records}) == len(found.records)
    return {record.name: record for record in found.records}, found


def test_all_holds_where_all_holds():
    records, found = judged()
    assert {record.verdict for record in records.values()} == {HOLDS}
    assert len(records) == 15
    assert records["rescue, 4 units, weak 0.3, r = 0.1"].measured == pytest.approx(0.4)
    assert records["rescue grows with the units, weak 0.3, r = 0.1"].measured == pytest.approx(0.2)
    assert [curve.label for curve in found.panel.curves] == ["no head, weak 0.3", "r = 0.1, weak 0.3"]


@pytest.mark.parametrize(
    ("name", "runs", "verdict"),
    [
        ("no rescue, one unit, weak 0.3, r = 0.1", {(1, 0.1): ensemble(0.1)}, FAILS),
        ("rescue, 2 units, weak 0.3, r = 0.1", {(2, 0.1): ensemble(0.0)}, FAILS),
        ("rescue, 2 units, weak 0.3, r = 0.1", {(2, 0.1): ensemble(0.015)}, OUT_OF_REACH),
        ("rescue grows with the units, weak 0.3, r = 0.1", {(4, 0.1): ensemble(0.1, 0.5)}, FAILS),
        ("who is not rescued, 4 units", {(4, 0.1): ensemble(0.6, 0.5, hidden=4)}, FAILS),
        ("outputs differ", {(4, 0.1): ensemble(0.4, 0.1)}, FAILS),
        ("which outputs differ without a head, H = 1", {(1, None): ensemble(0.0, 0.8)}, FAILS),
        ("which outputs differ without a head, H = 2", {(2, None): ensemble(0.0, 0.5, hidden=2, sided=0.5)}, FAILS),
        ("the bound holds", {(4, 0.1): ensemble(0.4, 0.5, peak=1.1)}, FAILS),
        ("the head returns", {(4, 0.1): ensemble(0.4, 0.5, end=0.1)}, FAILS),
        ("conserved", {(2, None): ensemble(0.0, 0.125, drift=0.1, hidden=2, sided=0.5)}, FAILS),
    ],
)
def test_what_does_not_hold_fails(name, runs, verdict):
    records, _ = judged(runs=runs)
    assert records[name].verdict == verdict


def test_outputs_whose_readouts_are_of_one_sign_may_still_answer_both():
    run = ensemble(0.0, 0.125, hidden=2, sided=0.5)
    run.starts[3][:] = np.abs(run.starts[3])  # now all start with one sign
    assert hidden_rescue.one_sign(run).all()
    assert hidden_rescue.one_sided(run).mean() == 0.5
    records, _ = judged(runs={(2, None): run})
    assert records["readouts of one sign, 2 units"].verdict == FAILS
    assert records["readouts of one sign, 2 units"].measured == 0.5


def test_the_whole_run_has_all_cells_and_the_quick_one_a_few():
    whole = scale_of(SimpleNamespace(quick=False, seed=0))
    quick = scale_of(SimpleNamespace(quick=True, seed=0))
    assert len(hidden_rescue.points(whole)) == 15
    assert {(p.model.hidden, p.head, p.eta_head) for p in hidden_rescue.points(quick)} == {
        (hidden, head, rate) for hidden in (1, 2, 4) for head, rate in (("none", 0.01), ("off-diagonal", 0.1))
    }
