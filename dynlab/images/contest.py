"""All heads under one budget: `python -m dynlab.heads`.

Every head and normalisation is pretrained from several seeds with the settings of one recipe; the frozen features of each
run are measured, beside those of the networks before training. DirectPred and DirectCopy have the moving-average target that
they were published with (`PUBLISHED`); what stands after a colon is where the head starts, or which target it has. A run
that diverges is told and left out of the tables, and the others go on. A run is a folder of `dynlab.pretrain` with an
evaluate.json in it; those that are there already are not made again, so the same command continues a contest that was
stopped.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dynlab._checks import SettingError, choice, integer, require, threads
from dynlab._cli import Call, Parser, number, run_command
from dynlab.files import expanded
from dynlab.images.settings import NORMALISATIONS, RECIPES, Pretraining, pretraining
from dynlab.images.verdict import NotFinite
from dynlab.training import TARGETS

if TYPE_CHECKING:
    import pandas as pd

PROGRAM = "dynlab.heads"
ENTRIES = (
    "none", "off-diagonal", "linear", "linear:random", "mlp", "directpred", "directcopy", "symmetric", "none:average",
    "off-diagonal:average", "linear:average", "mlp:average", "directpred:same", "directcopy:same",
)  # fmt: skip
# Tian, Chen & Ganguli (2021) and Wang et al. (2021) train towards a moving average of momentum 0.996, as BYOL starts with.
PUBLISHED = {"directpred": "average", "directcopy": "average"}
MOMENTUM = 0.996
MOST_SEEDS = 1000
DEFAULT = ("none", "off-diagonal", "linear", "mlp", "directpred")
SHORT: dict[str, dict[str, Any]] = {
    "demo": {"heads": ("none", "off-diagonal"), "normalisations": NORMALISATIONS, "seeds": 1}
}


@dataclass(frozen=True)
class Settings:
    """The settings of the command, checked. base: of every run, but for head, normalisation and seed."""

    base: Pretraining
    heads: tuple[str, ...]
    normalisations: tuple[str, ...]
    seeds: int
    data: Path
    out: Path
    download: bool
    verify: bool
    device: str
    threads: int
    plots: bool
    quiet: bool


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 1 also where a run diverged."""
    call = parser().call(argv)
    diverged: list[str] = []
    status = run_command(call, lambda: diverged.extend(run(check(call.arguments), call)))
    for line in diverged:
        print(f"{PROGRAM}: {line}", file=sys.stderr)
    return status or (1 if diverged else 0)


def run(settings: Settings, call: Call) -> list[str]:
    """Make the runs that are missing, measure them, write table and figures, print; a line for each that diverged."""
    from dynlab import report
    from dynlab.files import FolderError, json_text, write_csv, write_whole
    from dynlab.images import appraisal, tables
    from dynlab.images.where import ops_of

    ops_of(settings.device, settings.threads)  # refused before anything is read
    if settings.out.exists() and not settings.out.is_dir():
        raise FolderError(settings.out, "holds a file; must be a folder")
    if settings.download:
        from dynlab.images.download import fetch

        fetch(settings.base.dataset, settings.data, quiet=settings.quiet)
    data = appraisal.labelled(settings.base.dataset, settings.data, None, settings.verify)
    diverged: dict[tuple[str, str, int], str] = {}
    rows = [row for entry in entries(settings) for row in measured(settings, entry, data, diverged)]
    rows += [row for seed in range(settings.seeds) for row in random_rows(settings, seed, data)]
    runs = tables.frame(rows)
    table = tables.table(runs)
    write_csv(settings.out / "runs.csv", runs)
    write_csv(settings.out / "heads.csv", table)
    facts = {"kind": "heads", **call.record(), "settings": settings.base.plain()}
    facts |= {"heads": settings.heads, "normalisations": settings.normalisations, "seeds": settings.seeds}
    facts["diverged"] = list(diverged.values())
    write_whole(settings.out / "heads.json", json_text(facts | report.provenance(call.started)))
    if settings.plots and (runs["head"] != "random encoder").any():
        from dynlab.images import contest_figures

        curves = {entry: metrics_of(settings, entry) for entry in curves_of(settings) if entry not in diverged}
        contest_figures.write(settings.out, runs, curves, settings.base.plain())
    if not settings.quiet:
        print("\n".join(tables.text(table, settings, time.perf_counter() - call.started)), flush=True)
    return list(diverged.values())


