"""Results of every part that rests on sums, products and decompositions of libraries: `python -m tests.processors.results`.

Printed as JSON {name: {"told": what must be the same on every processor, "numbers": [...], "within": relative to the largest
of them}}. The bounds follow from what is computed, not from what was seen: 1e-13 where a result is one well-conditioned
sum, 1e-9 where it is a root or an eigenvalue, 1e-6 where tolerances of 1e-8 stand between, the fit's own for the probe.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable

import numpy as np


def gradients() -> dict:
    """The exact gradient of every activation, of 8 neurons under a few switches, and what 64 samples say."""
    from dynlab import Model, Training, minibatch_gradient, population_gradient, training_gradient

    rng = np.random.default_rng(0)
    numbers, head = [], np.array([[1.0, 0.1], [0.1, 1.0]])
    for activation in ("cubic", "relu", "relu3", "linear"):
        loss, *parts = population_gradient(Model(activation=activation), rng.normal(size=(2, 6)), head)
        numbers += [loss, *(x for part in parts for x in np.ravel(part))]
    wide = Model(strengths=(1.0, 0.6, 0.3), neurons=8)
    vicreg = Training(objective="vicreg", head="none", stop_gradient="none")
    for training in (Training(), vicreg, Training(head="directpred")):
        loss, *parts = training_gradient(wide, training, rng.normal(size=(8, 20)), None)
        numbers += [loss, *(x for part in parts for x in np.ravel(part))]
    found = minibatch_gradient(Model(), Training(), rng.normal(size=(2, 50)), batch=64)
    return answer([], [*numbers, found[0], *np.ravel(found[1])], 1e-12)


def starts() -> dict:
    """Forty starts with and without head: how each ends, and the times of the first feature."""
    import dynlab

    trainings = [dynlab.Training(head=head) for head in ("none", "off-diagonal")]
    frames = [dynlab.ensemble(dynlab.Model(), 1000, 20, training=training).frame for training in trainings]
    told = [[*frame["outcome"], *frame["status"]] for frame in frames]
    return answer(told, [x for frame in frames for x in frame["time_first"]], 1e-5, frames)


def minibatches() -> dict:
    """Two hundred steps on samples."""
    from dynlab import Model, Training
    from dynlab.population.starts import draw_start
    from dynlab.samples.train import follow

    model = Model()
    run = follow(model, Training(), draw_start(model, 50, 0, 0), dim=50, steps=200, batch=32)
    return answer([run.status], [*np.ravel(run.signal[-1]), *np.ravel(run.noise_gram[-1])], 1e-9)


def fixed_points() -> dict:
    """Kinds and eigenvalues of the points that theory names, and of those that random starts find."""
    from dynlab import Model, Training
    from dynlab.population.any_training import stability
    from dynlab.population.any_training.reduced import Field

    told, numbers = [], []
    for model in (Model(), Model(activation="linear")):
        for training in (Training(), Training(head="none"), Training(head="linear", eta_head=0.5, head_decay=0.1)):
            for share in (0.0, 0.5):
                field = Field(model, training, share)
                for x in stability.end_points(field).values():
                    point = stability.analyse(field, x)
                    told.append([point.end_state, point.stability, point.removed, point.symmetries, point.degenerate])
                    numbers += [point.loss, *np.sort(point.eigenvalues.real)]
        found = stability.fixed_points(model, Training(head="none"), share=0.5, starts=25)
        told.append(sorted([point.end_state, point.stability] for point in found))
    return answer(told, numbers, 1e-9)


def portraits() -> dict:
    """Fixed points of planes: of whole eigenvalues, told by the motion nearby, with an entry that is slaved."""
    from dynlab import Model
    from dynlab.planes.plane import Plane, Side

    told, numbers = [], []
    held = {"w11": 1.0, "w12": 0.0, "E12": 0.0, "s1": 0.0, "s2": 0.3}
    for activation, slaved in (("cubic", ()), ("cubic", ("E21",)), ("linear", ("E21",)), ("relu", ())):
        rest = held if slaved else held | {"E21": 0.3}
        plane = Plane(Model(activation=activation), 0.1, Side("w21", -1.2, 1.2), Side("w22", -1.2, 1.2), rest, slaved)
        points = sorted(plane.fixed_points(), key=lambda point: tuple(np.round(point.place, 6) + 0.0))
        told.append([[point.kind, point.by] for point in points])
        numbers += [x for point in points for x in point.place]
    return answer(told, numbers, 1e-7)


def linear() -> dict:
    """Thresholds, and whether flows of the linear model collapse."""
    from dynlab.linear import laws, modes
    from dynlab.linear.gradient_flow import simulate_linear
    from dynlab.linear.model import LinearModel

    rng = np.random.default_rng(0)
    told, numbers = [], []
    for eta in (0.01, 0.3):
        factors = [rng.standard_normal((4, 4)) for _ in range(2)]
        model = LinearModel(X=factors[0] @ factors[0].T / 4, X_prime=factors[1] @ factors[1].T / 4, eta=eta)
        run = simulate_linear(model, 0.5 * rng.standard_normal((3, 4)), 0.5 * rng.standard_normal((3, 3)), until=50.0)
        size = float(np.linalg.norm(run.final[0]))
        told.append([run.status, size < 1e-3])
        numbers += [modes.collapse_threshold(model), laws.decay_rate(model), size]
    return answer(told, numbers, 1e-5)


def features() -> dict:
    """What is measured of an encoder: spectrum with dead and dependent features, neighbours, probe."""
    from dynlab.images import logistic
    from dynlab.images.worth import accuracy, spectrum
    from dynlab.images.worth.knn import knn
    from dynlab.images.worth.probe import standard

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 3000)
    z = (2.0 * np.eye(5, 12)[labels] + rng.normal(size=(3000, 12))).astype(np.float32)
    z[:, 10], z[:, 11] = 0.1, z[:, 0]
    shape = spectrum.shape(z)
    near = knn(z[:2000], labels[:2000], z[2000:], labels[2000:])
    mean, deviation = standard(z)
    parts = accuracy.standard_blocks(z, labels, np.ones(3000, bool), mean, deviation)
    fit = logistic.fit(parts, 5, 1.0, tolerance=1e-9)
    exact = logistic.blocks(((z - mean) / deviation).astype(float), labels)
    loss, _ = logistic.Logistic(exact, 5, 1.0)(fit.flat)
    told = [shape.dead, sum(x > 0.0 for x in shape.spectrum), near.correct, fit.converged]
    ranks = shape.rank, shape.covariance_rank, shape.singular_rank
    return answer(told, [*ranks, shape.mean_abs_correlation, loss], 1e-6)


def heads() -> dict:
    """Directions of DirectPred and DirectCopy on pictures, of a correlation that has lost its rank."""
    from dynlab.images.networks import head

    rng = np.random.default_rng(0)
    half = rng.normal(size=(16, 5))
    made = [head.head_from_correlation(rule, half @ half.T, 0.1) for rule in ("directpred", "directcopy")]
    return answer([], np.ravel(made), 1e-7)


def registered() -> dict:
    """The moments of an activation that a user brings."""
    from dynlab import Model, population_gradient, register_activation

    register_activation("half_square", lambda z: max(z, 0.0) ** 2, degree=2)
    rng = np.random.default_rng(0)
    loss, *parts = population_gradient(Model(activation="half_square"), rng.normal(size=(2, 6)), np.eye(2))
    return answer([], [loss, *(x for part in parts for x in np.ravel(part))], 1e-11)


PARTS: dict[str, Callable[[], dict]] = {
    part.__name__: part
    for part in (gradients, starts, minibatches, fixed_points, portraits, linear, features, heads, registered)
}


def answer(told: list, numbers, within: float, bits=()) -> dict:
    """One part's results. bits: tables that may not change by a bit with the number of threads."""
    digest = hashlib.sha256("".join(frame.to_csv(float_format="%.17g") for frame in bits).encode()).hexdigest()
    return {"told": told, "numbers": [float(x) for x in numbers], "within": within, "bits": digest if len(bits) else ""}


if __name__ == "__main__":
    json.dump({name: PARTS[name]() for name in sys.argv[1:] or PARTS}, sys.stdout)
