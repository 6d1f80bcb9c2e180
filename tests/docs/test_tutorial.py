"""The tutorial runs as a script and cell by cell, with what it asserts; and a cell that fails is named."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dynlab
from dynlab.docs.cells import Output, cells, page, recorded
from dynlab.docs.source import figures
from tests import ROOT
from tests.waiting import HANGS

TUTORIAL = Path(dynlab.__file__).parent / "docs" / "tutorial.py"


def run_cells(script: Path, figures: Path) -> subprocess.CompletedProcess:
    """The cells in a process of their own, elsewhere than in the checkout."""
    environment = os.environ | {"DYNLAB_FIGURES": str(figures), "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    words = [sys.executable, "-m", "tests.docs.run_cells", str(script), str(figures)]
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANGS)


def test_every_cell_runs_and_what_it_asserts_holds(tmp_path):
    before = set(TUTORIAL.parent.rglob("*")) | set(ROOT.iterdir())
    done = run_cells(TUTORIAL, tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) < 10, "it prints little"
    named_as_recorded(tmp_path)
    names = {path.name for path in tmp_path.glob("*.png")}
    assert {"with_head.png", "without_head.png", "ensemble.png", "phase_diagram.png", "quintic.png"} <= names
    after = set(TUTORIAL.parent.rglob("*")) | set(ROOT.iterdir())
    assert {path for path in after - before if "__pycache__" not in path.parts} <= {TUTORIAL.parents[2] / ".pytest_cache"}


NUMBER = re.compile(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?")


def alike(now: str, before: str) -> bool:
    """Whether two outputs are the same but for spaces and for what another processor may round elsewhere."""
    words = [" ".join(NUMBER.sub("#", text).split()) for text in (now, before)]
    pairs = zip(*([float(word) for word in NUMBER.findall(text)] for text in (now, before)), strict=False)
    return words[0] == words[1] and all(a == pytest.approx(b, rel=0.05, abs=2e-3) for a, b in pairs)


def named_as_recorded(folder: Path) -> None:
    """What the cells show is what the page shows: `python -m tests.docs.run_cells` writes it anew."""
    now, before = recorded(folder), recorded(figures() / "tutorial")
    assert len(now) == len(before) == len([one for one in cells(TUTORIAL.read_text("utf-8")) if one.kind == "code"])
    for one, kept in zip(now, before, strict=True):
        assert alike(one.text, kept.text) and one.picture == kept.picture, (one, kept)
        if one.picture:
            sizes = [(place / one.picture).read_bytes()[16:24] for place in (folder, figures() / "tutorial")]  # of a PNG
            assert sizes[0] == sizes[1], one.picture
    assert sum(bool(one.picture) for one in now) >= 5 and sum(bool(one.text) for one in now) >= 5


def test_what_is_alike():
    assert alike("loss 1.333, steps 210", "loss  1.3331, steps 211") and alike("-2e-20", "1e-17")
    for other in ("loss 1.5, steps 210", "loss 1.333, turns 210", "loss 1.333, steps 210, 5"):
        assert not alike("loss 1.333, steps 210", other)


def test_a_failing_cell_is_named(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("# %%\nx = 1\n# %% [markdown]\n# text\n# %%\n\nassert x == 2, 'x is not two'\n# %%\nx = 3\n")
    done = run_cells(script, tmp_path)
    assert done.returncode == 1
    assert "cell 2 of 3, line 7, failed: assert x == 2" in done.stderr and "x is not two" in done.stderr
    assert 'script.py", line 7' in done.stderr, "the line of the script"


def test_cells_are_told_apart():
    found = cells("import a\n\n# %% [markdown]\n# # Title\n#\n# text\n# %%\n# a comment\nb = 1\n# %%\n")
    assert found == [("code", "import a", 1), ("markdown", "# Title\n\ntext", 4), ("code", "# a comment\nb = 1", 8)]


def test_a_cell_shows_what_it_prints_and_its_last_value(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("# %%\nx = 2\n# %%\nprint('so')\nx * 3\n# %%\nx\nprint('and so')\n# %%\n# none\n")
    done = run_cells(script, tmp_path)
    assert done.returncode == 0 and done.stdout == "so\nand so\n"
    assert recorded(tmp_path) == [Output(), Output("so\n6"), Output("and so"), Output()]


def test_outputs_stand_below_their_cells():
    script = "# %% [markdown]\n# ## Title\n# %%\nx\n# %% [markdown]\n# between\n# %%\ny\n"
    text = page(script, [Output("1"), Output("", "cell_2.png")], "figures")
    shown = "```{code-block} none\n:class: output\n\n1\n```"
    assert text == (
        f"## Title\n\n```python\nx\n```\n\n{shown}\n\nbetween\n\n```python\ny\n```\n\n"
        "![Title: what the cell above draws](figures/cell_2.png)\n"
    )


def test_text_becomes_a_page():
    text = page("# %% [markdown]\n# ## A `b_` title\n# |w| and *one* `code`\n# %%\nx = 1\n\ny = 2\n")
    assert text == "## A `b_` title\n|w| and *one* `code`\n\n```python\nx = 1\n\ny = 2\n```\n"
