"""All methods under one budget: `python -m dynlab.methods`.

The small recipe of every method (`dynlab recipes`) is pretrained from several seeds, and the frozen features of each run are
measured, beside those of the networks before training. With --dataset speech the same methods hear recordings, with the
budget of the recipe speech-small, and are judged by speaker verification (`dynlab.sounds.speech_comparison`). A run is a
folder of `dynlab.pretrain` with an evaluate.json in it; what is there already is not made again, and a run that was stopped
goes on from its checkpoint, so the same command continues a comparison that was stopped in any way, on one process, on
several, or on a Dask cluster. Every method's gate is checked (`dynlab.images.comparison.all_methods`): the exit status is 1
where one fails, or where a run diverged.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from dynlab.command_line.executors import add_dask, check_sharing, executor, processes
from dynlab.command_line.parser import Parser, number_of, run_and_tell
from dynlab.command_line.pictures import (
    HELP_OF_SPEECH,
    add_computing,
    add_files,
    check_folders,
    pictures_to_compare_on,
    speech_to_hear,
)
from dynlab.images.settings import SOUND_SETTINGS, SPEECH
from dynlab.machine import device
from dynlab.tools.checks import available_threads, integer, require, threads
from dynlab.tools.files import expanded
from dynlab.tools.provenance import Call

if TYPE_CHECKING:
    from dynlab.images.comparison.all_methods import Settings

PROGRAM = "dynlab.methods"
MOST_SEEDS = 1000
CHANGED = ("dataset", "limit", "encoder", "batch", "epochs", "steps", "lr", "schedule", "side")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 1 also where a run diverged or a gate fails."""
    call = parser().call(argv)
    return run_and_tell(call, lambda: run(check(call.arguments), call))


def run(settings: Settings, call: Call) -> list[str]:
    """Make the runs that are missing, measure them, write tables and figure, print; a line for what is wrong with each."""
    from dynlab.images.comparison import all_methods, measured_runs, tables
    from dynlab.tools.files import json_text, write_csv, write_whole
    from dynlab.tools.provenance import provenance

    base = all_methods.method_settings(settings, settings.recipes[0], 0)
    data: tuple = speech_to_hear(settings, base) if base.dataset == SPEECH else pictures_to_compare_on(settings, base)

    def told(made: measured_runs.Made) -> None:
        if made.line and not settings.quiet:
            print(made.line, flush=True)

    chosen = list(all_methods.method_entries(settings))
    with executor(settings.dask) as cluster, processes(1 if cluster is not None else settings.processes) as pool:
        made = measured_runs.make_all(all_methods.conditions_of(settings), chosen, data, cluster or pool, told)
    runs = tables.frame([row for one in made.values() for row in one.rows])
    table, seen = all_methods.table(runs), all_methods.verdicts(settings, made)
    judged = all_methods.gates(settings, table, seen)
    write_csv(settings.out / "runs.csv", runs.merge(seen, how="left", on=["method", "seed"]))
    write_csv(settings.out / "methods.csv", table)
    facts = {"kind": "methods", **call.record(), "seeds": settings.seeds}
    facts["recipes"] = {one.name: all_methods.method_settings(settings, one, 0).plain() for one in settings.recipes}
    facts["gates"] = [{"method": one.method, "passed": one.passed, "words": one.words} for one in judged]
    diverged = [one.diverged for one in made.values() if one.diverged]
    facts["diverged"] = diverged
    write_whole(settings.out / "methods.json", json_text(facts | provenance(call.started)))
    if settings.plots:
        from dynlab.drawing import method_comparison

        method_comparison.write(settings.out, runs, base.plain())
    if not settings.quiet:
        print("\n".join(all_methods.text(settings, table, judged, time.perf_counter() - call.started)), flush=True)
    return diverged + [f"gate of {one.method}: {one.words}" for one in judged if not one.passed]


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    from dynlab.images.comparison.all_methods import Settings, method_settings, recipes_of, small_names

    given = {name: number_of(value) for name, value in vars(arguments).items()}
    words = small_names() if arguments.methods is None else [word.strip() for word in arguments.methods.split(",")]
    recipes = recipes_of(words)
    other = None
    if SPEECH in (given["dataset"], *(one.settings.get("dataset") for one in recipes)):
        from dynlab.sounds.speech_comparison import ON_SPEECH, recipe_on_speech

        other, recipes = ON_SPEECH, tuple(recipe_on_speech(one) for one in recipes)
    changed = {name: given[name] for name in (*CHANGED, *SOUND_SETTINGS) if given[name] is not None}
    seed = integer("seed", given["seed"], at_least=0)
    seeds = integer("seeds", given["seeds"], at_least=1, at_most=MOST_SEEDS)
    check_folders(arguments, "out", "data")
    where = device.chosen(arguments.device)
    count = check_sharing(given["processes"], arguments.dask, where)
    asked = given["threads"] if given["threads"] is not None else max(1, available_threads() // count)
    out = expanded(arguments.out or "runs/methods")
    found = Settings(
        recipes, changed, seed, seeds, expanded(arguments.data), out, arguments.download, not arguments.no_verify,
        where, threads(asked), count, arguments.dask, not arguments.no_plots, arguments.quiet, other,
    )  # fmt: skip
    made = [method_settings(found, recipe, 0) for recipe in recipes]
    for name in ("dataset", "encoder", "side", *SOUND_SETTINGS):
        values = sorted({str(getattr(one, name)) for one in made})
        require(len(values) == 1, "methods", ",".join(words), f"recipes of one {name}, not of {' and '.join(values)}")
    require(made[0].dataset != "stl10", "dataset", made[0].dataset, "one whose training pictures have labels")
    return replace(found, changed=_other(found, changed))


def _other(settings: Settings, changed: dict) -> dict:
    """What of `changed` makes any run another than its recipe's."""
    from dynlab.images.comparison.all_methods import method_settings

    plain = [method_settings(replace(settings, changed={}), one, 0) for one in settings.recipes]
    return {name: value for name, value in changed.items() if any(getattr(one, name) != value for one in plain)}


def parser() -> Parser:
    """The options. Values stay words here: `check` turns them into numbers and says what is allowed."""
    p = Parser(
        prog=PROGRAM,
        description="Pretrain by every method under one budget and measure what the features are worth. "
        "Stopped in any way, the same command goes on where it was.",
        epilog="example: dynlab methods --data data --processes 2   (an hour on two cores)",
    )
    p.option("--data", "folder with the pictures' files", "data", "DIR")
    what = "recipes, with commas: names that `dynlab recipes` lists, with or without small-, or TOML files"
    p.option("--methods", f"{what} (default: all that are small)", metavar="NAME,NAME")
    p.option("--seeds", "runs of each", "3")
    p.option("--seed", "the first of them", "0")
    for name, about in (("dataset", "pictures"), ("encoder", "network"), ("schedule", "of the learning rate")):
        p.option(f"--{name}", f"{about}, instead of the recipes'", metavar="NAME")
    for name in ("limit", "batch", "epochs", "steps", "lr", "side"):
        p.option(f"--{name}", "instead of the recipes'")
    for name in SOUND_SETTINGS:
        words, metavar = HELP_OF_SPEECH[name]
        p.option(f"--{name.replace('_', '-')}", words, metavar=metavar)
    p.option("--processes", "processes of this machine that the runs are shared among", "1")
    add_dask(p)
    p.option("--out", "folder of the runs (default runs/methods)", metavar="DIR")
    add_files(p)
    add_computing(p)
    p.add_argument("--no-plots", action="store_true", help="write no figure")
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return p


if __name__ == "__main__":
    sys.exit(main())
