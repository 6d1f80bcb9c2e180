"""The command `dynlab`, whose subcommands are the modules: `dynlab run` is `python -m dynlab.run`.

dynlab                 lists them
dynlab run --help      the options of one
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from dynlab.command_line.names import COMMANDS


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand; return its exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] == "--version":
        import dynlab

        print(f"dynlab {dynlab.__version__}")
        return 0
    if words[0] not in COMMANDS:
        from dynlab.tools.checks import nearest

        names = ", ".join(COMMANDS)
        print(f"dynlab: error: {words[0]!r}: must be one of {names}{nearest(words[0], COMMANDS)}", file=sys.stderr)
        return 2
    return module_of(words[0]).main(words[1:])


def module_of(name: str) -> ModuleType:
    """The module of a subcommand; where dynlab is not installed the figures stand beside it, as in the source."""
    module = COMMANDS[name][0]
    if name == "figures" and find_spec("dynlab.figures") is None:
        module = module.removeprefix("dynlab.")
    return import_module(module)


def overview() -> str:
    """What `dynlab` alone prints."""
    lines = [f"  {name:<10} {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        ["usage: dynlab COMMAND [--option ...]", "", "Why non-contrastive self-supervised learning does not collapse.", "",
         *lines, "", "dynlab COMMAND --help shows its options, python -m dynlab.COMMAND is the same command.",
         "example: dynlab run --strong 1.0 --weak 0.3"]
    )  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
