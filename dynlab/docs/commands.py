"""The page of the commands, made from their parsers: what each does, its options, their defaults, an example."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator

from dynlab.__main__ import module_of
from dynlab.command_line.names import COMMANDS

OPENING = """# Commands

`dynlab COMMAND` and `python -m dynlab.COMMAND` are the same. `dynlab` alone lists the commands, `--help` shows what stands
here.

"""
SHARED = "options from elsewhere"


def page() -> str:
    """The page as Markdown: a table of the commands, then a section for each."""
    lines = [OPENING, "| command | what it does |", "|---|---|"]
    lines += [f"| [`dynlab {name}`](#dynlab-{name}) | {what} |" for name, (_, what) in COMMANDS.items()]
    for name, (_, what) in COMMANDS.items():
        lines += ["", *section(name, what)]
    return "\n".join(lines) + "\n"


def section(name: str, what: str) -> Iterator[str]:
    """The lines of one command."""
    yield f"(dynlab-{name})="
    yield f"## dynlab {name}"
    yield ""
    yield f"{what[0].upper()}{what[1:]}."
    for kind, parser in parsers(name):
        yield ""
        if kind:
            yield f"### With `{kind}`"
            yield ""
        if parser.description:
            yield escaped(parser.description)
            yield ""
        yield f"```sh\n{parser.format_usage().removeprefix('usage: ').strip()}\n```"
        yield ""
        yield from options(parser)
        if parser.epilog:
            yield ""
            yield example(parser.epilog)


def parsers(name: str) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """The parsers of a command, each with the option that chooses it where there are several."""
    module = module_of(name)
    yield "", module.parser()
    if name == "run":  # minibatches take options of their own
        yield "--method sgd", module.sampled_parser()


def options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """A table of the options; those that every command takes stand last."""
    yield "| option | what it is |"
    yield "|---|---|"
    groups = sorted(parser._action_groups, key=lambda group: group.title == SHARED)
    for group in groups:
        for action in group._group_actions:
            if action.help == argparse.SUPPRESS or action.dest == "help":
                continue
            words = ", ".join(action.option_strings) or str(action.metavar or action.dest)
            if action.option_strings and action.nargs != 0:
                words += f" {action.metavar or action.dest.upper()}"
            # What a description of an option holds for argparse's own formatting is filled in as --help does.
            told = parser._get_formatter()._expand_help(action) if action.help else ""
            yield f"| `{words}` | {escaped(told)} |"


def escaped(text: str) -> str:
    """Words that are no Markdown, with what Markdown would read as markup, or a table as a border, escaped."""
    return re.sub(r"([*_|<>\[\]`\\])", r"\\\1", " ".join(text.split()))


def example(epilog: str) -> str:
    """The example of a command as a block."""
    words, _, command = epilog.partition(":")
    return f"{words.strip().capitalize()}:\n\n```sh\n{command.strip()}\n```" if command else escaped(epilog)
