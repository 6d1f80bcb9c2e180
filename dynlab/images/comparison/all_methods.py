"""All methods under one budget: the runs, the table over seeds, and the gates of the recipes.

A method is a recipe, by its name without `small-`, by its whole name, or a TOML file. Its gate is a check that can fail,
judged where the runs have the recipe's own settings: the linear probe on the encoder, as a mean over seeds, is at least
`least_gain` above (or at most `most_gain` above, and below zero strictly) that on the random encoder. Of a method that must
gain, no run diverged or collapsed (`dynlab.images.verdict`), and the mean rank of z is above `RANK`. On speech the gates are
those of `dynlab.sounds.speech_comparison`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from dynlab.images.comparison import measured_runs, tables
from dynlab.images.recipes.recipe_files import KNOWN_RECIPES, Recipe, is_file
from dynlab.images.settings import SPEECH, Pretraining, pretraining, recipe_of
from dynlab.images.training import run_folder
from dynlab.images.verdict import metric_numbers, verdict_of
from dynlab.machine.device import Device
from dynlab.tools.checks import SettingError, choice

SMALL = "small-"
RANDOM = "random encoder"
RANK = 4.0  # of z, effective, of singular values: above it where a method's gate is passed
# Columns of the table to read: (representation, number, digits).
SHOWN = {
    "probe": ("encoder", "probe", 3), "probe on z": ("z", "probe", 3), "kNN": ("encoder", "knn", 3),
    "rank of z": ("z", "singular_rank", 1), "|corr| of z": ("z", "correlation", 2), "sd of unit z": ("z", tables.SPREAD, 3),
}  # fmt: skip
SHOWN_OF_SPEECH = {
    "EER": ("encoder", "eer", 3), "EER on z": ("z", "eer", 3), "speaker probe": ("encoder", "probe", 3),
    "label probe": ("encoder", "label_probe", 3), "rank of z": ("z", "rank", 1), "|corr| of z": ("z", "correlation", 2),
}  # fmt: skip
MEASURES = (*tables.MEASURES, tables.SPREAD)


@dataclass(frozen=True)
class Settings:
    """The settings of the command, checked. recipes: of the methods. changed: settings that are given otherwise, for all.
    other: where runs are of no pictures."""

    recipes: tuple[Recipe, ...]
    changed: Mapping[str, Any]
    seed: int
    seeds: int
    data: Path
    out: Path
    download: bool
    verify: bool
    device: Device
    threads: int
    processes: int
    dask: str | None
    plots: bool
    quiet: bool
    other: measured_runs.OtherData | None = None


def small_names() -> list[str]:
    """The methods that have a small recipe, without the prefix of its name: those without a head and the paper's first."""
    found = [name.removeprefix(SMALL) for name in KNOWN_RECIPES if name.startswith(SMALL)]
    first = [name for name in ("none", "off-diagonal") if name in found]
    return [*first, *(name for name in found if name not in first)]


def recipes_of(words: Sequence[str]) -> tuple[Recipe, ...]:
    """The recipes that words mean; SettingError for one that means none."""
    small = small_names()
    found = []
    for word in dict.fromkeys(words):
        try:
            found.append(KNOWN_RECIPES[SMALL + word] if word in small else recipe_of(word))
        except SettingError as error:
            if not is_file(word):
                choice("methods", word, [*small, *KNOWN_RECIPES])
            raise SettingError("methods", error.value, error.allowed) from None
    return tuple(found)


def method_settings(settings: Settings, recipe: Recipe, seed: int) -> Pretraining:
    """The settings of a method's run with a number of seed."""
    return pretraining(None, **{**recipe.settings, **settings.changed, "seed": settings.seed + seed})


def labels(recipes: Sequence[Recipe]) -> dict[str, str]:
    """What the tables call each recipe, by its name: its method, or its name where another one is of the same method."""
    methods = [recipe.method for recipe in recipes]
    return {one.name: one.method if methods.count(one.method) == 1 else one.name for one in recipes}


def method_entries(settings: Settings) -> Iterator[measured_runs.Entry]:
    """Every run: all methods with the first seed before the second, and the networks before training."""
    called = labels(settings.recipes)
    for seed in range(settings.seeds):
        for recipe in settings.recipes:
            made = method_settings(settings, recipe, seed)
            name = f"{recipe.name.removeprefix(SMALL)}-seed{made.seed}"
            yield measured_runs.Entry((("method", called[recipe.name]),), seed, name, made)
    base = replace(method_settings(settings, settings.recipes[0], 0), seed=settings.seed)
    for seed in range(settings.seeds):
        yield measured_runs.at_the_start(base, (("method", RANDOM),), seed)


def conditions_of(settings: Settings) -> measured_runs.Conditions:
    """What the runs have in common."""
    return measured_runs.Conditions(
        settings.out, settings.data, settings.verify, settings.device, settings.threads, "python -m dynlab.methods",
        spread=settings.other is None, other=settings.other,
    )  # fmt: skip


