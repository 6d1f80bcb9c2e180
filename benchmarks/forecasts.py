"""What forecasts of `dynlab.fit_theory` were worth on runs on pictures: the head's peak, its time, collapse.

    python -m benchmarks.forecasts train DIR --data DATA [--seconds S]     train what is not yet there, for about S seconds
    python -m benchmarks.forecasts judge FATES DIR [--write]               the table; FATES as benchmarks.fates left it

`train` leaves a file a run: z of every tenth training batch (T, 2 BATCH, 64), both views, the head's matrix and the loss at
the same steps. Runs: those of `benchmarks.fates` that the theory speaks of (the similarity, heads none, off-diagonal and
linear), of a third seed, and with outputs by batch norm some whose rate follows a cosine, of two seeds.

The rule (phi cubic, `dynlab.embeddings.theory_fit.MODEL`, four records) was chosen by the runs of seed 0 in FATES, and so
was the curve that turns shares of merged pairs into probabilities. All others are judged.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import dynlab
from benchmarks import fates
from benchmarks import table as page_table
from dynlab.embeddings.monitor import measure
from dynlab.images.data import datasets
from dynlab.images.settings import Pretraining
from dynlab.images.verdict import FEW
from dynlab.population.head_matrices import norm_and_asymmetry
from dynlab.settings.training import Training

DRAWS = 1000
FEWEST = 8  # runs of which numbers are told
PAGE = fates.PAGE.with_name("forecasts.md")
BEGIN, END = "<!-- begin forecasts -->", "<!-- end forecasts -->"
FRESH = 2  # the seed of the runs that are like those of `fates`
COSINE_SEEDS = (2, 3)
COSINE_RATES = (1e-3, 3e-3, 1e-2)


def spoken_of(changed: dict[str, Any]) -> bool:
    """Whether the theory has a word on a run with these settings."""
    return "loss" not in changed and changed.get("head") in ("none", "off-diagonal", "linear")


def runs() -> dict[str, Pretraining]:
    """{name: settings} of the runs that are made here, in their order."""
    made = [(changed, FRESH) for changed in fates.choices() if spoken_of(changed)]
    for head in ("off-diagonal", "linear"):
        for rate in COSINE_RATES:
            made += [
                ({"normalisation": "batch", "head": head, "lr": rate, "schedule": "cosine"}, seed) for seed in COSINE_SEEDS
            ]
    found = {}
    for changed, seed in made:
        for dataset in fates.SETS:
            words = [dataset, *(f"{name}-{value}" for name, value in changed.items()), f"seed-{seed}"]
            found["_".join(words)] = Pretraining(
                dataset=dataset, limit=fates.LIMIT, encoder="demo", projector=fates.PROJECTOR, batch=fates.BATCH,
                steps=fates.STEPS, record=fates.EVERY, knn_every=0, seed=seed, **changed,
            )  # fmt: skip
    names = list(found)
    return {names[i]: found[names[i]] for i in np.random.default_rng(0).permutation(len(names))}


def train(place: Path, data: Path, seconds: float, backwards: bool = False) -> None:
    """Make what is not there yet; backwards: the last ones first, as a second process may."""
    began, pictures = time.monotonic(), {}
    place.mkdir(parents=True, exist_ok=True)
    for name, settings in reversed(runs().items()) if backwards else runs().items():
        path = place / f"{name}.npz"
        if path.exists() or time.monotonic() - began > seconds:
            continue
        started = time.monotonic()
        if settings.dataset not in pictures:
            whole = datasets.load(settings.dataset, data, "train")
            part = whole.pictures[: fates.LIMIT], np.asarray(whole.labels)[: fates.LIMIT]
            pictures[settings.dataset] = datasets.ImageSet(*part, whole.name, whole.classes)
        with np.errstate(all="ignore"):
            record, _ = fates.followed(settings, pictures[settings.dataset])
        partial = path.with_name(f".{path.name}.partial")
        kept: dict[str, Any] = {"settings": np.array(json.dumps(settings.plain()))}
        with open(partial, "wb") as file:
            np.savez(file, **(kept | record))
        partial.replace(path)
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)


def foretold(path: Path) -> dict[str, Any] | None:
    """One run and its forecast by the first records; None for a run that the theory has no word on."""
    with np.load(path) as file:
        held = {name: file[name] for name in file.files}
    settings = json.loads(str(held["settings"]))
    if settings["loss"] != "similarity" or settings["head"] not in ("none", "off-diagonal", "linear"):
        return None
    steps = held["step"]
    until = int(steps[-1])
    training = Training(stop_gradient=settings["stop_gradient"])
    fit = dynlab.fit_theory(held["z"], None, held["head"], steps, training=training)
    rates = None
    if settings["schedule"] == "cosine":
        rates = 0.5 * (1.0 + np.cos(np.pi * np.arange(1, until) / until))
    said = fit.forecast(until, rates)
    norms = np.array([norm_and_asymmetry(one)[0] for one in held["head"]])
    ranks = [measure(held["z"][k])["rank"] for k in (fit.used - 1, len(steps) - 1)]
    top = int(norms.argmax())
    return {
        "name": path.stem, "seed": settings["seed"], "rate": settings["lr"], "head": settings["head"] != "none",
        "guarded": settings["head"] != "none" and settings["stop_gradient"] == "target",
        "normalisation": settings["normalisation"], "collapsed": ranks[1] < FEW, "early_rank": ranks[0],
        "peak": float(norms[top]), "peak_step": int(steps[top]), "inside": bool(norms[-1] < 0.99 * norms[top]),
        "half_step": int(steps[(norms >= 0.5 * norms[top]).argmax()]), "early_norm": float(norms[fit.used - 1]),
        "said_peak": said.peak, "said_step": said.peak_step, "said_half": said.half_step, "merged": said.merged,
    }  # fmt: skip


def of(rows: list[dict[str, Any]], name: str) -> np.ndarray:
    """A column."""
    return np.array([one[name] for one in rows], dtype=float)


def correlation(x: np.ndarray, y: np.ndarray) -> float:
    """Spearman's rank correlation, ties sharing their mean rank; nan where one of them does not vary."""
    from scipy.stats import rankdata

    a, b = rankdata(x) - (len(x) + 1) / 2, rankdata(y) - (len(y) + 1) / 2
    size = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / size if size > 0.0 else np.nan


