"""What was checked last: the results of the parts of `python -m tests.thorough`, kept in last.json, and the page of them."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.machine import machine
from dynlab import __version__
from tests import ROOT

FILE = Path(__file__).with_name("last.json")
PAGE = ROOT / "dynlab" / "docs" / "checked.md"
MOST = 40  # lines of one part on the page
PASSED, FAILED, SKIPPED, CUT = "passed", "FAILED", "not run", "cut short"


@dataclass(frozen=True)
class Result:
    """One part. outcome: of `PASSED` and its neighbours. counts: in words. lines: what there is to say one by one."""

    outcome: str
    counts: str
    lines: tuple[str, ...] = ()
    seconds: float = 0.0


def keep(part: str, result: Result, command: str) -> dict[str, dict]:
    """Put a part's result, with when and where it was found, in the place of its last one; returns all."""
    found = read()
    here = machine()
    versions = {name: here["versions"][name] for name in ("python", "numpy", "numba", "llvmlite")}
    found[part] = asdict(result) | {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M"), "version": __version__, "processor": here["processor"],
        "cores": here["cores"], "versions": versions, "command": command,
    }  # fmt: skip
    FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def read() -> dict[str, dict]:
    """{part: its last result}."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {}


def page(found: dict[str, dict], parts: dict[str, str]) -> str:
    """The page, in Markdown. parts: {part: what it does}; of those that were never run the page says so."""
    lines = [
        "# What was checked last", "",
        "The tests run at every change. What takes hours is run on demand, by `python -m tests.thorough`, which writes this",
        "page. A part keeps its last result until it is run again; a part that failed says what failed.", "",
        "| part | what it does | when (UTC) | dynlab | result |", "|---|---|---|---|---|",
    ]  # fmt: skip
    for part, what in parts.items():
        one = found.get(part)
        told = f"{one['date']} | {one['version']} | {one['outcome']}: {one['counts']}" if one else "| | never run"
        lines.append(f"| {part} | {what} | {told} |")
    for part in parts:
        if one := found.get(part):
            versions = ", ".join(f"{name} {number}" for name, number in one["versions"].items())
            lines += ["", f"## {part}", "", f"`{one['command']}`: {one['outcome']}, {one['counts']}."]
            lines += [f"{one['processor']}, {one['cores']} cores; {versions}; {one['seconds'] / 60:.0f} min."]
            lines += ["", *shown(one["lines"])] if one["lines"] else []
    return "\n".join(lines) + "\n"


def shown(lines: list[str]) -> list[str]:
    """Lines as items of a list, the first of them where there are many; tables as they are."""
    if lines[0].startswith("|"):
        return [re.sub(r"(?<=\w)\*", r"\*", line) for line in lines]
    rest = [f"* and {len(lines) - MOST} more"] if len(lines) > MOST else []
    return [f"* {line}" for line in lines[:MOST]] + rest
