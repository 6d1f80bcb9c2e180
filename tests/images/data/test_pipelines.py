"""Views of one's own: tables, files of TOML and JSON, what is said of the second and of local views, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from dynlab.images.data import datasets
from dynlab.images.data.augment import PRESETS, Augmentation
from dynlab.images.data.pipelines import LOCAL_SCALE, Pipelines, pipelines_of, resolved
from dynlab.images.settings import Pretraining
from dynlab.images.training import run_folder
from dynlab.tools.checks import SettingError
from tests.images import small

BYOL = """
like = "simsiam-cifar10"   # Grill et al.: the views differ in blur and solarisation
saturation = 0.2
blur = 1.0
[second]
blur = 0.1
solarise = 0.2
[local]
size = 12
scale = [0.1, 0.3]
"""
FIRST = replace(PRESETS["simsiam-cifar10"], saturation=0.2, blur=1.0)
WANTED = Pipelines(
    FIRST, replace(FIRST, blur=0.1, solarise=0.2), replace(FIRST, size=12, scale=(0.1, 0.3))
)  # fmt: skip


def test_a_file_and_a_table_say_what_differs(tmp_path):
    file = tmp_path / "byol.toml"
    file.write_text(BYOL)
    found = resolved(str(file))
    assert found == WANTED
    table = {
        "like": "simsiam-cifar10", "saturation": 0.2, "blur": 1, "second": {"blur": 0.1, "solarise": 0.2},
        "local": {"size": 12, "scale": [0.1, 0.3]},
    }  # fmt: skip
    assert resolved(table) == resolved(json.dumps(table)) == WANTED
    assert resolved(found) is found


def test_what_is_not_said_is_as_the_first_view():
    one = Augmentation(size=20, jitter=0.5, hue=0.1)
    for given in ({"size": 20, "jitter": 0.5, "hue": 0.1}, one):
        assert resolved(given) == Pipelines(one, one, replace(one, size=10, scale=LOCAL_SCALE))
    named = pipelines_of("demo")
    assert named.first == named.second == PRESETS["demo"] and (named.size, named.local.size) == (24, 12)


def test_the_table_they_are_recorded_as_gives_them_back():
    for one in (WANTED, resolved({}), resolved({"second": {"grey": 1.0}}), pipelines_of("paper")):
        plain = one.plain()
        assert resolved(json.loads(json.dumps(plain))) == one
    assert resolved({"jitter": 0.5}).plain() == {"jitter": 0.5}
    settings = Pretraining(augmentation=WANTED)
    assert Pretraining(**json.loads(json.dumps(settings.plain()))) == settings
    assert Pretraining(augmentation=BYOL_TABLE).augmentation == WANTED
    assert Pretraining().plain()["augmentation"] == "demo"


BYOL_TABLE = WANTED.plain()


def test_one_channel_has_the_mean_of_three():
    grey = WANTED.for_channels(1)
    for one in (grey.first, grey.second, grey.local):
        assert one.mean == pytest.approx((sum(FIRST.mean) / 3,)) and len(one.deviation) == 1
    assert WANTED.for_channels(3) == WANTED


@pytest.mark.parametrize(
    "given, word",
    [
        ("dmo", "augmentation='dmo': must be one of demo, .*did you mean demo.; or a file FILE.toml"),
        (7, "augmentation=7: must be one of"),
        ({"blus": 1.0}, "augmentation='blus': must be a table with keys that are .*did you mean blur"),
        ({"second": {"jiter": 1.0}}, "augmentation='jiter': .*did you mean jitter"),
        ({"second": 0.5}, "second=0.5: must be a table"),
        ({"blur": 2.0}, "blur=2.0: must be"),
        ({"solarise": -0.1}, "solarise=-0.1: must be"),
        ({"second": {"size": 16}}, "size=16: must be 32, as of the first view"),
        ({"local": {"mean": [0.5]}}, "mean=.*: must be .*as of the first view"),
        ({"like": "dmo"}, "like='dmo': must be one of"),
        ("{broken", "augmentation='{broken': must be a table of settings"),
        ("nowhere.toml", "augmentation='nowhere.toml': must be a file of TOML that can be read"),
    ],
)
def test_what_is_refused(given, word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in (resolved, lambda value: Pretraining(augmentation=value)):
        with pytest.raises(SettingError, match=word) as raised:
            call(given)
        assert "\n" not in str(raised.value)


def test_a_run_by_a_file_of_views_is_repeated_by_its_record(tmp_path, monkeypatch, capsys):
    """The record holds the table, so the file may go; resume and --config take it from there."""
    monkeypatch.setattr(datasets, "load", small.load)
    file = tmp_path / "views.toml"
    file.write_text("size = 12\n[second]\nsolarise = 0.5\n")
    words = ["--encoder", "demo", "--projector", "8,4", "--batch", "16", "--steps", "6", "--record", "2", "--knn-every", "0"]
    words += ["--data", "nowhere", "--no-plots", "--quiet"]

    def run(*more):
        return small.command("dynlab.pretrain", [*words, *more])

    assert run("--augmentation", str(file), "--out", str(tmp_path / "one")) == 0
    facts = json.loads((tmp_path / "one" / "run.json").read_text())
    assert facts["settings"]["augmentation"] == {"size": 12, "second": {"solarise": 0.5}}
    assert run_folder.settings_of(tmp_path / "one").augmentation == resolved(str(file))
    assert run("--resume", "--augmentation", str(file), "--out", str(tmp_path / "one")) == 0
    file.write_text("size = 12\n")
    capsys.readouterr()
    (tmp_path / "one" / "run.json").write_text(json.dumps(facts | {"status": "running"}))
    assert run("--resume", "--augmentation", str(file), "--out", str(tmp_path / "one")) == 2
    error = capsys.readouterr().err
    assert "--augmentation" in error and "as in the run that is resumed" in error and error.count("\n") == 1
    again = ["--config", str(tmp_path / "one" / "run.json"), "--no-plots", "--quiet", "--out", str(tmp_path / "two")]
    assert small.command("dynlab.pretrain", again) == 0
    for name in ("metrics.csv", "weights.npz"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    other = np.load(tmp_path / "two" / "weights.npz")
    assert run("--augmentation", '{"size": 12}', "--out", str(tmp_path / "three")) == 0
    assert not np.array_equal(other["encoder_parameters"], np.load(tmp_path / "three" / "weights.npz")["encoder_parameters"])
