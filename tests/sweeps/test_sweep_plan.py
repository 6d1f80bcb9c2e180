"""The file of a sweep: what its points are, and that whatever is wrong with it is one line that names the place."""

from __future__ import annotations

from itertools import product

import pytest

from dynlab import SettingError
from dynlab import sweep as command
from dynlab.sweeps.sweep_plan import SWEPT, sweep_plan

GRID = """
command = "run"
[settings]
seeds = 4
dim = 64
[grid]
weak = [0.2, 0.3]
eta-head = [0.01, 0.1, 1]
[[points]]
weak = 0.5
seeds = 8
[[points]]
head = "none"
"""


def points_of(text: str, folder):
    path = folder / "plan.toml"
    path.write_text(text)
    return command.sweep_points(sweep_plan(path))


def test_the_points_are_those_of_the_grid_and_then_the_list(tmp_path):
    found = [one.cells for one in points_of(GRID, tmp_path)]
    by_hand = []
    for weak, rate in product((0.2, 0.3), (0.01, 0.1, 1)):
        by_hand.append({"seeds": 4, "dim": 64, "weak": weak, "eta_head": rate, "head": "off-diagonal"})
    by_hand.append({"seeds": 8, "dim": 64, "weak": 0.5, "eta_head": 0.01, "head": "off-diagonal"})
    by_hand.append({"seeds": 4, "dim": 64, "weak": 0.3, "eta_head": 0.01, "head": "none"})
    assert found == by_hand
    assert [list(cells) for cells in found] == [["seeds", "dim", "weak", "eta_head", "head"]] * 8


def test_a_mapping_is_a_file():
    given = {"command": "sgd", "settings": {"dim": 6, "batch": 8}, "points": [{"lr": 0.1}, {"lr": 0.2, "optimiser": "adam"}]}
    found = command.sweep_points(sweep_plan(given))
    assert [one.cells["optimiser"] for one in found] == ["sgd", "adam"]
    assert [one.settings.heads for one in found] == [("off-diagonal",)] * 2
    assert [one.settings.numbers["lr"] for one in found] == [0.1, 0.2]


def test_a_point_is_known_by_its_settings_however_they_are_typed(tmp_path):
    plain = points_of('command = "run"\n[[points]]\nstrong = 1\nuntil = 1e6\nactivation = "cubic"\n', tmp_path)
    text = 'command = "run"\n[settings]\nhead = "off-diagonal"\n[grid]\nuntil = ["1000000"]\nstrong = [1.0]\n'
    typed = points_of(text, tmp_path)
    other = points_of('command = "run"\n[[points]]\nuntil = 1e6\nstart-scale = 2\n', tmp_path)
    assert plain[0].key == typed[0].key != other[0].key


def test_settings_of_pretraining_are_those_of_its_recipe_and_its_options(tmp_path):
    text = 'command = "pretrain"\n[settings]\nrecipe = "demo"\n'
    text += "[grid]\nprojector = [[8, 4], [16]]\nmilestones = [[0.5], [0.6]]\n"
    found = points_of(text, tmp_path)
    assert [one.settings.projector for one in found] == [(8, 4), (8, 4), (16,), (16,)]
    assert [one.cells["projector"] for one in found] == ["8,4", "8,4", 16, 16]
    assert found[1].settings.milestones == (0.6,) and found[0].settings.dataset == "cifar10"
    assert found[0].cells["recipe"] == "demo" and len({one.key for one in found}) == 4


