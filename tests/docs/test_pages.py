"""The pages build without a warning, offline, and say what the docstrings say: every formula on a line of its own."""

import html
import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dynlab
from dynlab.docs import __main__ as command
from dynlab.docs import plain_text
from tests.waiting import HANGS

ROOT = Path(dynlab.__file__).parents[1]
DOCS = ROOT / "dynlab" / "docs"
THEORY = re.findall(r"automodule:: (\S+)", (DOCS / "theory.rst").read_text(encoding="utf-8"))


def run(words, **environment):
    """The command in a process of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | environment
    words = [sys.executable, "-m", "dynlab.docs", *words]
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANGS)


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The folder of pages, built once."""
    out = tmp_path_factory.mktemp("docs") / "pages"
    done = run(["--out", str(out)])
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout == f"pages in {out / 'index.html'}\n"
    return out


def text_of(page: Path) -> str:
    """A page without its markup."""
    return html.unescape(re.sub(r"<[^>]*>", "", page.read_text(encoding="utf-8")))


def test_every_formula_keeps_its_line(pages):
    lines = {line.strip() for line in text_of(pages / "theory.html").splitlines()}
    for name in THEORY:
        written = importlib.import_module(name).__doc__.splitlines()
        formulas = [line.strip() for line in written if line.startswith("    ")]
        assert not [formula for formula in formulas if formula not in lines], name
    assert len(THEORY) > 30


def test_words_keep_their_signs(pages):
    found = " ".join(text_of(pages / "theory.html").split())
    for words in (
        "|E_21| <= sqrt(r / q) |w_2(0)|",
        "p_+ is stable, p_- unstable",
        "dn'_j/dt = target_rate (1 - n'_j n'_j^T) n_j",
        "maximum e* = (p B - q A)/(q B - p C)",
    ):
        assert words in found, words
    assert "<strong>Bias.</strong>" in (pages / "theory.html").read_text() and "**" not in found


def test_every_public_name_has_its_place(pages):
    source = (pages / "reference.html").read_text(encoding="utf-8")
    for name in dynlab.__all__:
        if name != "__version__":
            within = f".{name}" if inspect.ismodule(getattr(dynlab, name)) else ""  # a command's module that can be called
            assert f'id="dynlab.{name}{within}"' in source, name
    inner = (
        "maps.grid.Grid", "maps.phase_map.phase_map", "maps.phase_map.PhaseMap.plot", "population.pair.limit.fate",
        "linear.laws.balance", "images.training.run_folder.read",
    )  # fmt: skip
    for name in inner:
        assert f'id="dynlab.{name}"' in source, name
    assert "Alias for field number" not in source


def test_the_tutorial_is_the_script(pages):
    found = " ".join(text_of(pages / "tutorial.html").split())
    script = (DOCS / "tutorial.py").read_text(encoding="utf-8")
    assert "From one run to a phase diagram" in found
    for line in script.splitlines():
        if line and not line.startswith("#"):
            assert " ".join(line.split()) in found, line


def test_pages_fetch_nothing(pages):
    for page in pages.rglob("*.html"):
        source = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|link|img|iframe)[^>]*(?:src|href)="([^"]*)"', source)
        assert not [place for place in loaded if "//" in place], page
    for sheet in pages.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_a_page_that_warns_is_an_error(tmp_path, capfd):
    source = tmp_path / "source"
    source.mkdir()
    (source / "conf.py").write_text("extensions = []\n")
    (source / "index.rst").write_text("Title\n=====\n\nsome *unfinished emphasis\n")
    assert command.build(tmp_path / "out", pages=source) == 1
    assert "Inline emphasis start-string without end-string" in capfd.readouterr().err
    (source / "index.rst").write_text("Title\n=====\n\nsome *finished* emphasis\n")
    assert command.build(tmp_path / "again", pages=source) == 0


def test_mistakes_are_one_line(tmp_path):
    (tmp_path / "mine.txt").write_text("not a page")
    (tmp_path / "sphinx").mkdir()
    (tmp_path / "sphinx" / "__init__.py").write_text("raise ImportError('no sphinx here')\n")
    without = {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "PYTHONSAFEPATH": "1"}
    cases = [
        (["--out", str(tmp_path)], {}, 2, "holds other files"),
        (["--out", str(tmp_path / "mine.txt")], {}, 2, "is a file"),
        (["--out", ""], {}, 2, "must be the name of a folder"),
        (["--format", "odt"], {}, 2, "must be one of html, text"),
        (["--out", str(tmp_path / "new")], without, 1, "sphinx is not installed"),
    ]
    for words, environment, status, told in cases:
        done = run(words, **environment)
        assert done.returncode == status, (words, done)
        assert told in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.txt", "sphinx"]


@pytest.mark.parametrize(
    ("plain", "rst"),
    [
        ("a |w|, x*y and T_ of `name_`s", r"a \|w\|, x\*y and T\_ of ``name_``\ s"),
        ("**Bold.** *word* is p* and 2 * 3", r"**Bold.** *word* is p\* and 2 \* 3"),
        ("With\n\n    x = |a|\n      + b*c\n\nso", "With\n\n\n::\n\n   x = |a|\n     + b*c\n\n\nso"),
        ("* one\n  more\n\n      f = g\n\n  end\n* two", "\n* one\n  more\n\n\n  ::\n\n     f = g\n\n\n  end\n\n\n* two\n"),
        ("A. Author, *Title*", r"\A. Author, *Title*"),
        ("`a | b` stays", "``a | b`` stays"),
    ],
)
def test_plain_text_as_markup(plain, rst):
    assert re.sub(r"\n+", "\n", plain_text.to_rst(plain)) == re.sub(r"\n+", "\n", rst)


def test_sections_become_lists():
    lines = [
        "Summary.", "", "Parameters", "----------", "x, y : (n,) array", "    In units of |w|.", "kind : str", "    below",
        "depth : how deep, and so on for a line that is so long that it went on on the next line in", "    small letters.",
        "", "Returns", "-------", "value : float, the sum", "other : (m, m)", "", "Raises ValueError for y_.",
    ]  # fmt: skip
    found = "\n".join(plain_text.docstring(lines))
    assert re.sub(r"\n+", "\n", found) == (
        "Summary.\nRaises ValueError for y\\_.\n:Parameters:\n"
        "   * **x, y** \N{EN DASH} (n,) array.\n     In units of \\|w\\|.\n   * **kind** \N{EN DASH} str;\n     below\n"
        "   * **depth** \N{EN DASH} how deep, and so on for a line that is so long that it went on on the next line in\n"
        "     small letters.\n"
        ":Returns:\n   * **value** \N{EN DASH} float, the sum\n   * **other** \N{EN DASH} (m, m)\n"
    )
    assert plain_text.parameters("\n".join(lines)) == ["x", "y", "kind", "depth"]
