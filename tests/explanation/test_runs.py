"""What explain says of runs of the theory and of finite samples: numbers against the runs' own files, and the words."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from dynlab import run
from dynlab.explain import main as explain_command
from dynlab.explanation import diagnosis
from dynlab.explanation import recorded as read
from dynlab.explanation.advice import Trial
from dynlab.explanation.explanation import explain
from dynlab.explanation.words import tried
from dynlab.population.pair import limit
from dynlab.population.pair.phases import head_return
from dynlab.population.starts import draw_start
from dynlab.population.status import remedy
from dynlab.tools.intervals import Pairs

MERGING = 224  # its start 0 merges at dim 1000, weak 0.3, eta_head 0.01: the limit's rule says so, and the flow does


def made(folder, words: str):
    assert run.main([*words.split(), "--no-plots", "--quiet", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def cubic(tmp_path_factory):
    return made(tmp_path_factory.mktemp("cubic") / "run", "--activation cubic --seeds 40")


@pytest.fixture(scope="module")
def merging(tmp_path_factory):
    return made(tmp_path_factory.mktemp("merging") / "run", f"--activation cubic --seeds 1 --seed {MERGING}")


@pytest.fixture(scope="module")
def samples(tmp_path_factory):
    words = "--method sgd --activation cubic --seeds 1 --batch 64 --dim 8 --steps 300 --lr 0.05"
    return made(tmp_path_factory.mktemp("samples") / "run", words)


def only(folder, head: str, **more):
    """The one trajectory with that head, explained."""
    found = explain(folder, head=head, **more)
    assert len(found.runs) == 1
    return found.runs[0]


def test_a_run_through_all_phases(cubic):
    """Times are those that the run's solver located; the theory's are near; every phase has its own main push."""
    said = only(cubic, "off-diagonal")
    finding, row = said.finding, pd.read_csv(cubic / "ensemble.csv").iloc[0]
    assert finding.phase == "rest" and finding.final == "rest" and not finding.ahead
    assert finding.times["T_1"] == row["time_first"] and finding.times["T_3"] == row["time_second"]
    assert finding.times["T_2"] == row["time_peak"] and finding.peak == pytest.approx(row["head_peak"], rel=1e-3)
    times = list(finding.times.values())
    assert times == sorted(times) and np.isfinite(times).all()
    start = draw_start(finding.run.model, 1000, 0, finding.run.number)
    back = head_return(finding.run.model, start, 0.01, until=1e12)
    assert back <= finding.times["T_4"] <= back + 0.2 * (back - finding.times["T_3"]), "T_4 is the next record"
    assert finding.prediction.first == pytest.approx(finding.times["T_1"], rel=0.01)
    assert finding.prediction.peak == pytest.approx(finding.times["T_2"], rel=0.3)
    assert finding.prediction.merged is False
    who = finding.roles
    at = finding.moments["II"]
    assert at.terms.drive[who.borrower, who.lender] * at.head[who.borrower, who.lender] > 0.0
    at = finding.moments["III"].terms
    mine = (who.borrower, who.second)
    assert abs(at.own("borrowing")[mine]) > 1e3 * abs(at.own("learning")[mine]), "acceleration is what borrowing makes"
    at = finding.moments["IV"]
    pull = (at.terms.mismatch * at.head)[who.borrower, who.lender]
    assert pull < 0.0 and abs(pull) > 1e3 * abs((at.terms.drive * at.head)[who.borrower, who.lender])
    assert "HEALTHY" in said.lines[1] and "COLLAPSED" not in "\n".join(said.lines)
    for number in ("I    to", "II   to", "III ", "IV  "):
        assert sum(line.startswith(f"  {number}") for line in said.lines) == 1


def test_the_same_start_without_a_head(cubic):
    said = only(cubic, "none")
    finding = said.finding
    assert finding.phase == "collapsed" and said.lines[1].startswith("COLLAPSED") and "the strong feature" in said.lines[1]
    assert finding.prediction.times[finding.roles.borrower, 0] == pytest.approx(finding.alone, rel=0.01)
    assert np.isnan(finding.times["T_2"]) and finding.prediction.merged is None
    assert said.suggestions[0].training["head"] == "off-diagonal"


def test_the_text_fits_a_screen(cubic, merging, samples):
    for folder in (cubic, merging, samples):
        for said in explain(folder).runs:
            assert max(map(len, said.lines)) <= 100
            assert len(said.lines) <= 33, "\n".join(said.lines)


def test_the_shares_are_those_of_the_folder_and_of_the_limit(cubic):
    """The theory's shares are of the run's own starts: drawn again here one at a time."""
    summary = pd.read_csv(cubic / "summary.csv").set_index("head")
    for head in ("off-diagonal", "none"):
        said = only(cubic, head)
        assert said.shares.both == summary.loc[head, "both"] and said.shares.merged == summary.loc[head, "merged"]
        starts = [draw_start(said.finding.run.model, 1000, 0, i) for i in range(40)]
        taken = [limit.head_free_features(said.finding.run.model, s.signal, s.noise_gram) for s in starts]
        if head == "none":
            assert said.shares.both_predicted == np.mean([a != b for a, b in taken])
        else:
            told = [limit.fate(said.finding.run.model, s.signal[None], s.noise_gram[None], 0.01).merged[0] for s in starts]
            assert said.shares.merged_predicted == np.mean(told)


@pytest.mark.parametrize(("share", "phase"), [(0.5, "I"), (20.0, "II")])
def test_an_earlier_time(cubic, share, phase):
    """--at: what has not happened by then is not told as happened, and the forces sum to the whole."""
    whole = only(cubic, "off-diagonal").finding
    said = only(cubic, "off-diagonal", at=share * whole.times["T_1"])
    finding = said.finding
    assert finding.phase == phase and said.lines[1].startswith(f"PHASE {phase}") and finding.final == "rest"
    text = " ".join(" ".join(said.lines).split())
    assert "What pushes at" in text and "Next (the run, later on)" in text and "III to" not in text
    at = finding.now.terms
    own = sum(at.own(name) for name in ("learning", "borrowing", "centring"))
    assert np.allclose(own + at.lending, at.signal, rtol=1e-12, atol=0.0)


def test_a_run_that_was_ended_early_is_followed_on(tmp_path, cubic):
    """What comes next, from the last record, is what the longer run of the same start did."""
    folder = made(tmp_path / "run", "--activation cubic --seeds 3 --until 1e6")
    finding, whole = only(folder, "off-diagonal").finding, only(cubic, "off-diagonal").finding
    assert finding.phase == "II" and finding.final == "rest" and set(finding.ahead) == {"T_2", "T_3", "T_4"}
    for name in ("T_2", "T_3", "T_4"):
        assert finding.times[name] == pytest.approx(whole.times[name], rel=0.01)


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((256, 20, 2), "it helps (of 256 starts 20 only after, 2 only before)"),
        ((256, 2, 20), "it harms (of 256 starts 2 only after, 20 only before)"),
        ((256, 0, 0), "no difference above 1.5 % (of 256 starts 0 only after, 0 only before)"),
        ((10, 5, 0), "10 starts cannot tell (a difference between +0.0 and "),
    ],
)
def test_what_a_trial_says(counts, words):
    """z^2/(256 + z^2) = 1.5 %; 22 of a fair coin split 2 to 20: 2 (1 + 22 + 231)/2^22, 5 to 0: 2/32."""
    trial = Trial("--eta-head 1", 256, (0.5, 0.6), Pairs.counted(*counts), (0.1, 0.2), "")
    assert words in tried(trial) and ("246 starts that failed" in tried(trial)) == (counts[0] == 10)


def test_a_start_that_the_head_does_not_rescue(merging):
    """The lender wins the race for the second feature, as the rule says; at the rate advised it is rescued (tried)."""
    said = only(merging, "off-diagonal", trial=True, workers=1)
    finding = said.finding
    assert finding.phase == "collapsed" and finding.prediction.merged and finding.prediction.lead < 1.0
    assert "one mixture of the features" in " ".join(said.lines)
    at, who = finding.moments["lost"], finding.roles
    lender = at.rate(at.terms.signal, who.lender, who.second)
    assert lender > at.rate(at.terms.signal, who.borrower, who.second) > 0.0
    changed = said.suggestions[0].training["eta_head"]
    assert changed < 0.01 and finding.prediction.slip < 1.0
    assert said.trials[0].start == "both" and "This very start now learns both features" in " ".join(said.lines)


def test_every_rate_advised_rescues_its_start():
    """At the default dim, of the starts that merge at eta_head 0.01 and 0.001: each advice, followed by the exact flow,
    learns both features; where no rate is found, as for half of them, none is advised."""
    from types import SimpleNamespace

    from dynlab import Model, OrderParameters, ensemble, simulate
    from dynlab.explanation import advice

    model, given = Model(activation="cubic"), 0
    for rate in (0.01, 0.001):
        made = ensemble(model, 1000, seeds=300, eta_head=rate, until=1e18)
        for n in np.flatnonzero(made.frame["rank"] < 1.05)[:8]:
            signal, gram = made.starts[0][n], made.starts[1][n]
            run = SimpleNamespace(model=model, signal=signal[None], gram=gram[None], rate=rate, eta=1.0)
            found = advice.rescuing_rate(SimpleNamespace(run=run, prediction=True))
            if not np.isfinite(found):
                continue
            given += 1
            end = simulate(model, OrderParameters(signal, gram), eta_head=found)
            f = end.signal[-1] ** 3
            assert abs(f[0] @ f[1]) < 0.1 * np.prod(np.linalg.norm(f, axis=1))
        assert (diagnosis.rescuing_rates(run) > 0.0).all()
    assert given >= 5


def test_relu_is_said_to_be_outside_the_theorem(merging, tmp_path):
    """The states of another run, called relu's: saves compiling its kernels."""

    def called_relu(place):
        for path in (place / "run.json", *place.glob("*.csv")):
            path.write_text(path.read_text().replace("cubic", "relu"))

    said = only(spoiled(merging, tmp_path, called_relu), "off-diagonal")
    text = " ".join(" ".join(said.lines).split())
    assert said.finding.phase == "collapsed" and said.finding.prediction is None
    assert "does not cover relu" in text and "grow alike" in text and "--activation cubic" in text


