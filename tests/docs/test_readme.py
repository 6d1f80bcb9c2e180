"""README is a page of one screen or two, every link leads somewhere, and the version stands in one place."""

from __future__ import annotations

import collections
import re
from pathlib import Path

import pytest

import dynlab
import dynlab.figures
from dynlab.__main__ import module_of
from dynlab.command_line.names import COMMANDS
from dynlab.docs import commands, source
from tests import ROOT

PACKAGE = Path(dynlab.__file__).parent
FIGURES = Path(dynlab.figures.__file__).parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = sorted(PACKAGE.glob("docs/*.md"))
LINK = re.compile(r"\]\(([^()\s]+)\)")
OUTSIDE = {"https://arxiv.org/abs/2205.06226"}


def place(link: str) -> Path:
    """The file that a link of README means; dynlab and figures may be installed elsewhere."""
    first, _, rest = link.partition("/")
    return {"dynlab": PACKAGE, "figures": FIGURES}.get(first, ROOT / first) / rest if rest else ROOT / first


def test_readme_is_short():
    assert len(README.splitlines()) <= 180


@pytest.mark.parametrize("link", sorted(set(LINK.findall(README))))
def test_a_link_of_readme_leads_somewhere(link):
    assert link in OUTSIDE or place(link).is_file()


@pytest.fixture(scope="module")
def pages():
    """{name: text} of README and of every page, those that are made too."""
    texts = {path.name: path.read_text(encoding="utf-8") for path in PAGES}
    return {"README.md": README} | texts | {name: make() for name, make in source.MADE.items()}


NAMES = ["README.md", *(path.name for path in PAGES), *source.MADE]


@pytest.mark.parametrize("name", NAMES[1:])
def test_links_of_a_page_lead_somewhere(name, pages):
    for link in LINK.findall(pages[name]):
        target, _, part = link.partition("#")
        text = pages.get(target or name, "")
        assert link in OUTSIDE or text or (target.startswith("figures/") and place(target).is_file()), link
        headings = {re.sub(r"[^\w]+", "-", line.lower()).strip("-") for line in re.findall(r"^#+ (.*)$", text, re.M)}
        assert not part or part in headings, link


@pytest.mark.parametrize("name", NAMES)
def test_what_a_page_names_is_there(name, pages):
    """Files, folders and modules by their paths and dotted names."""
    for path in re.findall(r"(?<![\w/.~-])((?:tests|benchmarks|figures|dynlab)/[\w/]*\w(?:\.\w+)?)", pages[name]):
        assert place(path).exists() or (PACKAGE / "docs" / path).exists(), path
    for dotted in re.findall(r"`(?:python -m )?((?:dynlab|tests|benchmarks|figures)(?:\.\w+)+)", pages[name]):
        parts = dotted.split(".")
        files = [place("/".join(parts[:n])) for n in range(len(parts), 1, -1)]
        known = any(file.is_dir() or file.with_suffix(".py").is_file() for file in files)
        assert known or parts[1] in dynlab.__all__ or parts[1] == "COMMAND", dotted


@pytest.mark.parametrize("name", NAMES)
def test_every_command_of_a_page_exists_and_takes_its_options(name, pages):
    found = re.findall(r"(?:dynlab|python -m dynlab\.)[ ]?(\w+)((?: --[\w-]+(?: [^\s`|-][^\s`|]*)?)*)", pages[name])
    known = [(command, words) for command, words in found if command in COMMANDS]
    assert name != "README.md" or {command for command, _ in known} == set(COMMANDS)
    for command, words in known:
        options = {option for _, parser in commands.parsers(command) for option in parser._option_string_actions}
        assert set(re.findall(r"--[\w-]+", words)) <= options, (command, words)


def test_the_counts_of_the_theorem_are_those_of_its_table():
    """And every line of README's short table has the verdict that the whole one gives the same numbers."""
    whole = (FIGURES / "theorem.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in whole.splitlines() if re.match(r"\| \d", line)]
    count = collections.Counter(row[-1] for row in rows)
    said = re.search(
        r"judges (\d+) statements, .*; (\d+) hold, (\d+) fail .*, (\d+) are out of reach", " ".join(README.split())
    )
    assert [int(number) for number in said.groups()] == [len(rows), count["holds"], count["fails"], count["out of reach"]]
    short = [line.strip("| ").split(" | ") for line in README.splitlines() if re.match(r"\| \d+ \|", line)]
    assert {row[0] for row in short} <= {row[0] for row in rows} and {row[-1] for row in short} <= set(count)
    failing = {row[0] for row in rows if row[-1] == "fails"} & {row[0] for row in short}
    assert any(row[-1] == "fails" for row in short if row[0] in failing)


def test_the_page_of_commands_has_every_option():
    page = commands.page()
    for name in COMMANDS:
        assert f"## dynlab {name}" in page
        for option in module_of(name).parser()._option_string_actions:
            assert not option.startswith("--") or f"{option}" in page, (name, option)


def test_the_version_stands_in_one_place():
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)
    assert cited is not None and cited[1].strip("\"'") == dynlab.__version__