def entries(settings: Settings) -> Iterator[tuple[str, str, int]]:
    """(normalisation, head, seed) of every run: all heads with the first seed before the second."""
    for seed in range(settings.seeds):
        for normalisation in settings.normalisations:
            for head in settings.heads:
                yield normalisation, head, seed


def of_entry(settings: Settings, normalisation: str, head: str, seed: int) -> Pretraining:
    """The settings of a run."""
    rule, _, how = head.partition(":")
    changed: dict[str, Any] = {"head": rule, "normalisation": normalisation, "seed": settings.base.seed + seed}
    if how == "random":
        changed["head_start"] = how
    target = how if how in TARGETS else PUBLISHED.get(rule, "same")
    if target == "average":
        changed |= {"target": target, "target_momentum": MOMENTUM}
    return replace(settings.base, **changed)


def place_of(settings: Settings, normalisation: str, head: str, seed: int) -> Path:
    """The folder of a run."""
    return settings.out / f"{normalisation}-{head.replace(':', '-')}-seed{settings.base.seed + seed}"


def measured(settings: Settings, entry: tuple[str, str, int], data: tuple, diverged: dict) -> list[dict]:
    """Rows of a run's representations, from its evaluate.json; the run is made, or continued, where it is missing.

    Of a run that diverged there are none; `diverged` then gets a line, by the entry.
    """
    from dynlab.images import appraisal, record

    place, of_run = place_of(settings, *entry), of_entry(settings, *entry)
    said = place / "evaluate.json"
    begun = (place / "run.json").is_file()
    if begun and record.settings_of(place) != of_run:
        raise SettingError("out", str(settings.out), f"a folder of runs with these settings, which {place.name} has not")
    if begun and record.run_of(place).get("content") != data[0].content(of_run.limit):
        allowed = f"the pictures that {place.name} was trained on, or --out another folder"
        raise SettingError("data", str(settings.data), allowed)
    status = record.run_of(place)["status"] if begun else ""
    if not said.is_file():
        stopped = [status.removeprefix("stopped: ")] if status.startswith("stopped") else record.pretrain(
            of_run, data[0], place, resume=begun, threads=settings.threads, device=settings.device, quiet=True, plots=False,
            command="python -m dynlab.heads", data=settings.data,
        )  # fmt: skip
        between = time.perf_counter()
        try:
            NotFinite.said(stopped)
            found = appraisal.appraise(of_run, record.read_weights(place), *data, which=("encoder", "z"))
        except NotFinite as error:
            diverged[entry] = f"{place.name} diverged: {error}"
            return []
        trained = record.seconds_of(place)
        _keep(said, found, {"training_seconds": trained})
        if not settings.quiet:
            print(_line(place.name, found, trained, time.perf_counter() - between), flush=True)
    return _rows(said, *entry)


def random_rows(settings: Settings, seed: int, data: tuple) -> list[dict]:
    """Rows of the networks before training."""
    from dynlab.images import appraisal

    said = settings.out / f"random-seed{settings.base.seed + seed}.json"
    if not said.is_file():
        of_run = replace(settings.base, seed=settings.base.seed + seed)
        found = appraisal.appraise(of_run, {}, *data, which=("random encoder", "random z"))
        settings.out.mkdir(parents=True, exist_ok=True)
        _keep(said, [row | {"representation": row["representation"].removeprefix("random ")} for row in found], {})
    return _rows(said, "", "random encoder", seed)


def curves_of(settings: Settings) -> list[tuple[str, str, int]]:
    """The runs whose head is a matrix that trains."""
    return [entry for entry in entries(settings) if entry[1].partition(":")[0] in ("off-diagonal", "linear", "symmetric")]


def metrics_of(settings: Settings, entry: tuple[str, str, int]) -> pd.DataFrame:
    """metrics.csv of a run."""
    import pandas as pd

    return pd.read_csv(place_of(settings, *entry) / "metrics.csv")


def _keep(path: Path, found: list[dict], more: dict) -> None:
    from dynlab.files import json_text, write_whole
    from dynlab.images import appraisal

    write_whole(path, json_text({"rows": [appraisal.plain(row) for row in found]} | more))


