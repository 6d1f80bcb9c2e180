"""Tables of a comparison of heads or methods: a row a run and representation, and means over seeds with their intervals."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
from scipy.stats import t as student

MEASURES = ("probe", "knn", "singular_rank", "rank", "correlation")
SOUND_MEASURES = ("eer", "eer_centred", "min_dcf", "label_probe", "label_knn")  # of runs on speech
COLUMNS = ("normalisation", "head", "method")  # what a comparison may be of
SPREAD = "unit_sd"  # of z at unit length, where it was measured


def frame(rows: list[dict]) -> pd.DataFrame:
    """What was measured: `COLUMNS` that are there, seed, representation, dimensions, probe, C, knn, ranks, correlation,
    `SPREAD` where it is there, of speech `SOUND_MEASURES`, with nan for what could not be told."""
    lines = []
    for row in rows:
        shape = row["shape"]
        lines.append({name: row[name] for name in COLUMNS if name in row} | {
            "seed": row["seed"], "representation": row["representation"], "dimensions": row["dimensions"],
            "probe": _told(row["probe"]), "probe_C": _strength(row["probe"]), "knn": _told(row["knn"]),
            "singular_rank": shape["singular_rank"], "rank": shape["rank"], "covariance_rank": shape["covariance_rank"],
            "correlation": shape["mean_abs_correlation"],
        } | ({SPREAD: row[SPREAD]} if SPREAD in row else {}) | _sound(row))  # fmt: skip
    return pd.DataFrame(lines)


def _told(accuracy: dict | None) -> float:
    """The accuracy; nan where there was nothing to tell."""
    return float("nan") if accuracy is None else accuracy["accuracy"]


def _strength(accuracy: dict | None) -> float:
    return float("nan") if accuracy is None else accuracy["details"]["C"]


def _sound(row: dict) -> dict[str, float]:
    """`SOUND_MEASURES` of a row of speech."""
    if "cosine" not in row:
        return {}
    values = (row["cosine"]["eer"], row["centred"]["eer"], row["cosine"]["min_dcf"])
    return dict(zip(SOUND_MEASURES, (*values, _told(row["label_probe"]), _told(row["label_knn"])), strict=True))


def mean_and_interval(values) -> tuple[float, float, float]:
    """Mean over seeds and its 95 % interval by Student's t; nan bounds with one seed."""
    values = np.asarray(values, dtype=np.float64)
    if len(values) < 2:
        return float(values.mean()), float("nan"), float("nan")
    half = float(student.ppf(0.975, len(values) - 1)) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean()), float(values.mean() - half), float(values.mean() + half)


def table(runs: pd.DataFrame) -> pd.DataFrame:
    """A line for each normalisation, head and representation: means over seeds, with intervals for the accuracies."""
    lines = []
    keys = ["normalisation", "head", "representation"]
    for key, group in runs.groupby(keys, sort=False):
        line = dict(zip(keys, key, strict=True)) | {"seeds": len(group)}
        for name in MEASURES:
            mean, low, high = mean_and_interval(group[name])
            line[name] = mean
            if name in ("probe", "knn"):
                line |= {f"{name}_low": low, f"{name}_high": high}
        lines.append(line)
    return pd.DataFrame(lines)


def text(found: pd.DataFrame, settings, seconds: float) -> list[str]:
    """The table to read."""
    base = settings.base
    budget = f"{base.steps} steps" if base.steps is not None else f"{base.epochs} epochs"
    lines = [
        f"{base.dataset}, encoder {base.encoder_words}, {budget} of {base.batch} pictures, {base.optimiser} {base.lr:g} "
        f"({base.schedule}), {settings.seeds} seeds (means, 95 % intervals over seeds; rank: of singular values)",
        "",
        f"{'normalisation':<15}{'head':<18}{'probe':<22}{'probe on z':<22}{'kNN':<22}{'rank of z':>10}{'|corr| of z':>13}",
    ]
    for key, group in found.groupby(["normalisation", "head"], sort=False):
        rows = {row.representation: row for row in group.itertuples()}
        inside, z = rows["encoder"], rows["z"]
        cells = f"{_share(inside, 'probe'):<22}{_share(z, 'probe'):<22}{_share(inside, 'knn'):<22}"
        lines.append(f"{key[0]:<15}{key[1]:<18}{cells}{z.singular_rank:>10.1f}{z.correlation:>13.2f}")
    return [*lines, "", *differences(found), f"{seconds:.0f} s; files in {settings.out}: heads.csv, runs.csv, figures"]


def differences(found: pd.DataFrame) -> list[str]:
    """What the off-diagonal head is worth, in words, where both it and none were trained."""
    by = found.set_index(["normalisation", "head", "representation"])
    lines = []
    for kind in found["normalisation"].unique():
        if not {(kind, "none", "z"), (kind, "off-diagonal", "z")} <= set(by.index):
            continue
        none, head = ({what: by.loc[(kind, rule, what)] for what in ("encoder", "z")} for rule in ("none", "off-diagonal"))
        gain = {what: head[what].probe - none[what].probe for what in head}
        over = head["encoder"].probe - by.loc[("", "random encoder", "encoder")].probe
        z = [f"{row['z']['singular_rank']:.1f} ({row['z'].correlation:.2f})" for row in (none, head)]
        lines.append(
            f"{kind}: rank of z (mean correlation) {z[0]} without head, {z[1]} with the off-diagonal head; probe "
            f"{gain['encoder']:+.3f} on the encoder, {gain['z']:+.3f} on z, {over:+.3f} against the random encoder"
        )
    return [*lines, ""] if lines else []


def _share(row, name: str) -> str:
    value, low, high = (getattr(row, column) for column in (name, f"{name}_low", f"{name}_high"))
    return f"{value:.3f}" if math.isnan(low) else f"{value:.3f} [{low:.3f}, {high:.3f}]"
