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


def markdown_to_rst(text: str) -> str:
    """Headings, paragraphs, lists, `code`, *emphasis* and **bold** as reStructuredText: what the tutorial uses, no more."""
    lines = []
    for line in text.split("\n"):
        heading = re.match(r"(#+) (.*)", line)
        if heading:
            rule = ("=", "-", "~")[min(len(heading[1]), 3) - 1]
            lines += [plain(heading[2]), rule * len(plain(heading[2])), ""]
        else:
            lines.append(plain(line))
    return "\n".join(lines)


def plain(line: str) -> str:
    """A line with `code` as ``code``, and with what reStructuredText would take for markup escaped."""
    parts = re.split(r"(`[^`]+`|\*\*[^*]+\*\*|(?<!\w)\*[^*\s][^*]*\*(?!\w))", line)
    for i, part in enumerate(parts):
        if i % 2 == 0:
            escaped = re.sub(r"([\\`|]|(?<!^)\*)", r"\\\1", part)
            parts[i] = re.sub(r"_(?!\w)", r"\\_", escaped)
        elif part.startswith("`"):
            parts[i] = f"`{part}`"
    return "".join(parts)


def page(script: str) -> str:
    """The page of a script: its text, and its code as blocks."""
    parts = []
    for cell in cells(script):
        if cell.kind == "markdown":
            parts.append(markdown_to_rst(cell.text))
        else:
            parts.append(".. code-block:: python\n\n" + "\n".join(f"    {line}".rstrip() for line in cell.text.split("\n")))
    return "\n\n".join(parts) + "\n"