def between(rows: list[dict[str, Any]], number: Callable[[list[dict[str, Any]]], float], digits: int = 2) -> str:
    """A number of the runs, with the middle 95 % of what it is for runs drawn from them with replacement."""
    drawn = np.random.default_rng(0).integers(0, len(rows), (DRAWS, len(rows)))
    spread = np.array([number([rows[i] for i in some]) for some in drawn])
    low, high = np.nanpercentile(spread, (2.5, 97.5))
    return f"{number(rows):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def brier(rows: list[dict[str, Any]], said: np.ndarray | float) -> float:
    """Mean square of probability less outcome."""
    return float(np.square(said - of(rows, "collapsed")).mean())


def scored(said: Callable[[list[dict[str, Any]]], np.ndarray], rows: list[dict[str, Any]]) -> float:
    """The Brier score of a forecast."""
    return brier(rows, said(rows))


def shares_of(rows: list[dict[str, Any]], sign: Callable[[dict[str, Any]], bool]) -> dict[bool, float]:
    """How often runs with and without a sign collapsed, one run of each outcome added (Laplace)."""
    some = {which: [one["collapsed"] for one in rows if sign(one) is which] for which in (True, False)}
    return {which: (sum(found) + 1) / (len(found) + 2) for which, found in some.items()}


