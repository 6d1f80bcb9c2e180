"""The commands on pictures of one's own: trained on, gone on with, evaluated from another folder, compared, explained."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from dynlab import evaluate, explain, heads, pretrain
from dynlab.images.settings import OWN_PICTURES
from tests.images import small

SHORT = ["--encoder", "demo", "--projector", "16,8", "--batch", "16", "--steps", "12", "--record", "4", "--knn-every", "0"]


@pytest.fixture
def own(tmp_path, monkeypatch):
    """120 pictures of four classes, as a folder of files and as arrays."""
    monkeypatch.setenv("DYNLAB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    made = small.small_set(120, 0)
    for i, (picture, label) in enumerate(zip(made.pictures, made.labels, strict=True)):
        place = tmp_path / "folder" / made.classes[label]
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(place / f"{i}.png")
    (tmp_path / "folder" / "a" / "bad.png").write_text("no picture")
    np.savez(tmp_path / "arrays", pictures=made.pictures, labels=made.labels)
    shutil.move("arrays.npz", "arrays")  # as `--data NAME` of the set: a folder of npz
    (tmp_path / "kept").mkdir()
    shutil.move("arrays", "kept/pictures.npz")
    shutil.move("kept", "arrays")
    return tmp_path


@pytest.mark.parametrize("kind", OWN_PICTURES)
def test_from_training_to_words(own, kind, capsys):
    words = ["--dataset", kind, "--data", kind, *SHORT, "--no-plots", "--out", "x"]
    assert pretrain.main(words) == 0
    said = capsys.readouterr()
    assert "every fifth picture is held out" in said.err
    facts = json.loads((own / "x" / "run.json").read_text())
    assert facts["pictures"] == {"folder": 97, "arrays": 96}[kind]  # of a folder a fifth of each class, rounded down
    assert ("left_out" in facts) == (kind == "folder")
    if kind == "folder":
        assert "1 of 98 files cannot be read and are skipped: a/bad.png (" in said.err
        assert facts["left_out"][0].startswith("a/bad.png (")
    shutil.copytree(kind, "elsewhere")
    assert evaluate.main(["x", "--data", "elsewhere", "--of", "encoder,z"]) == 0
    measured = json.loads((own / "x" / "evaluate.json").read_text())
    assert measured["train"] + measured["test"] == 120 and len(measured["rows"]) == 2
    assert explain.main(["x"]) == 0
    assert f"{kind}, encoder demo" in capsys.readouterr().out


def test_a_run_goes_on_with_the_same_pictures_only(own, capsys):
    words = ["--dataset", "folder", "--data", "folder", *SHORT, "--no-plots", "--quiet", "--every", "4"]
    assert pretrain.main([*words, "--out", "whole"]) == 0
    assert pretrain.main([*words, "--out", "cut"]) == 0
    facts = json.loads((own / "cut" / "run.json").read_text())
    (own / "cut" / "run.json").write_text(json.dumps(facts | {"status": "running"}))
    (own / "cut" / "weights.npz").unlink()
    capsys.readouterr()
    assert pretrain.main(["--resume", "--out", "cut", "--no-plots", "--quiet"]) == 0
    for name in ("metrics.csv", "weights.npz"):
        assert (own / "cut" / name).read_bytes() == (own / "whole" / name).read_bytes()
    (own / "cut" / "run.json").write_text(json.dumps(facts | {"status": "running"}))
    next((own / "folder" / "b").glob("*.png")).unlink()
    assert pretrain.main(["--resume", "--out", "cut", "--quiet"]) == 1
    assert "belongs to a run with other pictures" in capsys.readouterr().err


def test_heads_on_a_folder(own, capsys):
    words = (
        "--recipe demo --dataset folder --data folder --side 16 --steps 4 --batch 16 --heads none --normalisations length"
    )
    assert heads.main([*words.split(), "--no-plots", "--quiet", "--out", "h"]) == 0
    assert (own / "h" / "heads.csv").is_file()


REFUSED = {
    "--dataset folder --data nowhere": "nowhere: expected a folder of pictures (.png, .jpg, .jpeg), found no such folder",
    "--dataset arrays --data folder": "expected train.npz, train.npy, pictures.npz or pictures.npy, found none of these",
    "--dataset folder --data folder --download": "--download True: must be left out with --dataset folder",
    "--dataset arrays --data arrays --side 16": '--side 16: must be None with dataset "arrays", whose pictures have a size',
    "--dataset folder --data folder --side 4": "--side 4: must be an integer >= 8 and <= 1024",
    "--dataset folder --data folder --batch 400": "--batch 400: must be an integer <= 97, the number of training pictures",
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_does_not_fit_is_one_line(own, words, capsys):
    assert pretrain.main([*words.split(), "--encoder", "demo", "--out", "x", "--quiet"]) in (1, 2)
    said = [line for line in capsys.readouterr().err.splitlines() if "skipped: a/bad.png" not in line]
    assert len(said) == 1 and REFUSED[words] in said[0]


def test_without_classes_nothing_can_be_evaluated(own, capsys):
    shutil.move("folder/b", "plain")
    assert pretrain.main(["--dataset", "folder", "--data", "plain", *SHORT, "--no-plots", "--quiet", "--out", "x"]) == 0
    assert evaluate.main(["x"]) == 1
    assert "expected pictures of two classes or more, or folders train and test, found no classes" in capsys.readouterr().err


def test_what_is_said_otherwise_does(own, monkeypatch, capsys):
    words = ["--dataset", "folder", "--data", "folder", *SHORT, "--no-plots", "--quiet", "--out", "x"]
    assert pretrain.main([*words, "--download"]) == 2
    assert "left out with --dataset folder" in capsys.readouterr().err
    (own / "file").write_text("no folder")
    monkeypatch.setenv("DYNLAB_CACHE_DIR", str(own / "file"))
    assert pretrain.main(words) == 2
    assert (
        "file/pictures: cannot be written" in (said := capsys.readouterr().err) and "DYNLAB_CACHE_DIR names another" in said
    )
    monkeypatch.setenv("DYNLAB_CACHE_DIR", str(own / "elsewhere"))
    assert pretrain.main(words) == 0
