"""The benchmarks refuse to time what is wrong, keep the other parts' results, and their page shows what they found."""

import ast
import inspect
import json
import math
from importlib import import_module

import numpy as np
import pytest

from benchmarks import __main__ as command
from benchmarks import gradients as gradients_part
from benchmarks import machine, picture, table, trajectories
from dynlab import Model
from dynlab.population.pair import flow
from dynlab.population.status import UNDERFLOW


@pytest.fixture(autouse=True)
def no_peers(monkeypatch):
    """As where no peer is installed: what a peer adds takes longer than the rest."""
    monkeypatch.setattr(machine, "find_spec", lambda name: None)


def test_differences():
    assert machine.difference([1.0, 2.0], [1.0, 2.0]) == 0.0
    assert machine.difference([0.0, 0.0], [0.0, 1.0]) == 1.0
    assert machine.difference([2.0], [1.0], 1.0) == 0.5
    assert math.isnan(machine.difference([math.nan], [1.0]))
    assert machine.difference([1.0], [1.0, 1.0]) == math.inf


@pytest.mark.parametrize("found", [2e-9, math.nan, math.inf])
def test_what_is_wrong_is_said_and_not_timed(found, capsys):
    def measure():
        machine.verified("a kernel", {"right": (0.0, 0.0), "wrong": (found, 1e-9)})
        raise AssertionError("timed")

    row = machine.timed_if_right(measure)
    json.dumps(row, allow_nan=False)
    assert row["refused"] == "a kernel" and list(row["differences"]) == ["wrong"]
    assert f"WRONG, not timed: a kernel: wrong {found:.3g}, allowed 1e-09" in capsys.readouterr().out
    assert list(machine.refusals({"part": [{"x": 1}, {"rows": [row]}]})) == ["a kernel"]


def test_a_right_result_is_timed():
    assert machine.timed_if_right(lambda: machine.verified("a kernel", {"error": (1e-10, 1e-9)})) == {"error": 1e-10}


def test_a_wrong_gradient_is_refused_and_the_exit_status_says_so(monkeypatch, tmp_path, capsys):
    out = tmp_path / "results.json"
    right = gradients_part.batch.pair_loop

    def wrong(model):
        def loop(kind, par, w, head, loss, d_w, d_head):
            right(model)(kind, par, w, head, loss, d_w, d_head)
            if model.activation == "relu":
                d_w[5, 7] *= 1.0 + 1e-8

        return loop

    assert command.main(["gradients", "--quick", "--out", str(out)]) == 0
    assert "JAX is not installed: not compared" in capsys.readouterr().out
    whole = json.loads(out.read_text())["gradients"]["results"]
    assert [row["ns"]["median"] > 0.0 for row in whole] == [True, True]

    monkeypatch.setattr(gradients_part.batch, "pair_loop", wrong)
    assert command.main(["gradients", "--quick", "--out", str(out)]) == 1
    cubic, relu = json.loads(out.read_text())["gradients"]["results"]
    assert "ns" in cubic and "ns" not in relu
    assert relu["differences"]["dL/dw"]["found"] == pytest.approx(1e-8, rel=0.1)
    printed = capsys.readouterr()
    assert "WRONG, not timed: gradient relu" in printed.out and "refused: gradient relu" in printed.err
    assert "| wrong, not timed: dL/dw " in table.markdown(json.loads(out.read_text()))


def test_trajectories_agree_with_scipy():
    row = machine.timed_if_right(trajectories.one_case, 64, 1e4, 3, 1, ("LSODA", "Radau", "diffrax"))
    assert set(row["solvers"]) == {"dynlab", "SciPy LSODA", "SciPy Radau"}
    assert all(solver["failed"] == solver["inaccurate"] == 0.0 for solver in row["solvers"].values())
    timed = (row["simulate"], *row["solvers"].values())
    assert all(one["ms"]["median"] > 0.0 for one in timed)  # which is the faster, a busy machine does not tell
    assert any("`simulate`, one by one" in line.what for line in table.trajectories([row]))


def test_a_simulate_that_ends_elsewhere_is_refused(monkeypatch):
    def elsewhere(model, start, **options):
        return right(model, start, **options | {"until": 0.9 * options["until"]})

    right = trajectories.simulate
    monkeypatch.setattr(trajectories, "simulate", elsewhere)
    row = machine.timed_if_right(trajectories.one_case, 64, 1e4, 3, 1, ("LSODA",))
    assert row["refused"] == "one simulate, dim 64 to 10000" and list(row["differences"]) == ["end state"]


@pytest.mark.parametrize("fault", ["state", "head", "failed"])
def test_wrong_trajectories_are_refused(monkeypatch, fault):
    right = flow.run_flow

    def wrong(*arguments, **options):
        found = right(*arguments, **options)
        if fault == "failed":
            found.status[1] = UNDERFLOW
        else:
            found.end[1, 8 if fault == "head" else 0] += 2e-3
        return found

    monkeypatch.setattr(flow, "run_flow", wrong)
    row = machine.timed_if_right(trajectories.one_case, 64, 100.0, 3, 1, ("LSODA",))
    assert row["refused"] == "trajectories, dim 64 to 100"
    assert list(row["differences"]) == ["dynlab, failed" if fault == "failed" else "SciPy LSODA, end states"]