def few(one: dict[str, Any]) -> bool:
    """Whether the rank was below 2 at the last record that the forecast has."""
    return bool(one["early_rank"] < FEW)


def guarded(one: dict[str, Any]) -> bool:
    """Whether a head trained behind a stop-gradient: the settings, without any look at z."""
    return bool(one["guarded"])


def curve(chosen: list[dict[str, Any]]) -> tuple[float, float]:
    """Intercept and slope of the log odds by the share of merged pairs, by Newton; a slope of 30 counts as one deviation."""
    x = np.stack([np.ones(len(chosen)), of(chosen, "merged")])
    y, w, prior = of(chosen, "collapsed"), np.zeros(2), np.diag([0.0, 1.0 / 30.0**2])
    for _ in range(100):
        p = 1.0 / (1.0 + np.exp(-(w @ x)))
        w = w - np.linalg.solve((x * (p * (1.0 - p))) @ x.T + prior + 1e-9 * np.eye(2), x @ (p - y) + prior @ w)
    return float(w[0]), float(w[1])


def head_lines(groups: dict[str, list[dict[str, Any]]], chosen: list[dict[str, Any]]) -> list[str]:
    """What forecasts of the head were worth."""
    grown = [one for one in chosen if one["head"] and one["said_peak"] > 0.0]
    factor = float(np.median(of(grown, "peak") / of(grown, "early_norm")))
    out = [
        "| the head, judged runs with one that trains | " + " | ".join(groups) + " |", "|---|" + "---|" * len(groups),
    ]  # fmt: skip
    some = {name: [one for one in rows if one["head"] and one["said_peak"] > 0.0] for name, rows in groups.items()}

    def row(words: str, number: Callable[[list[dict[str, Any]]], float], subset: Callable = bool, digits: int = 2) -> None:
        kept = {name: [one for one in rows if subset(one)] for name, rows in some.items()}
        cells = [between(rows, number, digits) if len(rows) >= FEWEST else "too few" for rows in kept.values()]
        out.append(f"| {words} | " + " | ".join(cells) + " |")

    def off(rows: list[dict[str, Any]], said: np.ndarray) -> float:
        return float(np.median(np.abs(np.log(said / of(rows, "peak")))))

    out.append("| runs | " + " | ".join(str(len(rows)) for rows in some.values()) + " |")
    row("peak: rank correlation, forecast", lambda rows: correlation(of(rows, "said_peak"), of(rows, "peak")))
    row("the same, of the norm at the last record used", lambda rows: correlation(of(rows, "early_norm"), of(rows, "peak")))
    row("the same, of the rate", lambda rows: correlation(of(rows, "rate"), of(rows, "peak")))
    row("peak: median factor off, forecast", lambda rows: float(np.exp(off(rows, of(rows, "said_peak")))))
    row(f"the same, of {factor:.2f} times that norm", lambda rows: float(np.exp(off(rows, factor * of(rows, "early_norm")))))
    row("forecast over peak, median", lambda rows: float(np.median(of(rows, "said_peak") / of(rows, "peak"))))
    row("the same, outputs by batch norm", lambda rows: float(np.median(of(rows, "said_peak") / of(rows, "peak"))), batch)
    row(
        "half of the peak: rank correlation of its step",
        lambda rows: correlation(of(rows, "said_half"), of(rows, "half_step")),
    )
    row("the same, of the rate", lambda rows: -correlation(of(rows, "rate"), of(rows, "half_step")))
    falls = [f"{sum(bool(one['inside']) for one in rows)}" for rows in some.values()]
    out.append("| runs whose norm fell by 1 % from its peak | " + " | ".join(falls) + " |")
    row(
        "peak's step among these: rank correlation",
        lambda rows: correlation(of(rows, "said_step"), of(rows, "peak_step")),
        inside,
    )
    row(
        "forecast over peak's step, median",
        lambda rows: float(np.median(of(rows, "said_step") / of(rows, "peak_step"))),
        inside,
    )
    return out


