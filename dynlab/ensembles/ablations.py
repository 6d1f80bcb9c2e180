"""The list of ablations: what is changed, one thing at a time, from the training of Wen & Li (NeurIPS 2022)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from dynlab.ensembles.ensemble import Ensemble, ensemble
from dynlab.ensembles.ensemble_store import PHYSICS
from dynlab.machine.device import CPU
from dynlab.machine.workers import digest_of_sources, require_same_sources
from dynlab.population.moments import LEARNT, carried
from dynlab.population.scaling import horizon
from dynlab.population.status import SUCCESS
from dynlab.settings.model import Model
from dynlab.settings.training import Training
from dynlab.tools.intervals import wilson
from dynlab.tools.sharing import as_they_end

LONG = 1e4

RATES = (0.001, 0.1, 1.0)
WIDTHS = (1, 3, 4)
LADDERS = (3, 4)
# In units of 1/T_1, the time to the first feature: a decay that is weak, and one that is not.
DECAYS = (0.01, 1.0)
EARLY = 1e-2  # of the horizon of the paper's training
FIRST_FEATURE = 0.031  # T_1/d^2 of the cubic with features on 4 of 16 patches, noise 0.5


@dataclass(frozen=True)
class Ablation:
    """One line of the table: a group, what is changed, and with what it is run."""

    group: str
    name: str
    model: Model
    training: Training


def ablations(model: Model, training: Training, dim: int) -> Iterator[Ablation]:
    """Every ablation of the model and the training, the unchanged one first.

    The ladders of K features have strengths from strong to weak in equal ratios, and as many neurons.
    """
    quadratic = FIRST_FEATURE * float(dim) ** 2
    if model.activation in ("relu", "linear"):
        quadratic = 1e3

    def one(group: str, name: str, model=model, **switches) -> Ablation:
        return Ablation(group, name, model, replace(training, **switches))

    yield one("paper", "off-diagonal head")
    yield one("head", "no head", head="none")
    for head in ("linear", "symmetric", "directpred", "directcopy"):
        yield one("head", head, head=head)
    yield one("normalisation", "scale only", normalisation="scale")
    yield one("normalisation", "none", normalisation="none")
    yield one("stop-gradient", "on the online side", stop_gradient="online")
    yield one("stop-gradient", "on neither side", stop_gradient="none")
    yield one("stop-gradient", "on neither side, no head", stop_gradient="none", head="none")
    yield one("target", "moving average, fast", target="average", target_rate=0.1)
    yield one("target", "moving average, slow", target="average", target_rate=1.0 / quadratic)
    for share in DECAYS:
        yield one("weight decay", f"encoder, {share:g}/T_1", weight_decay=share / quadratic)
    for share in DECAYS:
        yield one("weight decay", f"head, {share:g} of its rate", head_decay=share)
    for rate in RATES:
        yield one("head rate", f"{rate:g}", eta_head=rate)
    yield one("decorrelation", "weight 0.1, no head", decorrelation=0.1, head="none")
    yield one("objective", "Barlow Twins", objective="barlow-twins", head="none", stop_gradient="none")
    yield one("objective", "VICReg", objective="vicreg", head="none", stop_gradient="none")
    for width in WIDTHS:
        yield one("width", f"m = {width}", replace(model, neurons=width))
    for features in LADDERS:
        strengths = tuple(float(x) for x in np.geomspace(model.strong, model.weak, features))
        ladder = replace(model, neurons=features, strengths=strengths)
        yield one("features", f"K = m = {features}", ladder)
        yield one("features", f"K = m = {features}, no head", ladder, head="none")


def early_end(model: Model, dim: float) -> float:
    """The time, 1e4 dim^2 for cubic, at which the table also says who has learnt all features: when is not whether."""
    return EARLY * horizon(model, dim)


def good_and_learnt(run: Ensemble) -> tuple[np.ndarray, np.ndarray]:
    """Which starts did not fail (N,), and which features their outputs carry at the run's end (N, K)."""
    good = run.frame["status"].isin(SUCCESS).to_numpy()
    return good, np.any(carried(run.model, run.ends[0], run.ends[1]) > LEARNT, axis=1)


