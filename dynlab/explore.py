"""A page on this machine on which the theory is moved by hand: sliders, and what follows from them at once.

    python -m dynlab.explore
    python -m dynlab.explore --export explore.html

serves the page on the loopback interface and opens it in a browser, or writes it, with a grid of trajectories in place of
the solver, as one file. From Python, in a notebook inline: `dynlab.explore(model)`. Needs the extra `explore` (bokeh).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynlab.command_line.parser import Parser, number_of, run_command
from dynlab.explorer.explored import NAMES, Explored, explored
from dynlab.tools.callable_module import make_callable
from dynlab.tools.checks import integer
from dynlab.tools.files import expanded
from dynlab.tools.provenance import Call

if TYPE_CHECKING:
    from dynlab.explorer.loopback import Explorer
    from dynlab.settings.model import Model
    from dynlab.settings.training import Training

PROGRAM = "dynlab.explore"
MISSING = "the page is drawn by bokeh, which is not installed: python -m pip install 'dynlab-ssl[explore]'"
PORT = 5006  # bokeh's own


@dataclass(frozen=True)
class Settings:
    """The settings of the command, checked."""

    chosen: Explored
    port: int
    export: Path | None
    browser: bool
    quiet: bool


def explore(model: Model | None = None, training: Training | None = None, *, port: int = 0, **settings: Any) -> Explorer:
    """Serve the page in the background, for this machine alone; a notebook shows it inline.

    Parameters
    ----------
    model : Model, optional
        Where the sliders stand at first (None: the default model).
    training : Training, optional
        Likewise; None: the paper's.
    port : int
        Of 127.0.0.1; 0 for any that is free.
    **settings
        dim, seed, or any other setting of the page by its name ("weak", "eta_head", ...).

    Returns
    -------
    Explorer : its `.url` opens in any browser on this machine; `.stop()` ends it.

    Raises SettingError for what the page has no control for, ImportError where bokeh is not installed.
    """
    chosen = explored(model, training, **settings)
    port = integer("port", port, at_least=0, at_most=65535)
    _require_bokeh()
    from dynlab.explorer.loopback import Explorer

    return Explorer(chosen, port)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    call = parser().call(argv)
    return run_command(call, lambda: run(check(call.arguments), call))


def run(settings: Settings, call: Call) -> None:
    """Write the page, or serve it until it is interrupted."""
    if settings.export is None:
        _in_one_line(_require_bokeh)
        serve(settings)
    else:
        size = write(settings.export, settings.chosen, settings.quiet)
        if not settings.quiet:
            print(f"{settings.export}: {size / 1e6:.1f} MB, opens without a network", flush=True)


def write(place: Path, chosen: Explored | None = None, quiet: bool = False) -> int:
    """Write the page with a grid of trajectories around `chosen` to the file `place`; returns its size in bytes.

    Raises OSError, of one line, where bokeh is not installed. quiet: whether no progress is shown.
    """
    _in_one_line(_require_bokeh)
    from dynlab.explorer.static_page import write_page
    from dynlab.tools.progress import progress

    with progress(0, "trajectories", quiet) as show:
        return write_page(place, chosen or Explored(), show)


def _in_one_line(work: Callable[[], None]) -> None:
    try:
        work()
    except ImportError as error:
        raise OSError(str(error)) from None


def serve(settings: Settings) -> None:
    """Serve the page; Ctrl-C ends it."""
    import webbrowser

    from dynlab.explorer.loopback import server

    made = server(settings.chosen, settings.port)
    made.start()
    url = f"http://127.0.0.1:{made.port}/"
    if not settings.quiet:
        print(f"{url} (for this machine alone; Ctrl-C ends it)", flush=True)
    if settings.browser:
        made.io_loop.add_callback(webbrowser.open, url)
    try:
        made.io_loop.start()
    except KeyboardInterrupt:  # how a page is ended, no failure
        pass
    finally:
        made.stop()


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    given = {name: number_of(getattr(arguments, name)) for name in NAMES}
    return Settings(
        chosen=Explored(**given),
        port=integer("port", number_of(arguments.port), at_least=0, at_most=65535),
        export=None if arguments.export is None else expanded(arguments.export),
        browser=not arguments.no_browser,
        quiet=arguments.quiet,
    )


def parser() -> Parser:
    """The options. Values stay words here: `check` turns them into settings and says what is allowed."""
    p = Parser(
        prog=PROGRAM,
        description="Serve a page on this machine with sliders for the model and its training: signals, head and loss in "
        "time, the portrait of a neuron, the force split into its terms, and what 256 starts learn.",
        epilog="example: dynlab explore --weak 0.5",
    )
    plain = {field.name: field.default for field in fields(Explored)}
    what = {
        "strong": "strength of the strong feature", "weak": "strength of the weak feature", "noise": "noise of a patch",
        "patches": "patches of a sample", "activation": "relu, cubic, relu3 or linear", "hidden": "hidden units of a neuron",
        "dim": "dimension of a patch", "head": "rule of the head", "eta_head": "learning rate of the head",
        "stop_gradient": "side without gradient", "normalisation": "of the outputs", "seed": "seed of the random start",
    }  # fmt: skip
    for name in NAMES:
        p.option(f"--{name.replace('_', '-')}", f"where the page starts: {what[name]}", f"{plain[name]}", "VALUE")
    p.option("--port", "of 127.0.0.1; 0 for any that is free", str(PORT))
    p.option("--export", "write the page with a grid of trajectories as one file, and serve nothing", metavar="FILE")
    p.add_argument("--no-browser", action="store_true", help="open no browser")
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return p


def _require_bokeh() -> None:
    try:
        import bokeh.server.server  # noqa: F401
    except ImportError as error:
        raise ImportError(f"{MISSING} ({error})") from None


make_callable(__name__, explore)

if __name__ == "__main__":
    sys.exit(main())