def test_switches_are_explained_by_what_was_measured(merging, tmp_path):
    """A training whose force has no such split is told without it, and with the table of ablations."""
    switch = record(lambda found: found["settings"].update(training={"stop_gradient": "none"}))
    said = only(spoiled(merging, tmp_path, switch), "off-diagonal")
    assert said.finding.now.terms is None and said.suggestions[0].training == {"stop_gradient": "target"}
    assert "2 % of the starts" in " ".join(said.lines)


def test_finite_samples(samples):
    """Steps, not times; the noise of a batch against the force; the theory from the last record on."""
    said = only(samples, "off-diagonal")
    finding = said.finding
    assert finding.run.batch == 64 and finding.run.rate == pytest.approx(0.01)
    assert finding.run.time[-1] == pytest.approx(15.0)
    assert "PHASE II (substitution) at step 300" in said.lines[1] and "do not rely on its steps" in " ".join(said.lines)
    assert said.noise.scale > 0.0 and (said.noise.deviation > 0.0).all()
    at = only(samples, "off-diagonal", at=100).finding
    assert at.now.time == pytest.approx(5.0, rel=0.05)


def test_the_noise_of_a_batch_falls_as_its_root(samples):
    """Deviation times sqrt(batch) is one number, and the force is the exact one."""
    from dataclasses import replace

    from dynlab.explanation.noise import gradient_noise

    recorded = read.sample_runs(samples, read.record_of(samples), None, "none")[0]
    small, large = (gradient_noise(replace(recorded, batch=batch), 0) for batch in (128, 2048))
    ratio = small.deviation / large.deviation
    assert np.exp(np.log(ratio).mean()) == pytest.approx(4.0, rel=0.25)
    exact = diagnosis.moment(recorded, 0).terms.signal
    assert np.allclose(small.force, exact, rtol=1e-9)


