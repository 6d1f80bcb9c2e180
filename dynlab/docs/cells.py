"""Scripts with cells, as tutorial.py is one: `# %%` begins a cell of code, `# %% [markdown]` one of text in comments.

`execute` runs a cell and keeps what it shows, as a notebook does: what it prints, and its last expression.
"""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

MARK = "# %%"
WORDS = "[markdown]"
RECORD = "outputs.json"  # of the folder that `record` fills


class Cell(NamedTuple):
    """kind ("code" or "markdown"); text, without the marks and, for markdown, without "# "; the line where it begins."""

    kind: str
    text: str
    line: int


class Output(NamedTuple):
    """What a cell shows: text, "" for none; the name of a picture, "" for none."""

    text: str = ""
    picture: str = ""


def cells(script: str) -> list[Cell]:
    """The cells of a script; what stands before the first mark is a cell of code where it is not empty."""
    found, begun, kind, lines = [], 1, "code", []
    for number, line in enumerate([*script.splitlines(), MARK], 1):
        if not line.startswith(MARK):
            lines.append(line)
            continue
        text = "\n".join(lines).strip("\n")
        if kind == "markdown":
            text = "\n".join(re.sub(r"^# ?", "", one) for one in text.split("\n"))
        if text.strip():
            found.append(Cell(kind, text, begun + next(i for i, one in enumerate(lines) if one)))
        begun, kind, lines = number + 1, "markdown" if WORDS in line else "code", []
    return found


def execute(cell: Cell, path: Path, space: dict[str, Any]) -> tuple[str, Any]:
    """Run a cell of code in the namespace `space`; return what it prints, and the value of its last expression or None."""
    # Blank lines before the code: lines of a traceback are then those of the script.
    tree = ast.parse("\n" * (cell.line - 1) + cell.text, str(path))
    last = tree.body[-1] if tree.body else None
    with contextlib.redirect_stdout(io.StringIO()) as said:
        if not isinstance(last, ast.Expr):
            exec(compile(tree, str(path), "exec"), space)
            return said.getvalue(), None
        exec(compile(ast.Module(tree.body[:-1], []), str(path), "exec"), space)
        value = eval(compile(ast.Expression(last.value), str(path), "eval"), space)
    return said.getvalue(), value


def shown(said: str, value: Any, name: str, folder: Path) -> Output:
    """What a cell shows; a figure is saved in `folder` as `name`.png."""
    if hasattr(value, "savefig"):
        value.savefig(folder / f"{name}.png", dpi=100)
        return Output(said.rstrip("\n"), f"{name}.png")
    return Output((said + ("" if value is None else repr(value))).rstrip("\n"))


def record(outputs: Sequence[Output], folder: Path) -> None:
    """Write what cells of code showed, for `recorded`."""
    text = json.dumps([one._asdict() for one in outputs], indent=1, ensure_ascii=False)
    (folder / RECORD).write_text(text + "\n", encoding="utf-8")


def recorded(folder: Path) -> list[Output]:
    """What the cells of code showed when they were recorded, cell by cell."""
    return [Output(**one) for one in json.loads((folder / RECORD).read_text(encoding="utf-8"))]


def page(script: str, outputs: Sequence[Output] = (), place: str = "") -> str:
    """The page of a script as Markdown: its text, its code as blocks, and what the code showed; place: of the pictures."""
    parts, left, about = [], list(outputs), ""
    for cell in cells(script):
        if cell.kind == "markdown":
            parts.append(cell.text)
            about = next((line.lstrip("# ") for line in cell.text.split("\n") if line.startswith("#")), about)
            continue
        parts.append(f"```python\n{cell.text}\n```")
        output = left.pop(0) if left else Output()
        if output.text:
            parts.append(f"```{{code-block}} none\n:class: output\n\n{output.text}\n```")
        if output.picture:
            parts.append(f"![{about}: what the cell above draws]({place}/{output.picture})")
    return "\n\n".join(parts) + "\n"
