"""Runs on pictures with a known fate, for the accuracy of the verdicts of `dynlab.diagnose` and of the warnings of
`dynlab.Monitor`.

    python -m benchmarks.fates train DIR --data DATA [--seconds S]     train what is not yet there, for about S seconds
    python -m benchmarks.fates judge DIR [--write]                     the table of what verdicts and warnings were worth

`train` leaves a file a run: z of every tenth training batch (T, 2 BATCH, 64), both views, the head's matrix and the loss
at the same steps, z of test pictures at the end, and the fate. The fate is judged without any verdict, by linear probes on z
and on z of the same network before training (the random encoder's), both tested on the 10000 test pictures: collapsed where
the first is not above the second; and a second time by nearest neighbours (cosine, 20 of them, each of 2000 test pictures
among the others). It may be interrupted and called again, and by a second process with --backwards.

Runs: encoder demo on CIFAR-10 and Fashion-MNIST, every loss, and for the similarity every head, both normalisations, both
targets, with and without stop-gradient, at rates from 1e-4 to 1e-1, two seeds. The order is shuffled, so that what is done
when time is over is a fair part of the whole.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import dynlab
from benchmarks import table as page_table
from dynlab.images import layers
from dynlab.images.data import datasets
from dynlab.images.settings import Pretraining
from dynlab.images.verdict import FEW, NotFinite
from dynlab.tools.intervals import Z95, wilson

STEPS, EVERY, LIMIT, BATCH, PROJECTOR = 400, 10, 8192, 128, (128, 64)
SEEDS, SETS = (0, 1), ("cifar10", "fashion-mnist")
CHOSEN_BY = 8, 17  # runs, from the front and from the back of the order, that the rule of the warning was chosen by
KEPT = 2000  # test pictures whose z is kept
NEIGHBOURS = 20
HEADS = ("none", "off-diagonal", "linear", "mlp")
PAGE = Path(dynlab.__file__).parent / "docs" / "diagnose.md"
BEGIN, END = "<!-- begin fates -->", "<!-- end fates -->"
RATES = (1e-4, 1e-3, 1e-2, 1e-1)


def choices() -> list[dict[str, Any]]:
    """What is changed in each run, without data set and seed."""
    made: list[dict[str, Any]] = []
    for normalisation in ("length", "batch"):
        made += [{"normalisation": normalisation, "head": head} for head in HEADS]
        made.append({"normalisation": normalisation, "head": "off-diagonal", "stop_gradient": "none"})
    made += [{"head": head, "target": "average"} for head in HEADS]
    made += [{"head": head, "lr": rate} for head in ("none", "off-diagonal", "linear") for rate in RATES]
    plain = {"head": "none", "stop_gradient": "none"}
    average = {"head": "none", "target": "average"}
    for loss in ("barlow-twins", "vicreg", "simclr", "dino"):
        made += [{"loss": loss, "lr": rate} | (average if loss == "dino" else plain) for rate in (1e-4, 3e-3, 1e-1)]
    return made


def runs() -> dict[str, Pretraining]:
    """{name: settings} of all runs, in the order in which they are made."""
    found = {}
    for changed in choices():
        for dataset in SETS:
            for seed in SEEDS:
                words = [dataset, *(f"{name}-{value}" for name, value in changed.items()), f"seed-{seed}"]
                found["_".join(words)] = Pretraining(
                    dataset=dataset, limit=LIMIT, encoder="demo", projector=PROJECTOR, batch=BATCH, steps=STEPS,
                    record=EVERY, knn_every=0, seed=seed, **changed,
                )  # fmt: skip
    names = list(found)
    return {names[i]: found[names[i]] for i in np.random.default_rng(0).permutation(len(names))}


def probed(settings: Pretraining, weights: dict | None, train, test) -> tuple[int, np.ndarray]:
    """Right answers of the probe on z over the test pictures, and their z (n, m); weights None: before training."""
    from dynlab.images.worth.probe import linear_probe
    from dynlab.images.worth.representations import features_of, networks_of

    networks = networks_of(settings, train.pictures, layers)
    if weights is not None:
        networks.load(weights)
    inside, outside = (features_of(networks, images.pictures, settings)[1] for images in (train, test))
    NotFinite.check("z", inside, outside)
    return linear_probe(inside, train.labels, outside, test.labels, strengths=(1e-3, 1e-1, 10.0)).correct, outside


def followed(settings: Pretraining, train) -> tuple[dict[str, np.ndarray], dict | None]:
    """Train: what is recorded, and the weights at the end (None where they are not finite)."""
    from dynlab.images.training.train import Trainer

    trainer = Trainer(settings, train, layers)
    steps, z, head, loss = [], [], [], []
    for step in range(settings.steps or STEPS):
        trainer.step(step)
        if (step + 1) % EVERY == 0 or step == 0:
            steps.append(step + 1)
            z.append(np.array(trainer.z))
            matrix = getattr(trainer.head, "matrix", None)
            head.append(np.full((0, 0), 0.0) if matrix is None else np.array(matrix))
            loss.append(trainer.objective.loss())
    try:
        weights = trainer.weights()
    except NotFinite:
        weights = None
    return {"step": np.array(steps), "z": np.array(z), "head": np.array(head), "loss": np.array(loss)}, weights


def train(place: Path, data: Path, seconds: float, backwards: bool = False) -> None:
    """Make what is not there yet; backwards: the last ones first, as a second process may."""
    began, pictures, before = time.monotonic(), {}, {}
    place.mkdir(parents=True, exist_ok=True)
    for name, settings in reversed(runs().items()) if backwards else runs().items():
        path = place / f"{name}.npz"
        if path.exists() or time.monotonic() - began > seconds:
            continue
        started = time.monotonic()
        if settings.dataset not in pictures:
            whole, test = (datasets.load(settings.dataset, data, split) for split in ("train", "test"))
            part = datasets.ImageSet(whole.pictures[:LIMIT], np.asarray(whole.labels)[:LIMIT], whole.name, whole.classes)
            pictures[settings.dataset] = part, test
        some, test = pictures[settings.dataset]
        known = place / f"random_{settings.dataset}_{settings.seed}.json"
        if not known.exists():
            count, z = probed(settings, None, some, test)
            np.save(known.with_suffix(".npy"), z[:KEPT])
            known.write_text(json.dumps(count), encoding="utf-8")
        before[name] = json.loads(known.read_text(encoding="utf-8"))
        with np.errstate(all="ignore"):
            record, weights = followed(settings, some)
        fate: dict[str, Any] = {"random": before[name], "probe": None, "total": len(test)}
        try:
            if weights is not None:
                fate["probe"], outside = probed(settings, weights, some, test)
                record |= {"test": outside[:KEPT], "labels": np.asarray(test.labels)[:KEPT]}
        except NotFinite:
            pass
        partial = path.with_name(f".{path.name}.partial")
        with open(partial, "wb") as file:
            kept: dict[str, Any] = {"fate": np.array(json.dumps(fate)), "settings": np.array(json.dumps(settings.plain()))}
            np.savez(file, **(kept | record))
        partial.replace(path)
        print(f"{name}: {fate['probe']} of {fate['total']}, random {fate['random']}, {time.monotonic() - started:.0f} s",
              flush=True)  # fmt: skip


def judged(path: Path) -> dict[str, Any]:
    """One run: its fate, the verdict on z of test pictures, the monitor's warning, where the rank fell below 2 for good."""
    from dynlab.embeddings.forecast import on_the_way
    from dynlab.embeddings.monitor import measure

    with np.load(path) as file:
        held = {name: file[name] for name in file.files}
    fate, settings = (json.loads(str(held[name])) for name in ("fate", "settings"))
    finite = bool(np.isfinite(held["z"][-1]).all()) and fate["probe"] is not None
    steps, lines, warned = [int(step) for step in held["step"]], [], None
    for step, z, head in zip(steps, held["z"], held["head"], strict=True):
        found = measure(z, head if head.size else None)
        lines.append({"step": step} | found)
        if warned is None and (found["verdict"] == "diverged" or on_the_way(lines)):
            warned = step
    poor = [line["rank"] < FEW for line in lines]
    alive = [i for i, bad in enumerate(poor) if not bad]
    fell = steps[(alive[-1] + 1) if alive else 0] if poor[-1] else None
    verdict = dynlab.diagnose(held["test"]).verdict if finite else "diverged"
    near = None
    if finite:
        before = np.load(path.with_name(f"random_{settings['dataset']}_{settings['seed']}.npy"))
        near = [neighbours_right(z, held["labels"]) for z in (held["test"], before)]
    return {
        "name": path.stem,
        "settings": settings,
        "verdict": verdict,
        "warned": warned,
        "fell": fell,
        "near": near,
        **fate,
    }


