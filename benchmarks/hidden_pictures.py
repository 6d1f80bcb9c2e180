"""Hidden units (page "Hidden units") on CIFAR-10: does the head rescue more, the more hidden units an output has?

    python -m benchmarks.hidden_pictures train DIR --data DATA [--seconds S]    what is not yet there, for about S seconds
    python -m benchmarks.hidden_pictures judge DIR [--write]                    the table, and put it on its page

Encoder `patch`, 16 outputs of H hidden units each with readouts of their own, no projector, so the head acts on what the
theory calls f; outputs by batch norm; views of 24 x 24 in 16 patches of 6 x 6, as many as in the theory; pixels less their
means; Adam 0.003 as in the demo, 1501 steps of 128 pictures. A seed has the same views with and without a head and for every
H, and for one H the same start, so differences between heads are taken by seed. A run is a folder of `dynlab.pretrain` with
a worth.json in it. It may be interrupted and called again, and by a second process with --backwards.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import dynlab
import figures
from benchmarks import table as page_table
from benchmarks.fates import parser
from dynlab.images import layers
from dynlab.images.comparison.tables import mean_and_interval
from dynlab.images.data import datasets
from dynlab.images.data.augment import CIFAR_DEVIATION, CIFAR_MEAN
from dynlab.images.settings import Pretraining
from dynlab.tools.files import write_csv

HEADS = ("none", "off-diagonal")
ENCODERS = (("cubic", 1), ("relu", 1), ("relu", 2), ("relu", 4), ("relu", 8))  # phi and hidden units
COMMON: dict[str, Any] = {
    "encoder": "patch", "neurons": 16, "patch_side": 6, "projector": (), "normalisation": "batch", "steps": 1501,
    "knn_every": 0, "augmentation": {"like": "demo", "mean": CIFAR_MEAN, "deviation": CIFAR_DEVIATION},
}  # fmt: skip
# {optimiser: (what is changed, seeds)}: beside Adam plain descent, which is what the theory follows.
VARIANTS: dict[str, tuple[dict[str, Any], int]] = {
    "adam": ({}, 5), "sgd": ({"optimiser": "sgd", "lr": 0.1, "momentum": 0.0}, 2)
}  # fmt: skip
PAGE = Path(dynlab.__file__).parent / "docs" / "hidden.md"
BEGIN, END = "<!-- begin hidden pictures -->", "<!-- end hidden pictures -->"
WORTH = "worth.json"
KEY = ("optimiser", "activation", "hidden", "seed")
DATA = Path(figures.__file__).parent / "pictures" / "hidden_pictures.csv"


def runs() -> dict[str, Pretraining]:
    """{name: settings} of all runs: all encoders and heads with the first seed before the second."""
    return {
        name_of(variant, phi, hidden, head, seed): Pretraining(
            **(COMMON | more), activation=phi, hidden=hidden, head=head, seed=seed
        )
        for variant, (more, seeds) in VARIANTS.items()
        for seed in range(seeds)
        for phi, hidden in ENCODERS
        for head in HEADS
    }


def name_of(variant: str, phi: str, hidden: int, head: str, seed: int) -> str:
    """The folder of a run."""
    return f"{variant}-{phi}-{hidden}-{head}-seed{seed}"


def worth(settings: Pretraining, weights: dict | None, train: Any, test: Any) -> dict[str, float]:
    """Rank and mean correlation of z of the test pictures, accuracy of a probe on z; weights None: before training."""
    from dynlab.images.worth import spectrum
    from dynlab.images.worth.probe import linear_probe
    from dynlab.images.worth.representations import features_of, networks_of

    networks = networks_of(settings, train.pictures, layers)
    if weights is not None:
        networks.load(weights)
    inside, outside = (features_of(networks, images.pictures, settings)[1] for images in (train, test))
    shape = spectrum.shape(outside)
    probe = linear_probe(inside, train.labels, outside, test.labels).share
    return {"rank": shape.rank, "correlation": shape.mean_abs_correlation, "probe": probe}


def train(place: Path, data: Path, seconds: float, backwards: bool = False) -> None:
    """Make what is not there yet; backwards: the last ones first, as a second process may."""
    from dynlab.images.training import run_folder

    began = time.monotonic()
    whole, test = (datasets.load("cifar10", data, split) for split in ("train", "test"))
    for name, settings in reversed(runs().items()) if backwards else runs().items():
        path = place / name / WORTH
        if path.exists() or time.monotonic() - began > seconds:
            continue
        started = time.monotonic()
        resume = (path.parent / "run.json").exists()
        given = {} if resume else settings.changed()
        dynlab.pretrain(data=whole, out=path.parent, resume=resume, plots=False, quiet=True, threads=1, **given)
        found: dict[str, Any] = worth(settings, run_folder.read_weights(path.parent), whole, test)
        norms = pd.read_csv(path.parent / "metrics.csv").set_index("step")["head_norm"]
        found |= {"peak": norms.max(), "at": int(norms.idxmax()), "end": norms.iloc[-1]}
        if settings.head == "none":
            found["before"] = worth(settings, None, whole, test)
        path.write_text(json.dumps(found), encoding="utf-8")
        seen = f"rank {found['rank']:.2f}, probe {found['probe']:.3f}"
        print(f"{name}: {seen}, {time.monotonic() - started:.0f} s", flush=True)


def gathered(place: Path) -> pd.DataFrame:
    """`KEY`, head and what was found, a row for each run; head "start": before training."""
    rows = []
    for name, settings in runs().items():
        path = place / name / WORTH
        if path.exists():
            found = json.loads(path.read_text(encoding="utf-8"))
            key = {one: getattr(settings, one) for one in KEY}
            before = found.pop("before", None)
            rows.append(key | {"head": settings.head} | found)
            rows += [] if before is None else [key | {"head": "start"} | before]
    return pd.DataFrame(rows)


def interval(values: pd.Series | np.ndarray, digits: int) -> str:
    """Mean and 95 % interval over seeds; of one seed alone its number."""
    mean, low, high = mean_and_interval(values)
    if len(values) < 2:
        return f"{mean:.{digits}f}"
    return f"{mean:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def table(found: pd.DataFrame) -> list[str]:
    """What was seen, as Markdown."""
    columns = (
        "optimiser", "phi", "$H$", "seeds", "rank at the start", "without head", "with head", "difference by seed",
        "probe at the start", "without head", "difference by seed", "with head, less the start's", "head, peak (step), end",
    )  # fmt: skip
    out = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for key, group in found.groupby(list(KEY[:3]), sort=False):
        by = {head: one.set_index("seed") for head, one in group.groupby("head")}
        if not {*HEADS, "start"} <= by.keys():
            continue
        start, none, head = by["start"], by["none"], by["off-diagonal"]
        seeds = none.index.intersection(head.index)
        if not len(seeds):
            continue
        gain = {name: head[name][seeds] - none[name][seeds] for name in ("rank", "probe")}
        cells = [
            *map(str, key), str(len(seeds)), f"{start['rank'].mean():.1f}", interval(none["rank"], 2),
            interval(head["rank"], 2), interval(gain["rank"], 2), f"{start['probe'].mean():.3f}", interval(none["probe"], 3),
            interval(gain["probe"], 3), interval(head["probe"][seeds] - start["probe"][seeds], 3),
            f"{head['peak'].median():.2f} ({head['at'].median():.0f}), {head['end'].median():.2f}",
        ]  # fmt: skip
        out.append(f"| {' | '.join(cells)} |")
    return out


def judge(place: Path, write: bool) -> None:
    """Print the table, and put it on its page and the data beside the figures."""
    found = gathered(place)
    lines = table(found)
    print("\n".join(lines))
    if write:
        write_csv(DATA, found)
        page_table.write(PAGE, "\n".join(lines), BEGIN, END)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    p = parser("benchmarks.hidden_pictures", __doc__)
    p.add_argument("place", type=Path)
    given = p.parse_args(argv)
    if given.part == "train":
        train(given.place, given.data, given.seconds, given.backwards)
    else:
        judge(given.place, given.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
