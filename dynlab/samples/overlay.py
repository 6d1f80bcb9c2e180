r"""Minibatch runs beside the exact descent from the same start, and how far apart they are.

**Distance** of a run: the root of the mean over its recorded times of |x - x_exact|^2, x all order parameters (signals,
the upper triangle of the noise Gram matrix, the head's entries off the diagonal, the readout's where there are hidden units
and it is in use). A step adds noise of variance
O(eta^2/batch) to x, so that after a time t the distance is O(sqrt(eta t/batch)): it falls as batch^(-1/2), as long as it
stays small. What falls as 1/batch comes on top at small batches: the bias of the gradient, and the norm that the noise
adds to the weights, eta t d/batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynlab.population.order_parameters import OrderParameters, own_units
from dynlab.population.simulate import simulate, simulate_by
from dynlab.population.trajectory import Trajectory
from dynlab.samples.train import follow
from dynlab.settings.optimisation import Optimisation
from dynlab.settings.training import Training
from dynlab.tools import plots, show
from dynlab.tools.checks import SettingError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RESAMPLED = 400  # bootstrap draws for the error of an exponent


@dataclass(frozen=True, eq=False)
class Overlay:
    """exact: the descent of the theory (None where it has no closed form); runs: for each batch size, a run a seed."""

    exact: Trajectory | None
    runs: dict[int, list[Trajectory]]

    def __repr__(self) -> str:
        counts = [f"{len(runs)} runs of batches of {batch}" for batch, runs in self.runs.items()]
        return show.line("Overlay", [f"theory: {'none' if self.exact is None else self.exact.status}", *counts])

    def _repr_html_(self) -> str:
        """The distance of each run from the theory."""
        rows = [(str(batch), i, one) for batch, some in self.distances().items() for i, one in enumerate(some)]
        return show.table(rows, ("batch", "run", "distance from the theory"), repr(self))

    def plot(self) -> Figure:
        """Signals and head entries of the smallest batch over the theory; a matplotlib Figure that belongs to no window."""
        return plots.figure(self)

    def distances(self) -> dict[int, np.ndarray]:
        """For each batch size the distance (seeds,) of its runs from the theory; nan where there is none."""
        if self.exact is None:
            return {batch: np.full(len(runs), np.nan) for batch, runs in self.runs.items()}
        return {batch: np.array([distance(run, self.exact) for run in runs]) for batch, runs in self.runs.items()}


def overlay(
    model, training: Training, start: OrderParameters, batches, seeds: int, *, eta, steps, told=None, **options
) -> Overlay:
    """Runs for every batch size in `batches` and for `seeds` seeds 0, 1, ... from one start, and the exact descent.

    told(batch, seed) gives further options of `follow` for one run, such as its checkpoints. Other arguments: `follow`'s.
    """
    runs: dict[int, list[Trajectory]] = {}
    for batch in batches:
        runs[batch] = []
        for seed in range(seeds):
            more = options | (told(batch, seed) if told else {})
            runs[batch].append(follow(model, training, start, eta=eta, steps=steps, batch=batch, seed=seed, **more))
    return Overlay(exact_descent_of(model, training, start, options | {"eta": eta, "steps": steps}), runs)


def exact_descent_of(model, training, start, options: dict) -> Trajectory | None:
    """`exact_descent` for options of `follow`, of which it takes those that it has, too."""
    alike = {name: options[name] for name in ("eta", "steps", "optimiser", "momentum", "dim") if name in options}
    return exact_descent(model, training, start, **alike)


def exact_descent(model, training, start, eta, steps, optimiser="sgd", momentum=0.9, dim=1000) -> Trajectory | None:
    """The theory's run with the same steps, by Adam in the frame of seed 0; None where it has none, or overflows."""
    try:
        with np.errstate(all="ignore"):
            if optimiser == "sgd":
                run = simulate(model, start, method="descent", eta=eta, steps=steps, training=training)
            else:
                how = Optimisation(optimiser, momentum if optimiser == "momentum" else 0.9)
                run = simulate_by(how, model, training, start, None, eta=eta, steps=steps, frame=(dim, 0, 0))
    except SettingError:
        return None
    return run if run.success else None


def order_parameters(run: Trajectory) -> np.ndarray:
    """(n, ...) all order parameters of a run at its times."""
    upper, off = np.triu_indices(run.model.units), ~np.eye(run.model.neurons, dtype=bool)
    n = len(run.time)
    parts = [run.signal.reshape(n, -1), run.noise_gram[:, upper[0], upper[1]], run.head[:, off]]
    if run.readout is not None:
        parts.append(run.readout[:, own_units(run.model)])
    return np.hstack(parts)


def distance(run: Trajectory, exact: Trajectory) -> float:
    """Root mean square distance of a run from the exact one over the common times; nan for a run that stopped."""
    if not run.success or exact is None:
        return float("nan")
    times, here, there = np.intersect1d(run.time, exact.time, return_indices=True)
    gap = order_parameters(run)[here] - order_parameters(exact)[there]
    return float(np.sqrt((gap**2).sum(1).mean())) if len(times) else float("nan")


def exponent(distances: dict[int, np.ndarray]) -> tuple[float, float]:
    """Slope of log(root mean square distance) against log(batch), and its standard error by resampling the seeds.

    distances: for each batch size (seeds,), as `Overlay.distances` gives them.
    """
    batches = np.log(np.array(list(distances), dtype=np.float64))
    values = [np.asarray(some)[np.isfinite(some)] for some in distances.values()]
    if len(batches) < 2 or not all(len(some) for some in values):
        return float("nan"), float("nan")

    def slope(parts):
        return float(np.polyfit(batches, [0.5 * np.log((part**2).mean()) for part in parts], 1)[0])

    rng = np.random.default_rng(0)
    again = [slope([rng.choice(part, len(part)) for part in values]) for _ in range(RESAMPLED)]
    return slope(values), float(np.std(again))


def band(runs: list[Trajectory], values) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Times, mean, and mean -+ standard deviation over runs of values(run) (n, ...); runs that stopped are left out."""
    good = [run for run in runs if run.success]
    if not good:
        return (np.zeros(0),) * 4
    stacked = np.array([values(run) for run in good])
    middle, spread = stacked.mean(0), stacked.std(0, ddof=1) if len(good) > 1 else np.zeros(stacked.shape[1:])
    return good[0].time, middle, middle - spread, middle + spread