def test_a_peer_that_is_wrong_alone_is_counted_not_believed():
    model = Model()
    z, side = trajectories.draw_starts(model, 64, 4)
    ours = trajectories.our_ends(model, z, side, 100.0)
    wrong, gone = ours.copy(), ours.copy()
    wrong[2, 3] += 2e-3
    gone[1] = np.nan
    found = trajectories.agree("ends", model, side, {"dynlab": ours, "A": ours + 1e-6, "B": wrong, "C": gone})
    shares = {name: (solver["failed"], solver["inaccurate"]) for name, solver in found.items()}
    assert shares == {"dynlab": (0, 0), "A": (0, 0), "B": (0, 0.25), "C": (0.25, 0)}
    gone[2] = np.nan  # then nobody confirms ours there
    with pytest.raises(machine.WrongResult, match="B, end states 0.002"):
        trajectories.agree("ends", model, side, {"dynlab": ours, "B": wrong, "C": gone})


def test_a_wrong_right_hand_side_is_refused(monkeypatch):
    z, side = trajectories.draw_starts(Model(), 64, 2)
    trajectories.check_rates(Model(), z, side)
    right = trajectories.rates_at

    def wrong(par, state, signs, rates):
        right(par, state, signs, rates)
        rates[6] *= 1.0 + 1e-4

    monkeypatch.setattr(trajectories, "rates_at", wrong)
    with pytest.raises(machine.WrongResult, match="rates of the flow"):
        trajectories.check_rates(Model(), z, side)


def test_scipy_gives_up_after_so_many_calls(monkeypatch):
    monkeypatch.setattr(trajectories, "MOST_CALLS", 20)
    z, side = trajectories.draw_starts(Model(), 64, 2)
    par = trajectories.parameter_vector(Model(), trajectories.HEAD_RATE)
    assert np.isnan(trajectories.scipy_ends("LSODA", par, z, side, 1e4)).all()


@pytest.mark.parametrize("part", command.PARTS)
def test_every_part_checks_by_the_same_rule(part):
    source = inspect.getsource(import_module(f"benchmarks.{part.replace('-', '_')}"))
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    called = {function.id for function in calls if isinstance(function, ast.Name)}
    assert {"verified", "timed_if_right"} <= called
    assert "AssertionError" not in source


def test_a_part_leaves_the_others_results_alone(tmp_path):
    out = tmp_path / "results.json"
    first = {"machine": {"cores": 1}, "quick": False, "seconds": 1.0, "results": [1]}
    command.keep(out, "samples", first)
    command.keep(out, "gradients", first | {"results": [2]})
    command.keep(out, "samples", first | {"machine": {"cores": 2}})
    held = json.loads(out.read_text())
    assert list(held) == ["gradients", "samples"]
    assert held["gradients"]["results"] == [2] and held["samples"]["machine"] == {"cores": 2}


@pytest.mark.parametrize("words", [["nothing"], ["--write"]])
def test_bad_words_are_one_line(words, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(words)
    assert stopped.value.code == 2 and "error:" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("text", ["", "[1]", '{"other": {"results": 1}}'])
def test_other_files_are_refused_in_one_line(tmp_path, text):
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(SystemExit, match="results.json: "):
        command.read(tmp_path / "results.json")


def test_numbers_in_the_table():
    assert [machine.number(x) for x in (0.0, 29.24, 0.00924, 4197.7)] == ["0", "29.2", "0.00924", "4198"]
    assert machine.shown({"median": 6.07, "quartiles": [5.82, 6.13]}, 2) == "6.1 (5.8-6.1)"
    assert [table.count(x) for x in (64, 1000, 10**6, 1e12)] == ["64", "1000", "10^6", "10^12"]


def test_the_table_goes_between_the_markers(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{table.BEGIN}\nold\n{table.END}\nafter\n")
    table.write(readme, "new")
    assert readme.read_text() == f"before\n{table.BEGIN}\nnew\n{table.END}\nafter\n"
    readme.write_text("no markers")
    with pytest.raises(SystemExit, match="must hold"):
        table.write(readme, "new")


def test_the_page_shows_the_results():
    text = command.PAGE.read_text(encoding="utf-8")
    assert text.split(table.BEGIN)[1].split(table.END)[0].strip("\n") == table.markdown(command.read(command.RESULTS))


def test_the_picture_shows_the_results():
    """And says of whom: the numbers in its metadata are those of the file, peers that failed or were wrong left out."""
    results = command.read(command.RESULTS)
    rows = list(picture.ratios(results))
    assert {row.peer for row in rows} >= {"JAX", "SciPy LSODA", "PyTorch"} and all(
        row.low <= row.median <= row.high for row in rows
    )
    axes = picture.draw(results).axes[0]
    drawn = sorted(x for part in axes.containers for x in part.lines[0].get_xdata())
    assert drawn == sorted(row.median for row in rows)
    assert [label.get_text() for label in axes.get_yticklabels()] == list(dict.fromkeys(row.work for row in rows))
    shown = json.dumps({f"{row.work}: {row.peer}": [row.median, row.low, row.high] for row in rows}, sort_keys=True)
    assert shown.encode() in (command.FIGURES / "speed.png").read_bytes()
    (row,) = [row for row in results["trajectories"]["results"] if (row["dim"], row["until"]) == picture.SHOWN]
    row["solvers"]["SciPy BDF"]["failed"] = 0.1
    assert {row.peer for row in rows} - {row.peer for row in picture.ratios(results)} == {"SciPy BDF"}
