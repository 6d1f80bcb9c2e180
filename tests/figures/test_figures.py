"""Every figure builds in its fast size, its claim holds on its data and fails on wrong data, its files say what they are."""

from __future__ import annotations

import ast
import json
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import dynlab
import figures
from dynlab.drawing import style
from figures.__main__ import main
from figures.parts import module, read, save
from tests.drawing.legibility import caption, faults
from tests.waiting import HANGS

PNG_WIDTHS = {round(inches * 200) for inches in (3.3, 6.9)}  # at the style's 200 points an inch
ROOT = Path(figures.__file__).parent


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """The folder with all figures, built by the command."""
    folder = tmp_path_factory.mktemp("figures") / "out"
    assert main(["--fast", "--gallery", "--out", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("name", figures.NAMES)
def test_the_claim_holds_on_its_data(built, name):
    module(name).claim(read(name, built))


# A change to the data that makes the claim wrong: column, rows it is changed in (a query; "" for all), factor, shift.
WRONG = [
    ("phases", "T_peak", "", 1e-9, 0.0),
    ("phases", "head_1_2", "", 30.0, 0.0),
    ("phases", "head_2_1", "", 1.0, 0.05),
    ("phases", "signal_1_1", "head == 'off-diagonal'", 1.0, 2.0),
    ("phases", "signal_1_2", "head == 'none'", 1.0, 5.0),
    ("phases", "loss", "head == 'none'", 1.0, 0.01),
    ("dimension", "value", "head == 'none'", 1.0, 0.2),
    ("dimension", "value", "head != 'none'", 0.8, 0.0),
    ("dimension", "predicted", "head == 'none'", 1.0, 0.3),
    ("dimension", "low", "head != 'none'", 0.5, 0.0),
    ("scaling", "value", "quantity == 'T_1' and x > 1e6", 2.0, 0.0),
    ("scaling", "value", "quantity == 'peak' and x > 0.05", 0.9, 0.0),
    ("scaling", "value", "quantity == 'peak'", 1.01, 0.0),
    ("scaling", "bound", "", 2.0, 0.0),
    ("two_routes", "value", "quantity == 'late' and rate < 1e-4", 0.5, 0.0),
    ("two_routes", "value", "quantity == 'gain' and rate < 1e-4", 1e-20, 0.0),
    ("two_routes", "value", "quantity == 'gain' and rate > 1e-2", 1e9, 0.0),
    ("two_routes", "value", "quantity == 'favoured'", 0.9, 0.0),
    ("two_routes", "value", "quantity == 'right'", 0.8, 0.0),
    ("two_routes", "value", "quantity == 'merged' and rate < 5e-3", 0.1, 0.0),
    ("two_routes", "value", "quantity == 'first rule'", 1.0, 0.1),
    ("phase_diagram", "value", "activation == 'cubic' and head == 'off-diagonal'", 0.5, 0.0),
    ("phase_diagram", "value", "activation == 'relu' and head == 'off-diagonal'", 1.0, 0.3),
    ("phase_diagram", "value", "activation == 'relu3' and head == 'off-diagonal'", 0.0, 0.0),
    ("phase_diagram", "failed", "", 1.0, 1.0),
    ("collapse_at_equal_loss", "excess", "head == 'none'", 1.0, 1e-4),
    ("collapse_at_equal_loss", "rank", "head == 'none'", 1.0, 0.1),
    ("collapse_at_equal_loss", "rank", "head == 'off-diagonal'", 0.9, 0.0),
    ("portrait", "y", "panel == 'none'", 6.0, 0.0),
    ("portrait", "x", "panel == 'peak'", -1.0, 0.0),
    ("portrait", "x", "panel == 'peak'", 1.0, 0.15),
    ("head_zoo", "low", "head == 'directcopy'", 0.2, 0.0),
    ("hidden_units", "value", "quantity == 'weak' and hidden == 1", 1.0, 0.1),
    ("hidden_units", "value", "quantity == 'weak' and rate == 0", 1.0, 0.5),
    ("hidden_units", "value", "quantity == 'rank' and rate == 0", 1.0, 0.5),
    ("hidden_units", "value", "quantity == 'head_end'", 1.0, 0.2),
    ("head_zoo", "value", "head == 'linear'", 0.8, 0.0),
    ("head_zoo", "time", "head == 'off-diagonal'", 100.0, 0.0),
    ("head_zoo", "failed", "head == 'none'", 1.0, 1.0),
    ("methods", "probe", "method == 'BYOL' and representation == 'encoder'", 1.0, -0.06),
    ("methods", "probe", "method == 'decorrelation alone' and representation == 'encoder'", 1.0, -0.03),
    ("methods", "probe", "method == 'no head' and representation == 'encoder'", 1.0, 0.05),
    ("methods", "singular_rank", "method == 'DINO' and representation == 'z'", 0.1, 0.0),
    ("methods", "singular_rank", "method == 'no head' and representation == 'z'", 10.0, 0.0),
    ("methods", "seed", "method == 'VICReg'", 0.0, 0.0),
    ("exact_against_minibatch", "value", "batch > 1000 and activation == 'cubic'", 8.0, 0.0),
    ("exact_against_minibatch", "value", "batch > 200 and activation == 'relu'", 0.05, 0.0),
    ("exact_against_minibatch", "strong", "batch == 0", 1.2, 0.0),
    ("exact_against_minibatch", "weak", "head == 'off-diagonal' and activation == 'cubic'", 0.3, 0.0),
    ("exact_against_minibatch", "weak", "batch > 1000 and activation == 'relu'", 1.0, 0.1),
]


@pytest.mark.parametrize(("name", "column", "rows", "factor", "shift"), WRONG)
def test_the_claim_fails_on_wrong_data(built, name, column, rows, factor, shift):
    data = read(name, built)
    chosen = data.index if not rows else data.query(rows).index
    assert len(chosen)
    data[column] = data[column].astype(float)
    data.loc[chosen, column] = factor * data.loc[chosen, column] + shift
    with pytest.raises(AssertionError):
        module(name).claim(data)


def test_every_claim_is_tried_on_wrong_data():
    assert {name for name, *_ in WRONG} == set(figures.NAMES)


@pytest.fixture(scope="module", params=figures.NAMES)
def redrawn(built, request, tmp_path_factory):
    """A figure drawn once more, from its data alone: its name, the folder, and what was handed over to be saved there."""
    name, folder, drawn = request.param, tmp_path_factory.mktemp("redrawn"), []
    for path in built.glob(f"{name}*"):
        if path.suffix in (".csv", ".json"):
            (folder / path.name).write_bytes(path.read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        for computing in (
            "dynlab.ensembles.ensemble.ensemble",
            "dynlab.population.pair.flow.run_flow",
            "dynlab.maps.phase_map.run_jobs",
        ):
            patch.setattr(computing, lambda *_, **__: pytest.fail("drawing computes"))
        patch.setattr(module(name), "save", lambda figure, *where: (drawn.append(figure), save(figure, *where)))
        module(name).draw(folder)
    return name, folder, drawn


def test_drawing_reads_data_alone_and_gives_the_same_bytes(built, redrawn):
    name, folder, _ = redrawn
    for suffix in (".png", ".pdf"):
        assert (folder / name).with_suffix(suffix).read_bytes() == (built / name).with_suffix(suffix).read_bytes()


def test_every_figure_is_legible_in_grey_and_says_what_it_shows(redrawn):
    name, _, drawn = redrawn
    assert faults(drawn[0]) == []
    said, given = caption(drawn[0]), module(name).settings(True)
    assert ("strong 1" if name != "methods" else "CIFAR-10, encoder demo, 1501 steps") in said
    for word in ("dim", "seeds", "eta_head"):
        assert word not in given or f"{given[word]:g}" in said or name == "scaling", f"{word} is not in {said!r}"


@pytest.mark.parametrize("name", figures.NAMES)
def test_files_say_what_they_are(built, name):
    png, pdf = ((built / name).with_suffix(suffix).read_bytes() for suffix in (".png", ".pdf"))
    assert struct.unpack(">I", png[16:20])[0] in PNG_WIDTHS
    assert pdf.startswith(b"%PDF") and b"CreationDate" not in pdf
    inches = float(re.search(rb"/MediaBox \[ ?0 0 ([\d.]+)", pdf).group(1)) / 72.0
    assert inches in (pytest.approx(3.3), pytest.approx(6.9))
    assert b"/Subtype /Image" not in pdf  # all of it is lines, areas and text
    assert b"/Type3" not in pdf
    settings = json.loads((built / f"{name}.json").read_text())["settings"]
    assert settings == json.loads(json.dumps(module(name).settings(True)))
    for content in (png, pdf):
        assert f"dynlab {dynlab.__version__}".encode() in content
        assert module(name).TITLE[:20].encode() in content
        assert next(iter(settings)).encode() in content


def test_the_gallery_is_small_and_whole(built):
    made = sorted(path.name for path in (built / "gallery").iterdir())
    assert made == sorted(f"{name}.png" for name in figures.NAMES)
    page = Path(dynlab.__file__).parent / "docs" / "figures.md"
    shown = re.findall(r"\(figures/gallery/(\w+)\.png\)", page.read_text(encoding="utf-8"))
    assert set(shown) == set(figures.NAMES)
    for name in figures.NAMES:
        assert (ROOT / "gallery" / f"{name}.png").stat().st_size < 300_000
        with open(ROOT / "gallery" / f"{name}.png", "rb") as picture:
            head = picture.read(3000)
        assert b"dynlab" in head and json.dumps(module(name).settings(False), sort_keys=True).encode() in head


def test_every_module_is_a_figure():
    modules = {path.stem for path in ROOT.glob("*.py")} - {"__init__", "__main__", "parts"}
    assert modules == set(figures.NAMES)
    for name in modules:
        parsed = ast.parse((ROOT / f"{name}.py").read_text(encoding="utf-8"))
        defined = {node.name for node in parsed.body if isinstance(node, ast.FunctionDef)}
        assert {"settings", "compute", "draw", "claim"} <= defined
        assert module(name).NAME == name


def test_one_style():
    """No figure brings sizes of its own, and the style's colours are those that figures name."""
    with style.style():
        import matplotlib as mpl

        cycle = [f"#{entry['color']}".replace("##", "#") for entry in mpl.rcParams["axes.prop_cycle"]]
        assert tuple(cycle) == style.COLOURS and not mpl.rcParams["text.usetex"]
    sources = [path for folder in (ROOT, Path(dynlab.__file__).parent) for path in folder.rglob("*.mplstyle")]
    assert [path.name for path in sources] == ["dynlab.mplstyle"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["phase"], "NAME phase: must be one of phases, dimension"),
        (["--fast", "--out="], "--out '': must be the name of a folder"),
        (["--fast", "--out", "file"], "--out file: holds a file"),
        (["--slow"], "unrecognized arguments: --slow"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("mine")
    try:
        status = main(words)
    except SystemExit as error:
        status = error.code
    line = capsys.readouterr().err
    assert status == 2 and line.count("\n") == 1 and message in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_module_is_a_command():
    done = subprocess.run(
        [sys.executable, "-m", "figures", "--help"],
        cwd=ROOT.parent,
        capture_output=True,
        text=True,
        timeout=HANGS,
        check=True,
    )
    assert all(name in done.stdout for name in figures.NAMES)
