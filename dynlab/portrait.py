"""Phase portraits: flow field, nullclines, fixed points, basins of attraction and trajectories on any two coordinates.

    python -m dynlab.portrait --x w21 --y w22 --hold E21=0.05
    python -m dynlab.portrait --x E21=0:1 --y w22=-0.5:0.5 --hold w21=0.3

Coordinates are named in `dynlab.planes.plane`: w_jl signals, E_jr head entries, s_j noise parts. The others are held, or
slaved; basins and trajectories are those of the whole exact system, which starts on the plane and leaves it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from dynlab.command_line.options import add_probabilities, model_arguments
from dynlab.command_line.parser import Parser, number_of, run_command
from dynlab.settings.model import Model
from dynlab.settings.training import ETA_HEAD, LATEST
from dynlab.tools.callable_module import make_callable
from dynlab.tools.checks import SettingError, choice, integer, real, require
from dynlab.tools.checks import threads as number_of_threads
from dynlab.tools.files import run_folder
from dynlab.tools.provenance import Call

if TYPE_CHECKING:
    from dynlab.planes.portrait import Portrait, Settings

PROGRAM = "dynlab.portrait"
RULES = ("off-diagonal", "none")
MOST_CELLS, MOST_PATHS = 400, 1000  # along an axis; trajectories


def portrait(
    model: Model, x: str = "w21", y: str = "w22", hold: Mapping[str, float] | None = None, slave: Sequence[str] = (), *,
    eta_head: float = ETA_HEAD, points: int = 60, trajectories: int = 16, until: float = 1e9, rtol: float = 1e-6,
    threads: int | None = None, progress: Callable[[int, int], None] | None = None,
) -> Portrait:  # fmt: skip
    """Find field, nullclines, fixed points, basins and trajectories on two coordinates of the exact system.

    Parameters
    ----------
    model : Model
        Of two neurons and two features.
    x, y : str
        The coordinates, NAME or NAME=LOW:HIGH ("w21", "E21=0:1"): w_jl signals, E_jr head entries, s_j noise parts.
    hold : mapping, optional
        Values of other coordinates, or of the lengths w1 and w2; what is left out is as `dynlab.planes.plane.STANDARD`.
    slave : names, optional
        Head entries that are at the zero of their own equation, of "E12", "E21".
    eta_head : float
        Learning rate of the head in units of the encoder's; 0 for a head that rests.
    points, trajectories : int
        Cells along each axis, and how many trajectories are followed, about.
    until, rtol : float
        Time after which what still moves is stopped, and the relative accuracy of the flow.
    threads, progress :
        As in `dynlab.ensemble`; progress is called with trajectories done and to do.

    Returns
    -------
    Portrait : tables `field`, `nullclines`, `fixed_points`, `paths`, and `.plot()`.

    Raises SettingError for values that are not allowed.
    """
    from dynlab.planes.plane import Plane, parse_side
    from dynlab.planes.portrait import compute_portrait

    rate = real("eta_head", eta_head, at_least=0.0)
    slaved = dict.fromkeys([slave] if isinstance(slave, str) else slave)
    return compute_portrait(
        Plane(model, rate, parse_side("x", x), parse_side("y", y), hold, slaved),
        integer("points", points, at_least=2, at_most=MOST_CELLS),
        integer("trajectories", trajectories, at_least=0, at_most=MOST_PATHS),
        until=real("until", until, above=0.0, at_most=LATEST),
        rtol=real("rtol", rtol, at_least=1e-12, at_most=1e-2),
        threads=number_of_threads(threads),
        progress=progress,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    call = parser().call(argv)
    return run_command(call, lambda: run(check(call.arguments), call))


def run(settings: Settings, call: Call) -> None:
    """Claim the run folder, compute, write it, then report."""
    from dynlab.planes.portrait import compute_portrait
    from dynlab.reports.portrait import print_report, write_files
    from dynlab.tools.progress import progress

    with run_folder(settings.place, numbered=settings.out is None) as folder:
        with progress(0, "trajectories", settings.quiet) as show:
            found = compute_portrait(
                settings.plane, settings.points, settings.trajectories,
                until=settings.until, rtol=settings.rtol, threads=settings.threads, progress=show,
            )  # fmt: skip
        write_files(folder.partial, settings, found, call)
    if not settings.quiet:
        print_report(found, folder.place)


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    from dynlab.planes.plane import Plane, parse_side

    given = {name: number_of(text) for name, text in vars(arguments).items() if name not in ("hold", "slave", "x", "y")}
    require(arguments.out != "", "out", "", "the name of a folder")
    model = Model(activation=given["activation"], hidden=given["hidden"], **model_arguments(given))
    head = choice("head", given["head"], RULES)
    rate = real("eta_head", given["eta_head"], at_least=0.0)
    x, y = (parse_side(option, getattr(arguments, option)) for option in ("x", "y"))
    slaved = [name for word in arguments.slave or () for name in word.split(",")]
    from dynlab.planes.portrait import Settings  # here: --help and bad words do without the solver

    return Settings(
        plane=Plane(model, rate if head != "none" else 0.0, x, y, parse_held(arguments.hold or ()), dict.fromkeys(slaved)),
        head=head,
        eta_head=rate,
        points=integer("points", given["points"], at_least=2, at_most=MOST_CELLS),
        trajectories=integer("trajectories", given["trajectories"], at_least=0, at_most=MOST_PATHS),
        until=real("until", given["until"], above=0.0, at_most=LATEST),
        rtol=real("rtol", given["rtol"], at_least=1e-12, at_most=1e-2),
        threads=number_of_threads(given["threads"]),
        out=arguments.out,
        plots=not arguments.no_plots,
        quiet=arguments.quiet,
    )


def parse_held(words: Sequence[str]) -> dict:
    """Coordinates held: {name: number} from words NAME=VALUE, several with commas or repeated."""
    held = {}
    for word in (part for given in words for part in given.split(",")):
        name, equals, text = word.partition("=")
        value = number_of(text)
        require(bool(equals) and name not in held, "hold", word, "NAME=VALUE, each name once")
        if isinstance(value, str):
            raise SettingError("hold", word, "NAME=VALUE with a number")
        held[name] = real("hold", value)
    return held


def parser() -> Parser:
    """The options. Values stay words here: `check` turns them into numbers and says what is allowed."""
    p = Parser(
        prog=PROGRAM,
        description="Draw a phase portrait of the exact system on two of its coordinates: flow field, nullclines, fixed "
        "points with their stability, basins of attraction by end state, trajectories.",
        epilog="coordinates: w11 w12 w21 w22 (w_jl = <w_j, v_l>), E12 E21 (what output j borrows from neuron r), s1 s2 "
        "(noise parts). example: dynlab portrait --x E21=0:1 --y w22 --hold w21=0.3",
    )

    hold = "value of another coordinate, NAME=VALUE; several with commas or repeated (default w11=0.99, w12=0.01, "
    hold += "w21=0.1, "
    hold += "w22=0.03, E12=0, E21=0, w1=1, w2=1: the lengths |w_j|, noise being what is left; or s1, s2)"
    p.option("--x", "horizontal axis, NAME or NAME=LOW:HIGH (-1:1)", "w21", "AXIS")
    p.option("--y", "vertical axis, likewise", "w22", "AXIS")
    p.option("--hold", hold, metavar="NAME=VALUE", action="append")
    slave = "head entries, E12 or E21, that are at the zero of their own equation"
    p.option("--slave", slave, metavar="NAME", action="append")
    p.option("--points", "cells of the field and of the basins along each axis", "60")
    p.option("--trajectories", "sample trajectories, about", "16")
    p.option("--head", f"of {', '.join(RULES)}; none: the head rests where it is", "off-diagonal", "RULE")
    p.option("--eta-head", "learning rate of the head in units of that of the weights", f"{ETA_HEAD:g}", "RATE")
    p.option("--until", "time after which a trajectory that still moves is stopped", "1e9", "TIME")
    p.option("--activation", "relu, cubic, relu3 or linear", "cubic", "NAME")
    for name, standard in (("strong", "1.0"), ("weak", "0.3"), ("noise", "0.5")):
        p.option(f"--{name}", "as in dynlab.run", standard, "VALUE")
    for name, standard in (("patches", "16"), ("feature-patches", "4")):
        p.option(f"--{name}", "likewise", standard)
    add_probabilities(p)
    p.option("--mask", "how the views share the patches: half or independent", "half", "LAW")
    p.option("--hidden", "hidden units of a neuron: 1 alone has a portrait", "1")
    p.option("--rtol", "relative accuracy of the flow", "1e-6", "TOL")
    p.option("--threads", "threads to compute with (default: all cores)")
    p.option("--out", "run folder to create (default: a new one, runs/portrait-X-Y)", metavar="DIR")
    p.add_argument("--no-plots", action="store_true", help="write no figure")
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return p


make_callable(__name__, portrait)

if __name__ == "__main__":
    sys.exit(main())
