"""Docstrings as Markdown, which they are: indented blocks are formulas, `name` is code, *word* and **words** are emphasis.

MyST reads it. What Markdown has no form for are numpydoc's sections, whose entries begin with names and go on with a type, a
shape or words; `markdown` makes lists of them.
"""

from __future__ import annotations

import re

SECTIONS = ("Parameters", "Returns", "Raises", "Attributes", "Yields", "Examples", "Notes", "See Also")
ENTRIES = ("Parameters", "Returns", "Raises", "Attributes", "Yields")
NAMES = r"\*{0,2}\w+(?:, *\*{0,2}\w+)*"  # of an entry
ENTRY = re.compile(rf"({NAMES}) +:(?: +(.*))?$")
FULL = 90  # characters: a first line of an entry that is shorter was ended on purpose


def markdown(lines: list[str]) -> str:
    """The Markdown of a docstring (dedented). Prose that stands after the sections comes before the lists."""
    before, sections = _split(lines)
    found, lists = list(before), []
    for name, body in sections:
        if name in ENTRIES:
            entries, rest = _entries(body)
            lists += ["", f":{name}:", *("   " + line if line else "" for line in _list(entries, name))]
            found += ["", *rest]
        else:
            found += ["", f"**{name}**", "", *_examples(_dedented(body))]
    return "\n".join([*found, *lists]).strip("\n") + "\n"


def _examples(lines: list[str]) -> list[str]:
    """Paragraphs, those that begin with a prompt as blocks of Python."""
    found = []
    for paragraph in "\n".join(lines).split("\n\n"):
        found += ["```python", paragraph, "```", ""] if paragraph.startswith(">>>") else [paragraph, ""]
    return found


def _block(lines: list[str], start: int) -> tuple[list[str], int]:
    """The lines from `start` that are indented, blank ones between them too; and where they end."""
    stop = start
    for i in range(start, len(lines)):
        if lines[i].strip():
            if not lines[i].startswith(" "):
                break
            stop = i + 1
    return lines[start:stop], stop


def _dedented(lines: list[str]) -> list[str]:
    least = min((len(line) - len(line.lstrip()) for line in lines if line.strip()), default=0)
    whole = [line[least:].rstrip() for line in lines]
    while whole and not whole[-1]:
        whole.pop()
    return whole


def _split(lines: list[str]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """What stands before the first section, and the sections: names and lines."""
    starts = [
        i for i in range(len(lines) - 1) if lines[i].strip() in SECTIONS and re.fullmatch(r"-{3,}", lines[i + 1].strip())
    ]
    bounds = [*starts, len(lines)]
    sections = [(lines[a].strip(), lines[a + 2 : b]) for a, b in zip(bounds, bounds[1:], strict=False)]
    return lines[: bounds[0]], sections


def _entries(body: list[str]) -> tuple[list[tuple[str, list[str]]], list[str]]:
    """The entries of a section, (first line, the indented lines below it), and what follows them after a blank line."""
    entries: list[tuple[str, list[str]]] = []
    i = 0
    while i < len(body):
        if not body[i].strip():
            after = next((j for j in range(i, len(body)) if body[j].strip()), len(body))
            return entries, body[after:]
        block, after = _block(body, i + 1)
        entries.append((body[i], _dedented(block)))
        i = after
    return entries, []


def parameters(text: str) -> list[str]:
    """The names in the section Parameters of a docstring (dedented)."""
    lines = [body for name, body in _split(text.split("\n"))[1] if name == "Parameters"]
    firsts = [first for body in lines for first, _ in _entries(body)[0]]
    named = [re.match(NAMES, first) for first in firsts]
    return [name.strip() for match in named if match for name in match[0].split(",")]


def _list(entries: list[tuple[str, list[str]]], section: str) -> list[str]:
    """Items, names in bold and a text, of the entries, or one paragraph where there is but one that has no name."""
    items = []
    for first, below in entries:
        match = ENTRY.match(first) or (re.match(rf"({NAMES})()$", first) if section != "Returns" else None)
        names, given = (match[1], match[2] or "") if match else ("", first)
        if given and below:
            smooth = len(first) >= FULL or given.endswith((",", ":", ";"))
            given += "" if smooth else (";" if below[0][:1].islower() else ".")
        text = [given, *below] if given else below or [""]
        bold = (f"`{names}`" if "*" in names else f"**{names}**") if names else ""
        text[0] = f"{bold} \N{EN DASH} {text[0]}" if bold and text[0] else bold + text[0]
        items.append(text)
    if len(items) == 1 and not items[0][0].startswith(("**", "`*")):
        return items[0]
    return [("* " if n == 0 else "  ") + line if line else "" for item in items for n, line in enumerate(item)]
