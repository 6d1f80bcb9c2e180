"""The settings of the page, and the command that repeats what it shows, byte for byte."""

from __future__ import annotations

import shlex

import pytest

import dynlab
from dynlab import __main__
from dynlab.explorer import panels
from dynlab.explorer.explored import NAMES, Explored, explored, from_controls


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"weak": 0.1 + 0.2, "noise": 0.7, "eta_head": 0.0316, "dim": 5600, "seed": 3, "patches": 12},
        {"head": "none", "activation": "relu", "seed": 1},
        {"head": "linear", "eta_head": 0.1, "normalisation": "scale", "dim": 100},
    ],
    ids=["as it opens", "moved", "no head, relu", "switched"],
)
def test_the_command_repeats_what_is_shown_to_the_byte(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chosen = Explored(**given)
    shown = panels.followed(chosen)
    program, *words = shlex.split(chosen.command())
    assert program == "dynlab" and __main__.main([*words, "--quiet", "--out", "repeated"]) == 0
    repeated = tmp_path / "repeated"
    assert (repeated / "trajectory.csv").read_bytes() == panels.table_text(shown).encode()
    assert (repeated / "phases.pdf").read_bytes() == panels.figure_bytes(shown)


def test_numbers_from_sliders_are_those_that_one_reads():
    chosen = Explored(weak=0.1 + 0.2)
    assert chosen.weak == 0.3 and "--weak 0.3 " in chosen.command()
    assert chosen.command(256).endswith("--seeds 256 --seed 0")


def test_what_comes_from_the_page_is_checked():
    """Settings are numbers and words; anything else, whoever sends it, is refused in a line."""
    fine = {name: getattr(Explored(), name) for name in NAMES}
    assert from_controls(fine) == Explored()
    wrong = {
        "weak": "__import__('os')", "dim": "../../etc/passwd", "activation": "cubic; rm", "head": "fixed", "patches": 7,
        "seed": -1, "hidden": 2.5, "eta_head": float("nan"), "noise": [1], "strong": 0.1, "normalisation": None,
    }  # fmt: skip
    for name, value in wrong.items():
        with pytest.raises((dynlab.SettingError, ValueError)) as told:
            from_controls(fine | {name: value})
        assert "\n" not in str(told.value), name
    with pytest.raises(dynlab.SettingError):
        from_controls(fine | {"hidden": 2})  # cubic, whose hidden units have no flow


def test_a_model_and_a_training_become_settings():
    model, training = dynlab.Model(weak=0.5, activation="relu"), dynlab.Training(head="linear", eta_head=0.2)
    chosen = explored(model, training, seed=4)
    assert chosen.model == model and chosen.training == training and chosen.seed == 4
    with pytest.raises(dynlab.SettingError, match="which the page has controls for"):
        explored(dynlab.Model(mask="independent"))
    with pytest.raises(dynlab.SettingError, match="which the page has controls for"):
        explored(training=dynlab.Training(weight_decay=0.1))
    with pytest.raises(dynlab.SettingError, match="settings of the page are"):
        explored(weka=0.3)