def verdicts(settings: Settings, made: Mapping[measured_runs.Entry, measured_runs.Made]) -> pd.DataFrame:
    """method, seed, verdict ("diverged", "collapsed", "unclear", "healthy") and seconds of training of each run."""
    rows = []
    for entry, one in made.items():
        if not entry.trained:
            continue
        said = "diverged"
        if not one.diverged:
            text = (settings.out / entry.name / run_folder.METRICS).read_text(encoding="utf-8")
            said = verdict_of(entry.settings, [metric_numbers(line) for line in text.splitlines()[1:]])
        seconds = run_folder.seconds_of(settings.out / entry.name)
        rows.append({"method": dict(entry.columns)["method"], "seed": entry.seed, "verdict": said, "seconds": seconds})
    return pd.DataFrame(rows)


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """A line for each method and representation: means over seeds, and their 95 % intervals (Student's t; nan for one)."""
    lines = []
    for key, group in runs.groupby(["method", "representation"], sort=False):
        line = dict(zip(("method", "representation"), key, strict=True)) | {"seeds": len(group)}
        for name in (name for name in (*MEASURES, *tables.SOUND_MEASURES) if name in group):
            line |= dict(zip((name, f"{name}_low", f"{name}_high"), tables.mean_and_interval(group[name]), strict=True))
        lines.append(line)
    return pd.DataFrame(lines)


@dataclass(frozen=True)
class Gate:
    """What a method's gate says. words: the number and its bound, of the first that fails, or of the gain."""

    method: str
    passed: bool
    words: str


def gates(settings: Settings, found: pd.DataFrame, seen: pd.DataFrame) -> list[Gate]:
    """The gates of the recipes that have one; none where settings were given otherwise.

    found: `table`. seen: `verdicts`.
    """
    called, by = labels(settings.recipes), found.set_index(["method", "representation"])
    judged = [one for one in settings.recipes if one.least_gain is not None or one.most_gain is not None]
    if settings.changed:
        return []
    if settings.other is not None:
        how = settings.other.gate
        return [Gate(called[one.name], *how(one, called[one.name], RANDOM, by, seen)) for one in judged]
    return [_gate(one, called[one.name], by, seen) for one in judged]


def _gate(recipe: Recipe, method: str, by: pd.DataFrame, seen: pd.DataFrame) -> Gate:
    own = seen[seen["method"] == method]
    bad = [f"seed {row.seed} {row.verdict}" for row in own.itertuples() if row.verdict in ("diverged", "collapsed")]
    if recipe.least_gain is not None and bad:
        return Gate(method, False, ", ".join(bad))
    if (method, "encoder") not in by.index:
        return Gate(method, False, "every run diverged")
    gain = by.loc[(method, "encoder"), "probe"] - by.loc[(RANDOM, "encoder"), "probe"]
    rank = by.loc[(method, "z"), "singular_rank"]
    if recipe.least_gain is not None and not rank > RANK:
        return Gate(method, False, f"rank of z {rank:.2f}, must be above {RANK:g}")
    if recipe.least_gain is not None and not gain >= recipe.least_gain:
        return Gate(method, False, f"probe {gain:+.3f} against the random encoder, must be {recipe.least_gain:+g} or more")
    if recipe.most_gain is not None and not gain < recipe.most_gain:
        return Gate(method, False, f"probe {gain:+.3f} against the random encoder, must be below {recipe.most_gain:+g}")
    return Gate(method, True, f"probe {gain:+.3f} against the random encoder")


def text(settings: Settings, found: pd.DataFrame, judged: Sequence[Gate], seconds: float) -> list[str]:
    """The table to read, and the gates."""
    base = method_settings(settings, settings.recipes[0], 0)
    budget = f"{base.steps} steps" if base.steps is not None else f"{base.epochs} epochs"
    shown, items, kind = SHOWN, "pictures", "singular values"
    if base.dataset == SPEECH:
        shown, items, kind = SHOWN_OF_SPEECH, "utterances", "correlations"
    lines = [
        f"{base.dataset}, encoder {base.encoder_words}, {budget} of {base.batch} {items}, {settings.seeds} seeds (means, "
        f"and half of their 95 % intervals over seeds; rank: of {kind})",
        "",
        f"{'method':<22}" + "".join(f"{word:<16}" for word in shown),
    ]
    for method, group in found.groupby("method", sort=False):
        rows = {row["representation"]: row for _, row in group.iterrows()}
        cells = [_cell(rows[representation], name, digits) for representation, name, digits in shown.values()]
        lines.append(f"{method:<22}" + "".join(f"{cell:<16}" for cell in cells).rstrip())
    lines.append("")
    lines += [f"gate of {gate.method}: {'passed' if gate.passed else 'FAILED'}: {gate.words}" for gate in judged]
    if settings.changed:
        lines.append(
            f"gates are of the recipes as they are, and not judged with other {', '.join(sorted(settings.changed))}"
        )
    return [*lines, "", f"{seconds:.0f} s; files in {settings.out}: methods.csv, runs.csv, methods.json"]


def _cell(row: Any, name: str, digits: int) -> str:
    mean, high = row[name], row[f"{name}_high"]
    return f"{mean:.{digits}f}" if math.isnan(high) else f"{mean:.{digits}f} ± {high - mean:.{digits}f}"
