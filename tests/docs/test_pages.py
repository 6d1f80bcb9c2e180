"""The pages build without a warning, offline, and say what the docstrings say: every formula on a line of its own."""

import html
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dynlab
from dynlab.docs import __main__ as command
from dynlab.docs import docstrings
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
        assert not [formula for formula in formulas if not {formula, formula.replace("`", "")} & lines], name
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


def read(plain: str, tmp_path: Path) -> str:
    """A docstring as it stands on a page."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "conf.py").write_bytes((DOCS / "conf.py").read_bytes())
    for folder in ("static", "templates"):
        shutil.copytree(DOCS / folder, source / folder)
    lines = docstrings.markdown(plain.split("\n")).split("\n")
    directive = "\n".join(["Title", "=====", "", ".. markdown::", "", *(f"   {line}" for line in lines)])
    (source / "index.rst").write_text(directive + "\n")
    assert command.build(tmp_path / "out", pages=source) == 0
    found = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    return found.partition('<div class="body" role="main">')[2].partition('<div class="clearer">')[0]


def test_formulas_in_docstrings_mean_themselves(tmp_path):
    """Each has a part that Markdown would read as markup: underscores, links, tags, dollars, quotations, entities."""
    formulas = (
        "|w~_1|/|w~_2| and |w~_2|/|w~_1|", "x*y and a*b, p* and 2 * 3", "E[N1](t_j + mu_r)", "<w> and <b, c>", "$d^2$",
        "T_ of", "a &lt; b", "[^1]", "\\alpha \\* b",
    )  # fmt: skip
    plain = (
        "; ".join(formulas)
        + "\n> 0 at *one* word,\n% of all\nand **all** `names`s.\n\n    f = |a|\n      + b*c\n\n* an item\n"
    )
    source = read(plain, tmp_path)
    found = html.unescape(re.sub(r"<[^>]*>", "", source))
    for formula in (*formulas, "> 0 at one word,", "% of all", "f = |a|\n  + b*c"):
        assert formula in found, formula
    assert re.findall(r"<(em|strong)>(.*?)</", source) == [("em", "one"), ("strong", "all")]
    assert "<pre>f = |a|" in source.replace("<span></span>", "") and "<li><p>an item" in source


def test_sections_become_lists():
    lines = [
        "Summary.", "", "Parameters", "----------", "x, y : (n,) array", "    In units of |w|.", "kind : str", "    below",
        "depth : how deep, and so on for a line that is so long that it went on on the next line in", "    small letters.",
        "**more : of it", "", "Returns", "-------", "value : float, the sum", "other : (m, m)", "",
        "Raises ValueError for y_.", "", "Examples", "--------", ">>> x = 1", "", "So it is.",
    ]  # fmt: skip
    found = docstrings.markdown(lines)
    assert re.sub(r"\n+", "\n", found) == (
        "Summary.\nRaises ValueError for y_.\n**Examples**\n```python\n>>> x = 1\n```\nSo it is.\n"
        ":Parameters:\n"
        "   * **x, y** \N{EN DASH} (n,) array.\n     In units of |w|.\n   * **kind** \N{EN DASH} str;\n     below\n"
        "   * **depth** \N{EN DASH} how deep, and so on for a line that is so long that it went on on the next line in\n"
        "     small letters.\n   * `**more` \N{EN DASH} of it\n"
        ":Returns:\n   * **value** \N{EN DASH} float, the sum\n   * **other** \N{EN DASH} (m, m)\n"
    )
    assert docstrings.parameters("\n".join(lines)) == ["x", "y", "kind", "depth", "**more"]


def test_formulas_are_typeset(pages):
    """As MathML, which needs no script; no dollar of a formula is left between words."""
    count = 0
    for page in pages.glob("*.html"):
        source = page.read_text(encoding="utf-8")
        count += source.count("<math ")
        assert not re.search("<script[^>]*mathjax", source.lower()), page
        words = html.unescape(re.sub(r"<[^>]*>", "", re.sub(r"<(pre|code|title)\b.*?</\1>", "", source, flags=re.S)))
        assert "$" not in words, (page, words[words.index("$") - 40 :][:80])
    assert count > 150
    assert (pages / "formulas.html").read_text(encoding="utf-8").count(
        '<math xmlns="http://www.w3.org/1998/Math/MathML" display'
    ) >= 10


def test_headings_are_no_links_and_links_lead_somewhere(pages):
    """Of what can be seen without a browser; the widths are looked at in one (tests/docs/browser.py)."""
    ids, links = {}, {}
    for page in pages.glob("*.html"):
        source = page.read_text(encoding="utf-8")
        ids[page.name] = set(re.findall(r'\bid="([^"]+)"', source))
        links[page.name] = [html.unescape(place) for place in re.findall(r'<a\b[^>]*\bhref="([^"]+)"', source)]
        for heading in re.findall(r"<h[1-6]\b.*?</h[1-6]>", source.partition('role="main"')[2], re.S):
            assert set(re.findall(r'<a class="([^"]*)"', heading)) <= {"headerlink"}, (page, heading)
    for name, places in links.items():
        for place in places:
            where, _, anchor = place.partition("#")
            if not re.match(r"\w+:", place):
                assert (pages / (where or name)).is_file(), (name, place)
                assert not anchor or (where or name) not in ids or anchor in ids[where or name], (name, place)


def test_the_glossary_explains_the_mechanism(pages):
    source = (pages / "glossary.html").read_text(encoding="utf-8")
    for word in ("E_21", "lender", "borrower", "merged", "substitution", "acceleration", "T_1"):
        assert f'id="term-{word}"' in source, word