def test_a_run_that_died_out_and_one_that_failed(cubic, tmp_path):
    """The last states of a run at 0, and a solver that gave up."""

    def dead(place):
        table = pd.read_csv(place / "trajectory.csv")
        ends = table.groupby("head").tail(1).index
        table.loc[ends, [name for name in table if name.startswith(("signal", "noise"))]] = 0.0
        table.to_csv(place / "trajectory.csv", index=False)
        rewritten("ensemble.csv", lambda text: text.replace("stationary", "underflow"))(place)

    said = only(spoiled(cubic, tmp_path, dead), "off-diagonal")
    assert said.lines[1].startswith("VANISHED") and "did not end well: underflow" in " ".join(said.lines)


def test_samples_that_were_stopped(samples, tmp_path):
    line = "cubic, head none, batch 64, seed 0: stopped at step 7: the weights overflow"
    place = spoiled(samples, tmp_path, record(lambda found: found.update(stopped=[line])))
    said = {head: " ".join(only(place, head).lines) for head in ("none", "off-diagonal")}
    assert f"DIVERGED: stopped at step 7: the weights overflow. {remedy('not finite')} Before that: " in said["none"]
    assert "stopped" not in said["off-diagonal"]


def test_in_python_and_in_a_notebook(cubic):
    found = explain(cubic, activation="cubic")
    assert len(repr(found)) < 200 and len(repr(found.runs[0])) < 200 and found._repr_html_().startswith("<pre>cubic, head")
    assert found.text.count("\n\n") == 1