def _rows(path: Path, normalisation: str, head: str, seed: int) -> list[dict]:
    from dynlab.files import FolderError
    from dynlab.images import tables

    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))["rows"]
        found = [{"normalisation": normalisation, "head": head, "seed": seed, **row} for row in rows]
        tables.frame(found)[list(tables.MEASURES)].astype(float)
    except (ValueError, KeyError, TypeError, OSError) as error:
        why = f"cannot be read ({type(error).__name__}: {error}); remove it, and the run is measured again"
        raise FolderError(path, why) from None
    return found


def _line(name: str, found: list[dict], trained: float, measured: float) -> str:
    rows = {row["representation"]: row for row in found}
    inside, z = rows["encoder"], rows["z"]
    return (
        f"{name}: probe {inside['probe'].share:.3f} (z {z['probe'].share:.3f}), kNN {inside['knn'].share:.3f}, rank of z "
        f"{z['shape'].singular_rank:.1f}, correlation of z {z['shape'].mean_abs_correlation:.2f}; {trained:.0f} s, measured "
        f"in {measured:.0f} s"
    )


def check(arguments: argparse.Namespace) -> Settings:
    """Turn the words of the command line into settings; SettingError names the first that is not allowed."""
    given = {name: number(value) for name, value in vars(arguments).items()}
    recipe = choice("recipe", arguments.recipe, RECIPES)
    short: dict[str, Any] = SHORT.get(recipe, {"heads": DEFAULT, "normalisations": None, "seeds": 3})
    names = ("dataset", "limit", "encoder", "batch", "epochs", "steps", "lr", "schedule", "seed")
    base = pretraining(recipe, **{name: given[name] for name in names if given[name] is not None})
    base = replace(base, head="none", head_start="identity", head_hidden=None, knn_every=0)
    chosen = short["heads"] if arguments.heads is None else words_of("heads", arguments.heads, ENTRIES)
    kinds = short["normalisations"] or (base.normalisation,)
    if arguments.normalisations is not None:
        kinds = words_of("normalisations", arguments.normalisations, NORMALISATIONS)
    seeds = short["seeds"] if given["seeds"] is None else integer("seeds", given["seeds"], at_least=1, at_most=MOST_SEEDS)
    require(base.dataset != "stl10", "dataset", base.dataset, "one whose training pictures have labels")
    for name in ("out", "data"):
        require(getattr(arguments, name) != "", name, "", "the name of a folder")
    out = expanded(arguments.out or f"runs/heads-{recipe}-{base.dataset}")
    return Settings(
        base, chosen, kinds, seeds, expanded(arguments.data), out, arguments.download, not arguments.no_verify,
        arguments.device, threads(given["threads"]), not arguments.no_plots, arguments.quiet,
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
    p.option("--recipe", f"settings of all runs, of {', '.join(RECIPES)}", "cpu-small", "NAME")
    p.option("--data", "folder with the pictures' files", "data", "DIR")
    usual = f"(default {','.join(DEFAULT)}; demo: none,off-diagonal)"
    p.option("--heads", f"of {', '.join(ENTRIES)} {usual}", metavar="RULE,RULE")
    kinds = "of length, batch, or both with a comma (default: the recipe's; demo: both)"
    p.option("--normalisations", kinds, metavar="NAME,NAME")
    p.option("--seeds", "runs of each (default 3; demo: 1)")
    for name, what in (("dataset", "pictures"), ("encoder", "network"), ("schedule", "of the learning rate")):
        p.option(f"--{name}", f"{what}, instead of the recipe's", metavar="NAME")
    for name in ("limit", "batch", "epochs", "steps", "lr", "seed"):
        p.option(f"--{name}", "instead of the recipe's")
    p.option("--out", "folder of the runs (default: one named by recipe and pictures under runs/)", metavar="DIR")
    p.add_argument("--download", action="store_true", help="fetch the files into --data first, from their official address")
    p.add_argument("--no-verify", action="store_true", help="leave out the comparison with known md5 sums")
    p.option("--device", "of cpu, cuda, auto", "cpu", "NAME")
    p.option("--threads", "threads to compute with (default: all cores)")
    p.add_argument("--no-plots", action="store_true", help="write no figures")
    p.add_argument("--quiet", action="store_true", help="print nothing but errors")
    return p


