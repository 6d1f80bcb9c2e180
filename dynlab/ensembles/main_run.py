"""The main run: ensembles with and without the head, and one start that is followed in time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dynlab.machine.device import Device
from dynlab.population.flow_device import of_flow
from dynlab.settings.model import Model
from dynlab.settings.optimisation import Optimisation
from dynlab.settings.training import Training
from dynlab.tools.files import expanded

if TYPE_CHECKING:
    from dynlab.ensembles.ensemble import Ensemble
    from dynlab.population.order_parameters import OrderParameters
    from dynlab.population.trajectory import Trajectory


@dataclass(frozen=True)
class Settings:
    """The settings of a main run, checked."""

    models: tuple[Model, ...]  # one an activation, alike otherwise
    dim: int
    seeds: int
    seed: int
    training: Training
    until: float | None
    method: str
    eta: float  # learning rate of descent
    optimisation: Optimisation
    rtol: float
    threads: int
    device: Device
    out: str | None
    plots: bool
    quiet: bool
    parquet: bool = False

    @property
    def trainings(self) -> dict[str, Training]:
        """`trainings` of the one asked for."""
        return trainings(self.training)

    @property
    def place(self) -> Path:
        """Where the run folder goes; without --out a name that tells the main settings."""
        if self.out is not None:
            return expanded(self.out)
        model = self.models[0]
        activations = "+".join(model.activation for model in self.models)
        return Path("runs") / f"{activations}-strong{model.strong:g}-weak{model.weak:g}-dim{self.dim:g}"


@dataclass(frozen=True)
class ActivationRuns:
    """What was computed for one activation: by head, the ensemble and the trajectory of one common start."""

    model: Model
    ensembles: dict[str, Ensemble]
    trajectories: dict[str, Trajectory]
    seed: int  # of that start


def trainings(training: Training) -> dict[str, Training]:
    """The trainings that a run compares, by head: the one asked for, and the same without head."""
    return {head: dataclasses.replace(training, head=head) for head in dict.fromkeys((training.head, "none"))}


def device_for(device: str, models: Iterable[Model], training: Training, method: str) -> Device:
    """Where all ensembles of a run are to be computed."""
    return of_flow(device, [(model, one) for model in models for one in trainings(training).values()], method)


def compute_main_run(settings: Settings) -> list[ActivationRuns]:
    """All ensembles, then for each activation a representative start followed with and without the head."""
    from dynlab.machine.warm import compiling
    from dynlab.tools.progress import progress

    heads = tuple(settings.trainings)
    jobs = [(model, head) for model in settings.models for head in heads]
    ensembles = {}
    names = [model.activation for model in settings.models]
    with compiling(names, settings.quiet), progress(len(jobs) * settings.seeds, "trajectories", settings.quiet) as show:
        for before, job in enumerate(jobs):
            ensembles[job] = ensemble_asked(settings, *job, _from(before * settings.seeds, show))
    by_model = {model: {head: ensembles[model, head] for head in heads} for model in settings.models}
    return [_result(settings, model, by_head) for model, by_head in by_model.items()]


def representative(ensembles: dict[str, Ensemble]) -> int:
    """Row of the start to show: the first with the outcome that most starts have with the head.

    Of those the first that learns only the strong feature without the head, where there is one. A start that
    failed is shown only where all did.
    """
    compared = [ensemble.frame["outcome"] for ensemble in ensembles.values()]
    with_head, without = compared[0], compared[-1]
    counts = with_head[with_head != "failed"].value_counts()
    usual = with_head == (counts.idxmax() if len(counts) else "failed")
    collapsing = usual & (without == "only_strong")
    return int((collapsing if collapsing.any() else usual).to_numpy().argmax())


def ensemble_asked(settings: Settings, model: Model, head: str, show: Callable[[int], None] | None = None) -> Ensemble:
    """The ensemble of one model and head of a run; show: called with the number of starts done so far."""
    from dynlab.ensembles.ensemble import ensemble

    return ensemble(
        model,
        dim=settings.dim,
        seeds=settings.seeds,
        seed=settings.seed,
        training=settings.trainings[head],
        until=settings.until,
        method=settings.method,
        rtol=settings.rtol,
        eta=settings.eta,
        optimisation=settings.optimisation if settings.method == "descent" else None,
        threads=settings.threads,
        device=settings.device,
        progress=show,
    )


def _result(settings: Settings, model: Model, ensembles: dict[str, Ensemble]) -> ActivationRuns:
    from dynlab.population.starts import draw_start

    row = representative(ensembles)
    start = draw_start(model, settings.dim, settings.seed, row, settings.training.start_scale)
    trajectories = {head: _followed(settings, model, head, start, row) for head in ensembles}
    return ActivationRuns(model, ensembles, trajectories, int(next(iter(ensembles.values())).frame["seed"].iloc[row]))


def _followed(settings: Settings, model: Model, head: str, start: OrderParameters, row: int) -> Trajectory:
    """The trajectory of start number `row` with one head."""
    from dynlab.population.simulate import simulate, simulate_by

    training, until, eta = settings.trainings[head], settings.until, settings.eta
    if settings.method == "descent" and not settings.optimisation.is_plain:
        frame = settings.dim, settings.seed, row
        return simulate_by(settings.optimisation, model, training, start, until, eta=eta, steps=None, frame=frame)
    return simulate(model, start, training=training, until=until, method=settings.method, rtol=settings.rtol, eta=eta)


def _from(before: int, show: Callable[[int], None]) -> Callable[[int], None]:
    return lambda done: show(before + done)
