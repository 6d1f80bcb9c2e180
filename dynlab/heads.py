"""All heads under one budget: `python -m dynlab.heads`.

Every head and normalisation is pretrained from several seeds with the settings of one recipe; the frozen features of each
run are measured, beside those of the networks before training. DirectPred and DirectCopy have the moving-average target that
they were published with (`PUBLISHED`); what stands after a colon is where the head starts, or which target it has. A run
that diverges is told and left out of the tables, and the others go on. A run is a folder of `dynlab.pretrain` with an
evaluate.json in it; those that are there already are not made again, so the same command continues a comparison that
was stopped.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dynlab.command_line.executors import add_dask, check_dask, executor
from dynlab.command_line.parser import Parser, number_of, run_and_tell
from dynlab.command_line.pictures import add_computing, add_files, check_folders, pictures_to_compare_on
from dynlab.images.comparison.runs import (
    DEFAULT,
    ENTRIES,
    SHORT,
    Settings,
    all_measured,
    curves_of,
    metrics_of,
)
from dynlab.images.settings import PATCH_SETTINGS, PICTURE_NORMALISATIONS, RECIPES, SPEECH, pretraining, recipe_of
from dynlab.machine import device
from dynlab.tools.checks import choice, integer, require, threads
from dynlab.tools.files import expanded
from dynlab.tools.provenance import Call

PROGRAM = "dynlab.heads"
MOST_SEEDS = 1000


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 1 also where a run diverged."""
    call = parser().call(argv)
    return run_and_tell(call, lambda: run(check(call.arguments), call))


def run(settings: Settings, call: Call) -> list[str]:
    """Make the runs that are missing, measure them, write table and figures, print; a line for each that diverged."""
    from dynlab.images.comparison import tables
    from dynlab.tools.files import json_text, write_csv, write_whole
    from dynlab.tools.provenance import provenance

    with executor(settings.dask) as pool:
        rows, diverged = all_measured(settings, pictures_to_compare_on(settings, settings.base), pool)
    runs = tables.frame(rows)
    table = tables.table(runs)
    write_csv(settings.out / "runs.csv", runs)
    write_csv(settings.out / "heads.csv", table)
    facts = {"kind": "heads", **call.record(), "settings": settings.base.plain()}
    facts |= {"heads": settings.heads, "normalisations": settings.normalisations, "seeds": settings.seeds}
    facts["diverged"] = list(diverged.values())
    write_whole(settings.out / "heads.json", json_text(facts | provenance(call.started)))
    if settings.plots and (runs["head"] != "random encoder").any():
        from dynlab.drawing import head_comparison

        curves = {entry: metrics_of(settings, entry) for entry in curves_of(settings) if entry not in diverged}
        head_comparison.write(settings.out, runs, curves, settings.base.plain())
    if not settings.quiet:
        print("\n".join(tables.text(table, settings, time.perf_counter() - call.started)), flush=True)
    return list(diverged.values())


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    given = {name: number_of(value) for name, value in vars(arguments).items()}
    recipe = recipe_of(arguments.recipe)
    sound = SPEECH in (given["dataset"], recipe.settings.get("dataset"))
    require(not sound, "dataset", SPEECH, "a set of pictures")
    short: dict[str, Any] = SHORT.get(arguments.recipe, {"heads": DEFAULT, "normalisations": None, "seeds": 3})
    names = ("dataset", "limit", "encoder", "batch", "epochs", "steps", "lr", "schedule", "seed", "side", *PATCH_SETTINGS)
    base = pretraining(arguments.recipe, **{name: given[name] for name in names if given[name] is not None})
    base = replace(base, head="none", head_start="identity", head_hidden=None, knn_every=0)
    chosen = short["heads"] if arguments.heads is None else words_of("heads", arguments.heads, ENTRIES)
    kinds = short["normalisations"] or (base.normalisation,)
    if arguments.normalisations is not None:
        kinds = words_of("normalisations", arguments.normalisations, PICTURE_NORMALISATIONS)
    seeds = short["seeds"] if given["seeds"] is None else integer("seeds", given["seeds"], at_least=1, at_most=MOST_SEEDS)
    require(base.dataset != "stl10", "dataset", base.dataset, "one whose training pictures have labels")
    check_folders(arguments, "out", "data")
    out = expanded(arguments.out or f"runs/heads-{recipe.name}-{base.dataset}")
    where = device.chosen(arguments.device)
    check_dask(arguments.dask, where)
    return Settings(
        base, chosen, kinds, seeds, expanded(arguments.data), out, arguments.download, not arguments.no_verify,
        where, threads(given["threads"]), arguments.dask, not arguments.no_plots, arguments.quiet,
    )  # fmt: skip


def words_of(name: str, text: str, allowed: Sequence[str]) -> tuple[str, ...]:
    """Words with commas, each of those allowed."""
    return tuple(choice(name, word.strip(), allowed) for word in dict.fromkeys(text.split(",")))


def parser() -> Parser:
    """The options. Values stay words here: `check` turns them into numbers and says what is allowed."""
    p = Parser(
        prog=PROGRAM,
        description="Pretrain with every head under one budget and measure what the features are worth.",
        epilog="example: dynlab heads --recipe demo --data data   (collapse and rescue in minutes)",
    )
    p.option("--recipe", f"settings of all runs: a TOML file, or a name of {', '.join(RECIPES)}", "cpu-small", "NAME")
    p.option("--data", "folder with the pictures' files", "data", "DIR")
    usual = f"(default {','.join(DEFAULT)}; demo: none,off-diagonal)"
    p.option("--heads", f"of {', '.join(ENTRIES)} {usual}", metavar="RULE,RULE")
    kinds = "of length, batch, or both with a comma (default: the recipe's; demo: both)"
    p.option("--normalisations", kinds, metavar="NAME,NAME")
    p.option("--seeds", "runs of each (default 3; demo: 1)")
    for name, what in (("dataset", "pictures"), ("encoder", "network"), ("schedule", "of the learning rate")):
        p.option(f"--{name}", f"{what}, instead of the recipe's", metavar="NAME")
    for name in ("limit", "batch", "epochs", "steps", "lr", "seed", "side"):
        p.option(f"--{name}", "instead of the recipe's")
    for name, metavar in zip(PATCH_SETTINGS, ("PHI", "H", "NAME", "M", "N"), strict=True):
        p.option(f"--{name.replace('_', '-')}", "of encoder patch, as in dynlab pretrain", metavar=metavar)
    add_dask(p)
    p.option("--out", "folder of the runs (default: one named by recipe and pictures under runs/)", metavar="DIR")
    add_files(p)
    add_computing(p)
    p.add_argument("--no-plots", action="store_true", help="write no figures")
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return p


if __name__ == "__main__":
    sys.exit(main())
