"""README is a page of one screen or two, every link leads somewhere, and the version stands in one place."""

from __future__ import annotations

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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_of_a_page_lead_somewhere(page):
    made = {*source.MADE, *(one.name for one in PAGES), *(one.name for one in PACKAGE.glob("docs/*.rst"))}
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        target = link.partition("#")[0]
        assert link in OUTSIDE or target in made or (target.startswith("figures/") and place(target).is_file()), link


def test_every_command_of_readme_exists_and_takes_its_options():
    found = re.findall(r"`?(?:dynlab|python -m dynlab\.)[ ]?(\w+)((?: --[\w-]+(?: [^\s`|-][^\s`|]*)?)*)", README)
    known = [(name, words) for name, words in found if name in COMMANDS]
    assert {name for name, _ in known} == set(COMMANDS)
    for name, words in known:
        options = {option for _, parser in commands.parsers(name) for option in parser._option_string_actions}
        assert set(re.findall(r"--[\w-]+", words)) <= options, (name, words)


def test_the_page_of_commands_has_every_option():
    page = commands.page()
    for name in COMMANDS:
        assert f"## dynlab {name}" in page
        for option in module_of(name).parser()._option_string_actions:
            assert not option.startswith("--") or f"{option}" in page, (name, option)


def test_the_version_stands_in_one_place():
    cited = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.M)
    assert cited is not None and cited[1].strip("\"'") == dynlab.__version__
