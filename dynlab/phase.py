"""Phase diagrams: any two settings as axes, any measure of an ensemble, with and without the head.

    python -m dynlab.phase --x weak=0.05:1:64 --y eta-head=1e-4:1:64:log --seeds 64

writes the map as a figure and as a table. Stopped in any way, the same command goes on where it was.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynlab.command_line.executors import add_dask, check_dask, executor
from dynlab.command_line.options import add_device, add_parquet, announce
from dynlab.command_line.parser import Parser, number_of, run_command
from dynlab.maps.axes import FORM, SETTINGS, parse_axis
from dynlab.settings.model import Model
from dynlab.settings.training import ETA_HEAD
from dynlab.tools.checks import integer, real, require, threads
from dynlab.tools.files import expanded
from dynlab.tools.parquet import check_parquet
from dynlab.tools.provenance import Call

if TYPE_CHECKING:
    from dynlab.maps.phase_map import PhaseMap, Settings

PROGRAM = "dynlab.phase"
FIXED = (*SETTINGS, "activation", "mask", "readout")


def phase_map(
    model: Model, x: str, y: str, folder: str | Path | None = None, *, dim: int = 1000, eta_head: float = ETA_HEAD,
    until: float | None = None, seeds: int = 64, seed: int = 0, measure: str = "both", rtol: float = 1e-6,
    **computing: Any,
) -> PhaseMap:  # fmt: skip
    """Map a measure of ensembles over two settings, with and without the prediction head.

    Parameters
    ----------
    model : Model
        What is the same at every point; the settings that are axes take their values from those.
    x, y : str
        The axes as the command has them, NAME=LOW:HIGH:COUNT or NAME=LOW:HIGH:COUNT:log ("weak=0.05:1:64"); NAME of
        `dynlab.maps.axes.SETTINGS`. `dim`, `eta_head` and `until` can be axes; what is given for them then does not count.
    folder : path, optional
        Where finished points are kept: the same call, stopped in any way, goes on there, and another map of the same
        settings takes them from there. None: they are kept nowhere.
    dim, until : int, float
        Dimension of a patch; time of training (None: until nothing moves).
    eta_head : float
        Learning rate of the head in units of the encoder's.
    seeds, seed : int
        Random starts a point, and the seed that they are drawn from.
    measure : str
        What to map: "both", "merged", "rank", "peak", "time", ... (a wrong one lists them).
    rtol : float
        Relative accuracy of the flow.
    **computing
        level, refine, executor, threads, progress, device of `dynlab.maps.phase_map.phase_map`.

    Returns
    -------
    PhaseMap : `.frame`, `.field(head)`, `.plot()`, `.to_xarray()`.

    Raises SettingError for values that are not allowed.
    """
    from tempfile import TemporaryDirectory

    from dynlab.maps import phase_map as maps
    from dynlab.maps.grid import MODEL_SETTINGS, Grid
    from dynlab.maps.measures import Measure

    axes = parse_axis("x", x), parse_axis("y", y)
    names = [axis.name for axis in axes]
    given = {name: getattr(model, name) for name in MODEL_SETTINGS}
    require(Model(**given) == model, "model", model, "of two features, alike in frequency, without correlation or bias")
    if "hidden" in names and not model.layered:
        del given["readout"]  # that of one unit, which more of them do not have
    given |= {"dim": dim, "eta_head": eta_head} | ({} if until is None else {"until": until})
    grid = Grid(*axes, {name: value for name, value in given.items() if name not in names}, seed, rtol)
    if folder is not None:
        maps.check_folder(expanded(folder))
        return maps.phase_map(grid, folder, seeds=seeds, measure=Measure.named(measure), **computing)
    with TemporaryDirectory(prefix="dynlab-map-") as place:
        return maps.phase_map(grid, place, seeds=seeds, measure=Measure.named(measure), **computing)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    call = parser().call(argv)
    return run_command(call, lambda: run(check(call.arguments), call))


def run(settings: Settings, call: Call) -> None:
    """Compute what is missing, write, print."""
    from dynlab.maps.phase_map import check_folder, phase_map
    from dynlab.reports.phase_map import print_report, write_files
    from dynlab.tools.progress import progress

    check_folder(settings.out)
    announce(settings.device, settings.quiet)
    with executor(settings.dask) as pool, progress(0, "trajectories", settings.quiet) as show:
        found = phase_map(
            settings.grid,
            settings.out,
            seeds=settings.seeds,
            measure=settings.measure,
            level=settings.level,
            refine=settings.refine,
            executor=pool,
            threads=settings.threads,
            progress=show,
            device=settings.device,
        )
    write_files(settings, found, call)
    print_report(settings, found)


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    from dynlab.maps.grid import Grid
    from dynlab.maps.measures import Measure
    from dynlab.maps.phase_map import MOST_SEEDS, Settings

    require(arguments.out != "", "out", "", "the name of a folder")
    check_parquet(arguments.parquet)
    x, y = (parse_axis(option, getattr(arguments, option)) for option in ("x", "y"))
    require(x.name != y.name, "y", arguments.y, "another setting than that of --x")
    fixed = {name: number_of(getattr(arguments, name)) for name in FIXED if getattr(arguments, name) is not None}
    for axis in (x, y):
        require(axis.name not in fixed, axis.name, fixed.get(axis.name), "left out: it is an axis")
    seed = integer("seed", number_of(arguments.seed), at_least=0, at_most=2**63 - 1)
    grid = Grid(x, y, fixed, seed, real("rtol", number_of(arguments.rtol), at_least=1e-12, at_most=1e-2))
    device = grid.device(arguments.device)
    check_dask(arguments.dask, device)
    measure = Measure.named(arguments.measure)
    level = measure.level if arguments.level is None else real("level", number_of(arguments.level))
    lacks = "given with --refine for this measure"
    require(not arguments.refine or level is not None, "level", "", lacks)
    return Settings(
        grid=grid,
        seeds=integer("seeds", number_of(arguments.seeds), at_least=1, at_most=MOST_SEEDS),
        measure=measure,
        level=level,
        refine=arguments.refine,
        threads=threads(number_of(arguments.threads)),
        dask=arguments.dask,
        device=device,
        out=expanded(arguments.out) if arguments.out is not None else Path("runs") / f"phase-{x.name}-{y.name}",
        plots=not arguments.no_plots,
        quiet=arguments.quiet,
        parquet=arguments.parquet,
    )


def parser() -> Parser:
    """The options. Values stay words here: `check` turns them into numbers and says what is allowed."""
    p = Parser(
        prog=PROGRAM,
        description="Map a measure of ensembles over two settings, with and without the prediction head. "
        "Stopped in any way, the same command goes on where it was.",
        epilog="example: dynlab phase --x weak=0.05:1:64 --y eta-head=1e-4:1:64:log --seeds 64",
    )

    axes = ", ".join(name.replace("_", "-") for name in SETTINGS)
    p.option("--x", f"horizontal axis, {FORM}; NAME of {axes}", metavar="AXIS", required=True)
    p.option("--y", "vertical axis, likewise", metavar="AXIS", required=True)
    p.option("--seeds", "random starts a point", "64")
    p.option("--measure", "what to map: both, merged, rank, peak, time, ... (a wrong one lists them)", "both", "NAME")
    p.option("--level", "value at the boundary (default: 0.5 for shares, 1.5 for rank)", metavar="VALUE")
    p.add_argument("--refine", action="store_true", help="spend seeds near the boundary first: fewer elsewhere")
    p.option("--seed", "seed of the random starts", "0")
    for name, standard in (("strong", "1"), ("weak", "0.3"), ("noise", "0.5"), ("eta-head", f"{ETA_HEAD:g}")):
        p.option(f"--{name}", f"as an axis, where it is none (default {standard})", metavar="VALUE")
    for name, standard in (("patches", "16"), ("feature-patches", "4"), ("neurons", "2"), ("dim", "1000")):
        p.option(f"--{name}", f"likewise (default {standard})")
    p.option("--hidden", "hidden units of a neuron, as an axis, where it is none (relu and linear; default 1)")
    p.option("--readout", "of hidden units: own, shared or fixed (default: fixed for one unit, else own)", metavar="RULE")
    p.option("--until", "time of training, steps x learning rate (default: until nothing moves)", metavar="TIME")
    p.option("--activation", "relu, cubic, relu3 or linear (default cubic)", metavar="NAME")
    p.option("--mask", "how the views share the patches: half or independent (default half)", metavar="LAW")
    p.option("--rtol", "relative accuracy of the flow", "1e-6", "TOL")
    p.option("--threads", "threads to compute with (default: all cores)")
    add_device(p)
    add_dask(p)
    p.option("--out", "folder for results and finished points (default runs/phase-X-Y)", metavar="DIR")
    p.add_argument("--no-plots", action="store_true", help="write no figure")
    add_parquet(p)
    p.add_argument("--quiet", action="store_true", help="print nothing but errors and damage")
    return p


if __name__ == "__main__":
    sys.exit(main())