def batch(one: dict[str, Any]) -> bool:
    """Whether outputs go through batch norm, as in the theory."""
    return bool(one["normalisation"] == "batch")


def inside(one: dict[str, Any]) -> bool:
    """Whether the head's norm fell by a hundredth from its peak."""
    return bool(one["inside"])


def collapse_lines(groups: dict[str, list[dict[str, Any]]], chosen: list[dict[str, Any]]) -> list[str]:
    """What forecasts of collapse were worth."""
    base = (sum(one["collapsed"] for one in chosen) + 1) / (len(chosen) + 2)
    a, b = curve(chosen)
    by_rank, by_settings = shares_of(chosen, few), shares_of(chosen, guarded)
    forecasts: dict[str, Callable[[list[dict[str, Any]]], np.ndarray]] = {
        "the forecast, the share of merged pairs": lambda rows: of(rows, "merged"),
        "a logistic curve of that share": lambda rows: 1.0 / (1.0 + np.exp(-(a + b * of(rows, "merged")))),
        f"trivial: {100 * base:.0f} % for all": lambda rows: np.full(len(rows), base),
        "whether the rank is below 2 at the last record used": lambda rows: np.array([by_rank[few(one)] for one in rows]),
        "whether a head trains behind a stop-gradient": lambda rows: np.array([by_settings[guarded(one)] for one in rows]),
    }
    out = ["| collapse: Brier score, judged runs | " + " | ".join(groups) + " |", "|---|" + "---|" * len(groups)]
    out.append("| runs, of these collapsed | " + " | ".join(
        f"{len(rows)}, {sum(one['collapsed'] for one in rows)}" for rows in groups.values()) + " |")  # fmt: skip
    for words, said in forecasts.items():
        cells = [between(rows, partial(scored, said), 3) for rows in groups.values()]
        out.append(f"| {words} | " + " | ".join(cells) + " |")
    (_, whole), *_ = groups.items()
    out += ["", "| share of merged pairs | runs | mean share | collapsed |", "|---|---|---|---|"]
    for low, high in ((0.0, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 1.01)):
        some = [one for one in whole if low <= one["merged"] < high]
        if some:
            mean = f"{100 * float(of(some, 'merged').mean()):.0f} %"
            count = fates.share(sum(one["collapsed"] for one in some), len(some))
            out.append(f"| {100 * low:.0f} to {100 * min(high, 1.0):.0f} % | {len(some)} | {mean} | {count} |")
    return out


def table(rows: list[dict[str, Any]]) -> list[str]:
    """All of it, as Markdown."""
    chosen = [one for one in rows if one["seed"] == 0]
    judged = [one for one in rows if one["seed"] != 0]
    groups = {"all": judged, "of seeds 2 and 3": [one for one in judged if one["seed"] >= FRESH]}
    first = f"{len(judged)} runs judged, {len(chosen)} that the rule was chosen by (seed 0) left out."
    return [first, "", *head_lines(groups, chosen), "", *collapse_lines(groups, chosen)]


def judge(places: list[Path], write: bool) -> None:
    """Print the table, and put it on its page."""
    found = [foretold(path) for place in places for path in sorted(place.glob("*.npz"))]
    rows = [one for one in found if one is not None]
    lines = table(rows)
    print("\n".join(lines))
    for one in rows:
        print(*(f"{value:.3g}" if isinstance(value, float) else value for value in one.values()))
    if write:
        page_table.write(PAGE, "\n".join(lines), BEGIN, END)


def main(argv: list[str] | None = None) -> int:
    """Run the command."""
    p = fates.parser("benchmarks.forecasts", __doc__)
    p.add_argument("places", type=Path, nargs="+")
    given = p.parse_args(argv)
    if given.part == "train":
        train(given.places[0], given.data, given.seconds, given.backwards)
    else:
        judge(given.places, given.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
