"""Docstrings as reStructuredText. They are plain text: indented blocks are formulas, `name` is code, *word* and **words**
are emphasis, "* " begins an item; |w|, x*y and trailing underscores mean themselves.

`to_rst` turns such prose into reStructuredText; `docstring` does so with a whole docstring. Entries of its sections begin
with names, and go on with what napoleon would take for a type; so Parameters, Returns and Raises become lists here, and
napoleon is left the sections of prose (Examples, Notes).
"""

from __future__ import annotations

import re

SECTIONS = ("Parameters", "Returns", "Raises", "Attributes", "Yields", "Examples", "Notes", "See Also")
ENTRIES = ("Parameters", "Returns", "Raises", "Attributes", "Yields")
MARKUP = re.compile(
    r"(``[^`]+``|`[^`]+`|(?<![\w*])\*\*[^*\s](?:[^*]|\n)*?\*\*(?![\w*])|(?<![\w*^])\*[A-Za-z](?:[^*`|=]*?[\w.)])?\*(?![\w*]))"
)
ITEM = re.compile(r"^([*-]|\d+[.)]) +(?=\S)")
ENUMERATOR = re.compile(r"(\(?(?:[A-Za-z]|[ivxlcdmIVXLCDM]+|#)[.)]) ")
NAMES = r"\*{0,2}\w+(?:, *\*{0,2}\w+)*"  # of an entry
ENTRY = re.compile(rf"({NAMES}) +:(?: +(.*))?$")
FULL = 90  # characters: a first line of an entry that is shorter was ended on purpose


def to_rst(text: str) -> str:
    """Plain text as reStructuredText."""
    return "\n".join(_prose(text.split("\n")))


def _prose(lines: list[str]) -> list[str]:
    """The same for lines whose least indentation is 0."""
    found: list[str] = []
    i = 0
    while i < len(lines):
        line = lines[i]
        if not line.strip():
            found.append("")
            i += 1
        elif line.startswith(" "):
            block, i = _block(lines, i, 1)
            found += ["", "::", "", *("   " + one if one else "" for one in _dedented(block)), ""]
        elif ITEM.match(line):
            width = len(line) - len(ITEM.sub("", line, count=1))
            block, i = _block(lines, i + 1, 1)
            inside = [line[width:], *(one[min(width, len(one) - len(one.lstrip())) :] for one in block)]
            body = _prose(inside)
            mark = line[:width]
            found += ["", mark + body[0], *(" " * width + one if one else "" for one in body[1:]), ""]
        else:
            last = i
            while last < len(lines) and lines[last].strip() and not lines[last].startswith(" "):
                if last > i and ITEM.match(lines[last]) and lines[last].startswith("* "):
                    break
                last += 1
            found += inline("\n".join(lines[i:last])).split("\n")
            i = last
    return found


def _block(lines: list[str], start: int, least: int) -> tuple[list[str], int]:
    """The lines from `start` that are indented by `least` or more, blank ones between them too; and where they end."""
    stop = start
    for i in range(start, len(lines)):
        if lines[i].strip():
            if len(lines[i]) - len(lines[i].lstrip()) < least:
                break
            stop = i + 1
    return lines[start:stop], stop


def _dedented(lines: list[str]) -> list[str]:
    least = min(len(line) - len(line.lstrip()) for line in lines if line.strip())
    return [line[least:].rstrip() for line in lines]


def inline(text: str) -> str:
    """A paragraph with code and emphasis marked up, and with everything else meaning itself."""
    parts = MARKUP.split(text)
    for i, part in enumerate(parts):
        if i % 2 == 0:
            parts[i] = re.sub(r"_(?!\w)", r"\\_", re.sub(r"([\\`|*])", r"\\\1", part))
        elif part.startswith("`"):
            name = part.strip("`")
            parts[i] = f"``{name}``" + (r"\ " if re.match(r"\w", (parts[i + 1] or " ")[0]) else "")
    whole = "".join(parts)
    return re.sub(r"(?m)^(?=\.\. |:|>>>)", r"\\", ENUMERATOR.sub(r"\\\1 ", whole) if ENUMERATOR.match(whole) else whole)


def docstring(lines: list[str]) -> list[str]:
    """The lines of a docstring. Prose that stands after the sections comes before the lists."""
    before, sections = _split(lines)
    found, lists = _prose(before), []
    for name, body in sections:
        if name in ENTRIES:
            entries, rest = _entries(body)
            lists += [f":{name}:", *("   " + line if line else "" for line in _list(entries, name)), ""]
            found += ["", *_prose(rest)] if rest else []
        else:
            found += ["", name, "-" * len(name), *(body if name == "Examples" else _prose(_dedented(body)))]
    return [*found, "", *lists]


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
        block, after = _block(body, i + 1, 1)
        entries.append((body[i], _dedented(block) if block else []))
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
        text = _prose([given, *below] if given else below or [""])
        bold = "**" + names.replace("*", r"\*") + "**" if names else ""
        text[0] = f"{bold} \N{EN DASH} {text[0]}" if bold and text[0] else bold + text[0]
        items.append(text)
    if len(items) == 1 and not items[0][0].startswith("**"):
        return items[0]
    return [("* " if n == 0 else "  ") + line if line else "" for item in items for n, line in enumerate([*item, ""])]