WRONG = [
    ("command =", "that can be read (Invalid value"),
    ("", f"a sweep whose command, None, is one of {', '.join(SWEPT)}"),
    ('command = "rum"\n[grid]\nweak = [1]', "did you mean run?"),
    ('command = "run"\nsetting = 3', "without the key 'setting', which a sweep has not; did you mean settings?"),
    ('command = "run"\nnote = 3', "which a sweep has not (known are command, settings, grid, points)"),
    ('command = "run"', "a sweep of 1 to 100000 points, in [grid] or under [[points]]: it has 0"),
    ('command = "run"\n[settings]\nweak = 0.2', "it has 0"),
    ('command = "run"\n[grid]\nweak = []', "has a list of values for weak, not []"),
    ('command = "run"\n[grid]\nweak = 0.3', "has a list of values for weak, not 0.3"),
    ('command = "run"\ngrid = 3', "whose [grid] is a table of settings, not 3"),
    ('command = "run"\npoints = 3', "whose points are tables, each under [[points]]"),
    ('command = "run"\npoints = [3]', "number 1 of [[points]] is a table of settings, not 3"),
    ('command = "run"\n[settings]\nweak = 0.1\n[grid]\nweak = [0.2]', "gives weak once: it is in [settings] and in [grid]"),
    ('command = "run"\n[grid]\neta-head = [1]\neta_head = [2]', "gives eta_head once: it is in [grid] twice"),
    (f'command = "run"\n[grid]\nseed = {list(range(400))}\ndim = {list(range(10, 410))}', "it has 160000"),
    ('command = "run"\n[grid]\nwek = [0.2]', "point 1 (wek=0.2): wek: is no option of run; did you mean weak?"),
    ('command = "run"\n[grid]\nweak = [0.2, 0.3, -1]', "point 3 (weak=-1): weak=-1: must be a finite number > 0"),
    ('command = "run"\n[grid]\nweak = [0.2, nan]', "point 2 (weak=nan): weak=nan: must be a finite number"),
    ('command = "run"\n[grid]\nweak = [0.2, 1979-05-27]', "weak: datetime.date(1979, 5, 27): must be a number"),
    ('command = "run"\n[grid]\nweak = [0.2, 2]', "point 2 (weak=2): "),
    ('command = "run"\n[[points]]\npatches = 3', "point 1 (patches=3): patches=3: must be"),
    ('command = "run"\n[[points]]\nhead = "nine"', "head='nine': must be one of"),
    ('command = "run"\n[[points]]\nactivation = "relu,cubic"', "activation='relu,cubic': must be one in a point: several"),
    ('command = "run"\n[grid]\nactivation = [["relu", "cubic"]]', "activation=['relu', 'cubic']: must be one in a point"),
    ('command = "run"\n[[points]]\nthreads = 2', "threads: is no setting of a point of run"),
    ('command = "run"\n[[points]]\nmethod = "sgd"', 'method: minibatches are swept by command = "sgd"'),
    ('command = "run"\n[[points]]\neta = 0.1', 'must be left out for method "flow", which takes no steps'),
    ('command = "run"\n[grid]\nweak = [0.3, "0.30"]', "point 2 (weak=0.30) is point 1 (weak=0.3) again"),
    ('command = "sgd"\n[[points]]\nbatch = "8,16"', "batch='8,16': must be one in a point: several are a list in [grid]"),
    ('command = "sgd"\n[[points]]\nmethod = "flow"', "method: is no setting of a point of sgd"),
    ('command = "sgd"\n[[points]]\nbatch = 1', "batch=1: must be"),
    ('command = "pretrain"\n[[points]]\ndata = "x"', "data: is no setting of a point of pretrain"),
    ('command = "pretrain"\n[[points]]\nencodr = "demo"', "encodr: is no option of pretrain; did you mean encoder?"),
    ('command = "pretrain"\n[grid]\nbatch = [128, 1]', "point 2 (batch=1): batch=1: must be an integer >= 2"),
    ('command = "pretrain"\n[[points]]\nrecipe = "nine"', "recipe='nine': must be one of"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG, ids=[said for _, said in WRONG])
def test_a_wrong_file_is_one_line(text, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text(text)
    assert command.main(["s.toml", "--out", "out"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("dynlab.sweep: error: FILE s.toml: must be ") and line.count("\n") == 1
    assert said in line, line
    assert [path.name for path in tmp_path.iterdir()] == ["s.toml"]


def test_what_is_said_otherwise_can_be_swept(tmp_path):
    """Several names as a list, minibatches by their command, descent with a rate, points that differ."""
    assert len(points_of('command = "run"\n[grid]\nactivation = ["relu", "cubic"]', tmp_path)) == 2
    assert len(points_of('command = "sgd"\n[grid]\nbatch = [8, 16]', tmp_path)) == 2
    assert len(points_of('command = "run"\n[settings]\nmethod = "descent"\n[[points]]\neta = 0.1', tmp_path)) == 1


@pytest.mark.parametrize("word", ["--data x", "--download", "--no-verify"])
def test_pictures_are_of_pretraining(word, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.toml").write_text('command = "run"\n[grid]\nweak = [0.2]')
    assert command.main(["s.toml", *word.split()]) == 2
    assert "left out for a sweep of run, which reads no pictures" in capsys.readouterr().err
    (tmp_path / "p.toml").write_text('command = "pretrain"\n[grid]\nlr = [0.2]')
    assert command.check(command.parser().parse_args(["p.toml", *word.split()])).points


def test_a_file_that_is_not_there_is_named():
    with pytest.raises(
        SettingError, match="plan='nowhere.toml': must be a TOML file of a sweep that can be read \\(No such"
    ):
        sweep_plan("nowhere.toml")
