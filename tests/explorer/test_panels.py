"""What the page shows, as arrays: against the trajectory, the exact force, and the ensemble of the same starts."""

from __future__ import annotations

import numpy as np
import pytest

import dynlab
from dynlab.explorer import panels
from dynlab.explorer.explored import Explored
from dynlab.population.moments import output_correlations


@pytest.fixture(scope="module")
def shown():
    return panels.followed(Explored())


def test_lines_are_the_trajectory_in_increasing_places(shown):
    lines, run, kept = shown.lines, shown.run, shown.kept
    assert (np.diff(lines["place"]) >= 0.0).all() and lines["place"][0] == 0.0 and lines["place"][-1] == 1.0
    assert kept[0] == 0 and kept[-1] == len(run.time) - 1 and len(kept) <= panels.MOST_POINTS
    assert (lines["w21"] == np.abs(run.signal[kept, 1, 0])).all() and (lines["E12"] == np.abs(run.head[kept, 0, 1])).all()
    # Two outputs of correlation c: the eigenvalues are 1 + |c| and 1 - |c|.
    correlation = np.abs(output_correlations(run.model, run.signal[kept], run.noise_gram[kept])[:, 0, 1])
    assert lines["first"] == pytest.approx(1.0 + correlation) and lines["second"] == pytest.approx(
        1.0 - correlation, abs=1e-12
    )


def test_phases_take_their_share_of_the_axis(shown):
    assert list(shown.windows) == ["I", "II", "III", "IV"]
    for window in shown.windows.values():
        left, right = shown.scale.places(np.array(window))
        assert right - left > 0.99 * panels.PHASE_SHARE
    marks = shown.marks
    assert list(marks) == ["T₁", "T₂", "T₃"] and sorted(marks.values()) == list(marks.values())
    times = shown.scale.times(np.array(list(marks.values())))
    assert times == pytest.approx([shown.run.events[name] for name in ("first", "peak", "second")], rel=1e-9)
    assert panels.followed(Explored(head="none")).windows == {}


def test_the_bars_are_the_force_on_the_borrower(shown):
    """Their signed sum over the sum of their sizes is that of the exact gradient, for each coordinate."""
    run, o = shown.run, shown.borrower
    for place in (0.1, shown.marks["T₂"], 0.95):
        n = shown.nearest(place)
        bars = panels.force_bars(shown, n)
        assert {bar.term for bar in bars} == {"learning", "borrowing", "lending", "drive", "noise", "mismatch"}
        weights = np.zeros((2, 4))
        weights[:, :2] = run.signal[n]
        weights[:, 2:] = np.linalg.cholesky(run.noise_gram[n])
        _, d_weights, d_head = dynlab.population_gradient(run.model, weights, run.head[n])
        forces = [-d_weights[o, 0] * np.sign(run.signal[n, o, 0]), -d_weights[o, 1] * np.sign(run.signal[n, o, 1])]
        forces.append(-d_head[o, 1 - o] * np.sign(run.head[n, o, 1 - o]))
        for coordinate, force in zip(dict.fromkeys(bar.coordinate for bar in bars), forces, strict=True):
            shares = [bar.share for bar in bars if bar.coordinate == coordinate]
            assert np.abs(shares).sum() == pytest.approx(1.0)
            assert np.sign(round(sum(shares), 9)) in (0.0, np.sign(force)), (place, coordinate)


def test_at_the_peak_borrowing_moves_the_borrower_to_the_weak_feature(shown):
    bars = {(bar.coordinate, bar.term): bar.share for bar in panels.force_bars(shown, shown.nearest(shown.marks["T₂"]))}
    assert shown.borrower == 0
    assert bars["⟨w₁,v₂⟩", "borrowing"] > 0.9 and bars["⟨w₁,v₁⟩", "borrowing"] < -0.3
    assert bars["E₁₂", "drive"] + bars["E₁₂", "mismatch"] == pytest.approx(0.0, abs=0.1)  # at its peak the head rests


def test_without_a_split_it_says_why():
    for given in ({"head": "linear"}, {"stop_gradient": "none"}, {"normalisation": "scale"}):
        chosen = Explored(**given)
        assert panels.why_no_terms(chosen).startswith("The split belongs")
        assert panels.force_bars(panels.followed(chosen), 3) == []


def test_pieces_of_outcomes_are_the_ensemble():
    chosen = Explored(dim=64, seed=2)
    found = np.concatenate(list(panels.outcome_pieces(chosen)))
    whole = dynlab.ensemble(chosen.model, dim=64, seeds=panels.STARTS, seed=2)
    assert [panels.OUTCOME_NAMES[n] for n in found] == list(whole.frame["outcome"])
    words = panels.outcome_words(found)
    assert f"both features {100 * (found == 0).mean():.1f} %" in words


def test_the_story_says_what_is_learnt(shown):
    told = panels.story(shown)
    assert told.startswith("Neuron 2 aligns with a feature first (T₁); output 1 borrows it, E₁₂ up to 0.056")
    assert "Both features are learnt. The two outputs end as two different numbers (effective rank 2.00)." in told
    alone = panels.story(panels.followed(Explored(head="none")))
    assert alone.startswith("Only the strong feature is learnt: the weak one is lost.") and "collapsed" in alone