def row_of(ablation: Ablation, run: Ensemble, early: Ensemble | None = None) -> dict:
    """The line of the table: shares of the seeds by number of features learnt, and medians of the rest.

    learnt_n: share of the seeds with n features learnt; all: with all of them, with Wilson's 95 % interval; strong: with the
    strongest; early: with all of them at the end of the run `early` (None: of the run itself), by the same measure, what the
    outputs carry there; rank: effective rank of the outputs; time_first, time_second: T_1 and T_3
    (`dynlab.population.pair.phases`), of two features; ended: statuses.
    """
    frame = run.frame
    good, learnt = good_and_learnt(run)
    failed, numbers = ~good, learnt.sum(1)
    every = int((good & (numbers == run.model.features)).sum())
    low, high = wilson(every, len(frame))
    row = {"group": ablation.group, "name": ablation.name, "neurons": run.model.neurons, "features": run.model.features}
    row |= {"seeds": len(frame), "all": every / len(frame), "all_low": low, "all_high": high}
    row |= {f"learnt_{n}": float((good & (numbers == n)).mean()) for n in range(run.model.features + 1)}
    row["strong"] = float((good & learnt[:, 0]).mean())
    by_then, soon = good_and_learnt(run if early is None else early)
    row["early"] = float((by_then & soon.all(1)).mean())
    row["failed"] = float(failed.mean())
    row["rank"] = float(frame.loc[good, "rank"].median())
    for name, column in (("loss", "loss_end"), ("head_peak", "head_peak"), ("head_end", "head_end")):
        row[name] = float(frame.loc[good, column].median())
    for name in ("time_first", "time_second"):
        row[name] = float(frame.loc[good, name].median())
    row["ended"] = ", ".join(f"{name} {count}" for name, count in frame["status"].value_counts().items())
    return row


def run_ablation(ablation: Ablation, *, dim: int, seeds: int, seed: int, until, rtol: float, threads, progress) -> Ensemble:
    """The ensemble of one line."""
    return ensemble(
        ablation.model, dim, seeds, seed, training=ablation.training, until=until, rtol=rtol, threads=threads,
        progress=progress, device=CPU,
    )  # fmt: skip


def run_early(ablation: Ablation, run: Ensemble, *, threads) -> Ensemble:
    """The same starts until `early_end`: the run itself where it ends by then."""
    end = early_end(run.model, run.settings["dim"])
    if run.settings["until"] <= end:
        return run
    given = {name: run.settings[name] for name in ("dim", "seeds", "seed", "rtol")}
    return run_ablation(ablation, **given, until=end, threads=threads, progress=None)


def ablation_rows(
    settings: Settings, lines: list[Ablation], pool: Executor | None, show: Callable[[int], object]
) -> list[dict]:
    """The rows of lines, computed here or by the workers of `pool`. show: told how many trajectories are done."""
    given = {name: getattr(settings, name) for name in ("dim", "seeds", "seed", "until", "rtol")}
    if pool is None:

        def from_there(before: int) -> Callable[[int], object]:
            return lambda done: show(before * settings.seeds + done)

        return [row_by(one, settings.threads, from_there(before), **given) for before, one in enumerate(lines)]
    sources, found = digest_of_sources(*PHYSICS, __name__), {}
    for place, row in as_they_end(pool, ((i, row_job, (one, given, sources)) for i, one in enumerate(lines))):
        found[place] = row
        show(len(found) * settings.seeds)
    return [found[place] for place in range(len(lines))]


def row_by(ablation: Ablation, threads: int, progress: Callable[[int], object] | None, **given) -> dict:
    """`row_of` of a line's ensemble. given: dim, seeds, seed, until, rtol."""
    found = run_ablation(ablation, **given, threads=threads, progress=progress)
    return row_of(ablation, found, run_early(ablation, found, threads=threads))


def row_job(ablation: Ablation, given: dict, sources: str) -> dict:
    """What a worker does: `row_by`, on one thread. sources: digest of those that decide it, from the caller."""
    require_same_sources(sources, *PHYSICS, __name__)
    return row_by(ablation, 1, None, **given)


def table(rows: list[dict]) -> pd.DataFrame:
    """All lines; columns that a line does not have are empty."""
    frame = pd.DataFrame(rows)
    learnt = sorted((name for name in frame if name.startswith("learnt_")), key=lambda name: int(name[7:]))
    first = ["group", "name", "neurons", "features", "seeds", "all", "all_low", "all_high"]
    rest = [name for name in frame if name not in (*first, *learnt)]
    return frame[[*first, *learnt, *rest]]


@dataclass(frozen=True)
class Settings:
    """The settings of the command, checked."""

    model: Model
    training: Training
    dim: int
    seeds: int
    seed: int
    until: float
    rtol: float
    groups: tuple[str, ...]
    threads: int
    dask: str | None
    out: str | None
    quiet: bool


def late_end(model: Model, dim: int) -> float:
    """`LONG` times the horizon of the paper's training, 1e10 dim^2 for cubic: symmetric heads, Barlow Twins and a small
    decorrelation learn the second feature up to a million times later than the off-diagonal head."""
    return horizon(model, dim) * (LONG if model.activation in ("cubic", "relu3") else 10.0)
