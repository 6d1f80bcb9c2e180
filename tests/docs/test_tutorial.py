"""The tutorial runs as a script and cell by cell, with what it asserts; and a cell that fails is named."""

import os
import subprocess
import sys
from pathlib import Path

import dynlab
from dynlab.docs.cells import cells, page
from tests import ROOT
from tests.waiting import HANGS

TUTORIAL = Path(dynlab.__file__).parent / "docs" / "tutorial.py"


def run_cells(script: Path, figures: Path) -> subprocess.CompletedProcess:
    """The cells in a process of their own, elsewhere than in the checkout."""
    environment = os.environ | {"DYNLAB_FIGURES": str(figures), "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    words = [sys.executable, "-m", "tests.docs.run_cells", str(script)]
    return subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=HANGS)


def test_every_cell_runs_and_what_it_asserts_holds(tmp_path):
    before = set(TUTORIAL.parent.rglob("*")) | set(ROOT.iterdir())
    done = run_cells(TUTORIAL, tmp_path)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) < 10, "it prints little"
    names = {path.name for path in tmp_path.glob("*.png")}
    assert {"with_head.png", "without_head.png", "ensemble.png", "phase_diagram.png", "quintic.png"} <= names
    after = set(TUTORIAL.parent.rglob("*")) | set(ROOT.iterdir())
    assert {path for path in after - before if "__pycache__" not in path.parts} <= {TUTORIAL.parents[2] / ".pytest_cache"}


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


def test_text_becomes_a_page():
    text = page("# %% [markdown]\n# ## A `b_` title\n# |w| and *one* `code`\n# %%\nx = 1\n\ny = 2\n")
    assert text == "## A `b_` title\n|w| and *one* `code`\n\n```python\nx = 1\n\ny = 2\n```\n"
