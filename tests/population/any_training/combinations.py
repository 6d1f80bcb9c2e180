"""Random combinations of switches with states to evaluate them at, drawn by hypothesis or from a seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np
from mpmath import mpf

from dynlab.settings.training import Training
from tests.oracles import exact
from tests.oracles import switches as oracle
from tests.strategies import a_model, magnitude, ordinary_row

ULP = 2.0**-52
RELATIVE, MOVEMENTS, PERTURBATIONS = 1e-11, 4, 8


@dataclass(frozen=True)
class Case:
    """Where a gradient is evaluated."""

    model: object
    training: Training
    weights: np.ndarray
    head: np.ndarray | None
    target_weights: np.ndarray | None

    def __repr__(self):
        """All of it, to be typed again; models and trainings show themselves shortly."""
        states = [None if part is None else part.tolist() for part in (self.weights, self.head, self.target_weights)]
        return f"Case(Model(**{asdict(self.model)}), Training(**{asdict(self.training)}), *{states})"

    def arguments(self):
        return self.model, self.training, self.weights, self.head, self.target_weights


def a_training(draws, m: int, noiseless: bool) -> Training:
    """Any valid training; unit length only where there is no noise."""
    objective = draws.choice(("similarity", "similarity", "similarity", "barlow-twins", "vicreg"))
    settings = {
        "objective": objective,
        "weight_decay": draws.choice((0.0, magnitude(draws, 1e-4, 1))),
        "decorrelation": draws.choice((0.0, 0.0, magnitude(draws, 1e-2, 10))) if m > 1 else 0.0,
        "barlow_weight": magnitude(draws, 1e-3, 1),
        "vicreg_weights": tuple(magnitude(draws, 0.1, 30) for _ in range(3)),
    }
    if objective != "similarity":
        return Training(head="none", stop_gradient="none", **settings)
    lengths = ("length", "length") if noiseless else ()
    head = draws.choice(("none", "off-diagonal", "linear", "symmetric", "directpred", "directcopy", "fixed"))
    settings["head"] = head
    if head == "fixed":
        settings["head_matrix"] = tuple(tuple(row) for row in any_head(draws, "linear", m).tolist())
    settings["normalisation"] = draws.choice(("batch", "scale", "none", *lengths))
    settings["target"] = draws.choice(("same", "same", "average"))
    stops = ("target",) if settings["target"] == "average" else ("target", "online", "none")
    settings["stop_gradient"] = draws.choice(stops)
    settings["head_decay"] = draws.choice((0.0, magnitude(draws, 1e-4, 1)))
    settings["directpred_eps"] = magnitude(draws, 1e-2, 1)
    return Training(**settings)


def any_head(draws, rule: str, m: int) -> np.ndarray:
    """A head that the rule can reach."""
    head = np.eye(m)
    for j in range(m):
        for r in range(m):
            if j != r or rule != "off-diagonal":
                head[j, r] += draws.uniform(-0.8, 0.8) if j != r else draws.uniform(-0.3, 0.3)
    return (head + head.T) / 2 if rule == "symmetric" else head


def a_case(draws) -> Case:
    """A combination, a model with m <= 4 and K <= 4, weights of order one, a head that the rule can reach."""
    model = a_model(draws, edges=False, max_patches=12)
    if draws.integer(0, 3) == 0:
        model = replace(model, noise=0.0)
    training = a_training(draws, model.neurons, model.noise == 0.0)
    d = model.features + model.neurons + draws.integer(0, 1)
    weights = np.array([ordinary_row(draws, d) for _ in range(model.neurons)])
    behind = np.array([ordinary_row(draws, d) for _ in range(model.neurons)]) * 0.3 + weights
    trained = training.head in ("off-diagonal", "linear", "symmetric")
    head = any_head(draws, training.head, model.neurons) if trained else None
    return Case(model, training, weights, head, behind if training.target == "average" else None)


def components(gradient) -> dict:
    """Loss and gradient as named numbers."""
    loss, d_weights, d_head = gradient
    named = {"loss": loss}
    named |= {f"dW[{j},{i}]": d_weights[j][i] for j in range(len(d_weights)) for i in range(len(d_weights[j]))}
    return named | {f"dE[{j},{r}]": d_head[j][r] for j in range(len(d_head)) for r in range(len(d_head))}


def reference(case) -> dict:
    head = case.head
    if case.training.head == "fixed":
        head = np.array(case.training.head_matrix)
    return components(oracle.training_gradient(case.model, case.training, case.weights, head, case.target_weights))


def moved(array, rng):
    """Every entry an ulp up or down, exactly; kept symmetric if it is, and its ones kept."""
    if array is None:
        return None
    signs = rng.choice((-1, 1), size=np.shape(array))
    with exact.precision():
        return [[mpf(float(x)) * (1 + int(s) * mpf(ULP)) for x, s in zip(*rows, strict=True)]
                for rows in zip(array, signs, strict=True)]  # fmt: skip


def movement(case, right, seed=0) -> dict:
    """How far each component moves when the inputs move by an ulp: the furthest of a few."""
    rng, largest = np.random.default_rng(seed), {}
    head = np.array(case.training.head_matrix) if case.training.head == "fixed" else case.head
    for _ in range(PERTURBATIONS):
        found = components(
            oracle.training_gradient(
                case.model, case.training, moved(case.weights, rng), moved(head, rng), moved(case.target_weights, rng)
            )
        )
        for name, value in found.items():
            largest[name] = max(largest.get(name, mpf(0)), abs(value - right[name]))
    return largest


def against_exact(candidate, case) -> None:
    """Every component within 1e-11 of itself, or within 4 times what an ulp of the inputs moves it; zeros to 1e-28."""
    found = components(candidate(*case.arguments()))
    right = reference(case)
    error = {name: abs(mpf(float(found[name])) - right[name]) for name in found}
    # What vanishes identically may be left with the rounding of numbers of 32 digits.
    floor = mpf(10) ** -28 * max(1, *(abs(value) for value in right.values()))
    missed = [name for name in found if error[name] > max(RELATIVE * abs(right[name]), floor)]
    if missed:
        rounding = movement(case, right)
        wrong = [name for name in missed if not error[name] <= MOVEMENTS * rounding[name]]
        lines = [
            f"{name}: {float(found[name])!r}, not {float(right[name])!r}; movement {float(rounding[name]):.2e}"
            for name in wrong
        ]
        assert not wrong, "\n".join([*lines, repr(case)])
