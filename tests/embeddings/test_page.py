"""The page on diagnosing: its examples run, and its table is the one that verdicts are told by."""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path

import pytest

import dynlab
from dynlab.embeddings.standing import RIGHT, WORDS

PAGE = (Path(dynlab.__file__).parent / "docs" / "diagnose.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.S | re.M)


def block(word: str) -> str:
    """The one example that holds a word."""
    (found,) = [text for text in BLOCKS if word in text]
    return found


def execute(text: str) -> dict:
    names: dict = {}
    exec(compile(text, "diagnose.md", "exec"), names)
    return names


def explained() -> str:
    from dynlab.explanation.explanation import explain

    return " ".join(explain("runs/mine").text.split())


def test_the_first_example_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    execute(block("found.plot()"))
    assert "NO COLLAPSE" in capsys.readouterr().out and (tmp_path / "z.png").stat().st_size > 1000


@pytest.mark.parametrize("word", ["import lightning", "import jax", "import torch"])
def test_the_examples_are_python(word):
    ast.parse(block(word))


def test_the_torch_example_runs_and_without_head_and_stop_it_warns(tmp_path, monkeypatch):
    pytest.importorskip("torch", reason="torch is not installed: the example of the page is not run")
    monkeypatch.chdir(tmp_path)
    text = block("import torch")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        execute(text)
    assert "31 records of 512 rows of 16 outputs; finished" in explained() and "COLLAPSED" not in explained()
    broken = text.replace("head(z1)", "z1").replace("head(z2)", "z2").replace(".detach()", "").replace("runs/mine", "broken")
    with pytest.warns(UserWarning, match="way to collapse"):
        execute(broken)


def test_the_torch_example_collapses_without_its_head_and_without_its_stop(tmp_path, monkeypatch):
    """What is advised first is needed together, as the page and the advice say."""
    pytest.importorskip("torch", reason="torch is not installed: the example of the page is not run")
    monkeypatch.chdir(tmp_path)
    whole = block("import torch").replace("range(301)", "range(1001)")
    headless, unstopped = whole.replace("head(z1)", "z1").replace("head(z2)", "z2"), whole.replace(".detach()", "")
    ends = []
    for number, text in enumerate((whole, headless, unstopped)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ends.append(execute(text.replace("runs/mine", str(number)))["monitor"].lines[-1]["rank"])
    assert ends[0] > 5.0 and max(ends[1:]) < 1.2


def test_the_jax_example_runs(tmp_path, monkeypatch):
    pytest.importorskip("jax", reason="jax is not installed: the example of the page is not run")
    monkeypatch.chdir(tmp_path)
    execute(block("import jax"))
    assert "11 records of 256 rows of 6 outputs; finished" in explained()


def rows() -> dict[str, list[str]]:
    """{verdict: cells} of the table of fates."""
    table = PAGE.partition("<!-- begin fates -->")[2].partition("<!-- end fates -->")[0]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")]
    return {row[0]: row[1:] for row in cells if row[0] in WORDS}


def test_how_often_a_verdict_was_right_is_what_the_page_says():
    """Of `collapsed` the runs whose probe is not above the random encoder's, of `healthy` those whose is."""
    table = rows()
    assert set(RIGHT) <= set(table) and {"collapsed", "healthy"} <= set(RIGHT)
    for verdict, (right, total, _) in RIGHT.items():
        runs, fates = int(table[verdict][0]), int(table[verdict][1].split()[0])
        assert total == runs and right == (fates if verdict in ("collapsed", "unclear") else runs - fates)
