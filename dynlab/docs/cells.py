"""Scripts with cells, as tutorial.py is one: `# %%` begins a cell of code, `# %% [markdown]` one of text in comments."""

from __future__ import annotations

import re
from typing import NamedTuple

MARK = "# %%"
WORDS = "[markdown]"


class Cell(NamedTuple):
    """kind ("code" or "markdown"); text, without the marks and, for markdown, without "# "; the line where it begins."""

    kind: str
    text: str
    line: int


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


def page(script: str) -> str:
    """The page of a script as Markdown: its text, and its code as blocks."""
    parts = [cell.text if cell.kind == "markdown" else f"```python\n{cell.text}\n```" for cell in cells(script)]
    return "\n\n".join(parts) + "\n"