def test_the_command_prints_the_text(cubic, capsys):
    assert explain_command([str(cubic), "--head", "none"]) == 0
    assert capsys.readouterr().out == explain(cubic, head="none").text + "\n"


# --- folders that cannot be explained ---


def spoiled(folder, tmp_path, how):
    """A copy of a folder, spoiled."""
    place = tmp_path / "spoiled"
    shutil.copytree(folder, place)
    how(place)
    return place


def without(name):
    return lambda place: (place / name).unlink()


def rewritten(name, change):
    def how(place):
        path = place / name
        path.write_text(change(path.read_text()))

    return how


def record(change):
    """run.json changed as a dict."""

    def how(text):
        found = json.loads(text)
        change(found)
        return json.dumps(found)

    return rewritten("run.json", how)


SPOILED = {
    "no run.json": (without("run.json"), "holds no run (run.json is missing)"),
    "run.json cut short": (rewritten("run.json", lambda text: text[:200]), "run.json: cannot be read"),
    "run.json a list": (rewritten("run.json", lambda text: "[1]"), "is not the record of a run"),
    "of another command": (record(lambda found: found.pop("seed_followed")), "is a run of dynlab.run; explain reads"),
    "no dimension": (record(lambda found: found["settings"].pop("dim")), "is damaged (dim is missing)"),
    "a bad model": (record(lambda found: found["settings"].update(weak=7)), "is damaged"),
    "settings a word": (record(lambda found: found.update(settings="x")), "explain reads"),
    "no trajectory": (without("trajectory.csv"), "trajectory.csv: is missing"),
    "no ensemble": (without("ensemble.csv"), "ensemble.csv: is missing"),
    "trajectory empty": (rewritten("trajectory.csv", lambda text: ""), "trajectory.csv: cannot be read"),
    "only a heading": (rewritten("trajectory.csv", lambda text: text.split("\n")[0]), "is damaged (no rows)"),
    "a column less": (rewritten("trajectory.csv", lambda text: text.replace("noise_1_2", "x")), "noise_1_2 is missing"),
    "a word in it": (rewritten("trajectory.csv", lambda text: text.replace("off-diagonal,0.0", "off-diagonal,x", 1)),
                     "is damaged"),
    "no row": (rewritten("summary.csv", lambda text: text.replace("off-diagonal", "linear")), "summary.csv has no row"),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILED)
def test_a_damaged_folder_is_one_line(cubic, tmp_path, capsys, name):
    how, message = SPOILED[name]
    place = spoiled(cubic, tmp_path, how)
    assert explain_command([str(place)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and said.err.startswith("dynlab.explain: error: ")
    assert message in said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--head linear", "--head linear: must be one of off-diagonal, none, which this run has"),
        ("--activation relu", "--activation relu: must be one of cubic, which this run has"),
        ("--at -1", "--at -1: must be a finite number >= 0"),
        ("--at soon", "--at soon: must be"),
        ("--at 1e30", "--at 1e30: must be at most"),
        ("--threads 0", "--threads 0: must be"),
    ],
)
def test_a_wrong_option_is_one_line(cubic, capsys, words, message):
    assert explain_command([str(cubic), *words.split()]) == 2
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and message in said.err


def test_no_folder(tmp_path, capsys):
    assert explain_command([str(tmp_path / "nowhere")]) == 2
    assert "nowhere: does not exist" in capsys.readouterr().err
    (tmp_path / "file").write_text("x")
    assert explain_command([str(tmp_path / "file")]) == 2
    assert "is no folder" in capsys.readouterr().err