def neighbours_right(z: np.ndarray, labels: np.ndarray) -> int:
    """How many rows the vote of their nearest others, by cosine, puts into their own class; of equal votes the first."""
    long = np.linalg.norm(z.astype(np.float64), axis=1, keepdims=True)
    unit = z / np.where(long > 0.0, long, 1.0)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -np.inf)
    nearest = np.argpartition(-alike, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
    votes = np.zeros((len(z), int(labels.max()) + 1), np.int64)
    np.add.at(votes, (np.arange(len(z))[:, None], labels[nearest]), 1)
    return int((votes.argmax(1) == labels).sum())


def sure(one: dict[str, Any]) -> int:
    """1 where the probe on z is above the random encoder's beyond chance (95 %), -1 where it is below, 0 between."""
    return beyond_chance(one["probe"], one["random"], one["total"])


def beyond_chance(right: int, other: int, n: int) -> int:
    """1 where the first of two counts of n is larger beyond chance (95 %), -1 where it is smaller, 0 between."""
    p, q = right / n, other / n
    error = Z95 * np.sqrt((p * (1 - p) + q * (1 - q)) / n)
    return int(p - q > error) - int(p - q < -error)


def share(count: int, total: int) -> str:
    """A count with Wilson's interval."""
    low, high = wilson(count, total)
    return f"{count} of {total} ({100 * low:.0f} to {100 * high:.0f} %)"


def table(rows: list[dict[str, Any]]) -> list[str]:
    """What verdicts and warnings were worth, as Markdown."""
    known = [one for one in rows if one["verdict"] != "diverged"]
    below, above, between = (sum(sure(one) == which for one in known) for which in (-1, 1, 0))
    out = [
        f"{len(rows)} runs of {len(runs())} planned, {len(rows) - len(known)} of them diverged. Collapsed by the probe: "
        f"{sum(one['probe'] <= one['random'] for one in known)}, surely so {below}; surely better than "
        f"before training: {above}; between: {between}.", "",
        "| verdict at the end | runs | probe on z not above the random encoder's | surely below | surely above | between "
        "| kNN on z not above | surely below | surely above |",
        "|---|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for verdict in ("collapsed", "one direction", "unclear", "healthy"):
        some = [one for one in known if one["verdict"] == verdict]
        if some:
            counts: list[object] = [sum(sure(one) == which for one in some) for which in (-1, 1, 0)]
            fate = sum(one["probe"] <= one["random"] for one in some)
            pairs = [one["near"] for one in some]
            near = [beyond_chance(after, before, KEPT) for after, before in pairs]
            low = sum(after <= before for after, before in pairs)
            counts += [share(low, len(some)), near.count(-1), near.count(1)]
            out.append(f"| {verdict} | {len(some)} | {share(fate, len(some))} | " + " | ".join(map(str, counts)) + " |")
    return [*out, "", *warnings_table(rows)]


def warnings_table(rows: list[dict[str, Any]]) -> list[str]:
    """What the monitor's warning was worth, on all runs and on those that its rule was not chosen by."""
    names = list(runs())
    used = {*names[: CHOSEN_BY[0]], *names[-CHOSEN_BY[1] :]}
    columns = [warning_cells(rows), warning_cells([one for one in rows if one["name"] not in used])]
    words = (
        "runs whose rank fell below 2 for good: warned", "of these, before it fell",
        "lead: steps from the warning to the fall, median (quartiles; least, most)",
        "runs whose rank did not: warned all the same, false alarms",
    )  # fmt: skip
    head = f"| warning of the monitor, a record every {EVERY} steps | all runs | those that its rule was not chosen by |"
    return [head, "|---|---|---|", *(f"| {word} | {one} | {two} |" for word, one, two in zip(words, *columns, strict=True))]


def warning_cells(rows: list[dict[str, Any]]) -> list[str]:
    """A column of that table."""
    fell = [one for one in rows if one["fell"] is not None]
    stood = [one for one in rows if one["fell"] is None and one["verdict"] != "diverged"]
    leads = [one["fell"] - one["warned"] for one in fell if one["warned"] is not None]
    spread = np.percentile(leads, (0, 25, 50, 75, 100)) if leads else [np.nan] * 5
    least, low, middle, high, most = (f"{x:.0f}" for x in spread)
    return [
        share(len(leads), len(fell)), share(sum(x > 0 for x in leads), len(leads)),
        f"{middle} ({low}, {high}; {least}, {most})" if leads else "no run yet",
        share(sum(one["warned"] is not None for one in stood), len(stood)),
    ]  # fmt: skip


def judge(place: Path, write: bool) -> None:
    """Print the table, and put it on its page."""
    rows = [judged(path) for path in sorted(place.glob("*.npz"))]
    lines = table(rows)
    print("\n".join(lines))
    for one in rows:
        print(one["name"], one["verdict"], one["probe"], one["random"], "fell", one["fell"], "warned", one["warned"])
    if write:
        page_table.write(PAGE, "\n".join(lines), BEGIN, END)


def parser(program: str, description: str | None) -> argparse.ArgumentParser:
    """The words that two programs have in common, which train runs and judge what is said of them."""
    p = argparse.ArgumentParser(prog=program, description=description, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("part", choices=("train", "judge"))
    p.add_argument("--data", type=Path, default=Path("data"))
    p.add_argument("--seconds", type=float, default=float("inf"))
    p.add_argument("--backwards", action="store_true", help="from the last run on, beside another process")
    p.add_argument("--write", action="store_true", help="put the table on its page")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    p = parser("benchmarks.fates", __doc__)
    p.add_argument("place", type=Path)
    given = p.parse_args(argv)
    if given.part == "train":
        train(given.place, given.data, given.seconds, given.backwards)
    else:
        judge(given.place, given.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
