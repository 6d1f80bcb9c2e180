"""Claim 9: identities that hold exactly, in every finite dimension: conservation, scale invariance, symmetries."""

from __future__ import annotations

import numpy as np

from dynlab.claims.claim import Curve, Finding, Panel, Record, Runs, Scale, ScanPoint, median_curve, within
from dynlab.claims.first_feature import main_scan
from dynlab.population.gradient import population_gradient
from dynlab.population.pair.phases import failed
from dynlab.settings.model import ACTIVATION_NAMES, Model

NUMBER, NAME = 9, "exact identities"
STATES = 100  # random states an activation
ROUNDING = 1e-9  # allowed for identities of the gradient, relative to its size
DRIFT = 1e-4  # allowed for the conserved quantities along a flow of relative accuracy 1e-6
DEGREES = {"relu": 1, "linear": 1, "cubic": 3, "relu3": 3}


def points(scale: Scale) -> list[ScanPoint]:
    """The main scan: its drifts are measured."""
    return main_scan(scale)


def random_states(activation: str, seed: int):
    """`STATES` models with states of order one: (model, weights (2, 5), head (2, 2))."""
    rng = np.random.default_rng((seed, ACTIVATION_NAMES.index(activation)))
    for _ in range(STATES):
        model = Model(
            weak=rng.uniform(0.1, 1.0),
            noise=rng.uniform(0.2, 1.0),
            activation=activation,
            mask=str(rng.choice(["half", "independent"])),
        )
        head = np.eye(2)
        head[0, 1], head[1, 0] = rng.normal(size=2)
        yield model, rng.normal(size=(2, 5)), head


def euler(model, weights, head) -> float:
    """<w_1, dL/dw_1>/q - E_21 dL/dE_21 + E_12 dL/dE_12, relative to its terms."""
    _, slope, head_slope = population_gradient(model, weights, head)
    left = weights[0] @ slope[0] / DEGREES[model.activation]
    terms = head[1, 0] * head_slope[1, 0], -head[0, 1] * head_slope[0, 1]
    size = np.abs(weights[0] * slope[0]).sum() + sum(abs(term) for term in terms)
    return abs(left - sum(terms)) / size


def rescaling(model, weights, head) -> float:
    """Change of the loss when w_1 is doubled and the head follows."""
    factor = 2.0 ** DEGREES[model.activation]
    scaled = head * [[1.0, 1.0], [1.0 / factor, 1.0]] * [[1.0, factor], [1.0, 1.0]]
    return _difference(model, (weights * [[2.0], [1.0]], scaled), (weights, head))


def swapped(model, weights, head) -> float:
    """Change of the gradient when the neurons change names."""
    return _equivariance(model, weights, head, lambda w: w[::-1], lambda e: e[::-1, ::-1])


def flipped(model, weights, head) -> float:
    """Change of the gradient when w_1 changes sign (odd activations), or v_1 does (the others)."""
    if model.activation in ("cubic", "linear"):
        signs = np.array([-1.0, 1.0])
        return _equivariance(model, weights, head, lambda w: w * signs[:, None], lambda e: e * np.outer(signs, signs))
    mirror = np.array([-1.0, 1.0, 1.0, 1.0, 1.0])
    return _equivariance(model, weights, head, lambda w: w * mirror, lambda e: e)


def rotated(model, weights, head) -> float:
    """Change of the gradient when the noise space turns."""
    turn = np.eye(weights.shape[1])
    c, s = np.cos(1.0), np.sin(1.0)
    turn[2:4, 2:4] = [[c, -s], [s, c]]
    return _equivariance(model, weights, head, lambda w: w @ turn, lambda e: e)


def features_permuted(model, weights, head) -> float:
    """Change of the gradient when features of equal strength change names."""
    equal = Model(activation=model.activation, noise=model.noise, mask=model.mask, strong=1.0, weak=1.0)
    order = [1, 0, 2, 3, 4]
    return _equivariance(equal, weights, head, lambda w: w[:, order], lambda e: e)


CHECKS = {
    "Euler's identity": euler,
    "scale invariance": rescaling,
    "swapped neurons": swapped,
    "flipped signs": flipped,
    "rotated noise": rotated,
    "permuted features": features_permuted,
}


def judge(scale: Scale, runs: Runs) -> Finding:
    """Conservation along trajectories; scale invariance and the symmetries at random states, to rounding."""
    drifts = [runs[p].frame["drift"].to_numpy()[~failed(runs[p])] for p in main_scan(scale)]
    worst = max(float(drift.max()) for drift in drifts)
    middle = float(np.median(np.concatenate(drifts)))
    records = [
        Record(
            9,
            "conservation laws",
            "|w_j|^2/q + (E_j.^2 - E_.j^2)/r along the flow: largest relative drift of all trajectories (low: the median)",
            0.0,
            worst,
            middle,
            worst,
            within(worst, worst, most=DRIFT),
        )
    ]
    for name, check in CHECKS.items():
        errors = [check(*state) for activation in ACTIVATION_NAMES for state in random_states(activation, scale.seed)]
        records.append(
            Record(
                9,
                name,
                f"largest relative error of {len(errors)} random states, all activations",
                0.0,
                max(errors),
                min(errors),
                max(errors),
                within(max(errors), max(errors), most=ROUNDING),
            )
        )
    dims = list(scale.dims)
    curves = [median_curve("drift, median", dims, drifts), Curve("drift, worst", dims, [float(d.max()) for d in drifts])]
    return Finding(records, Panel("conservation along the flow", "dimension d", "relative drift", curves))


def _difference(model, one, other) -> float:
    return abs(population_gradient(model, *one)[0] - population_gradient(model, *other)[0])


def _equivariance(model, weights, head, on_weights, on_head) -> float:
    loss, slope, head_slope = population_gradient(model, weights, head)
    moved = population_gradient(model, on_weights(weights).copy(), on_head(head).copy())
    size = np.abs(slope).max() + np.abs(head_slope).max()
    off = max(np.abs(moved[1] - on_weights(slope)).max(), np.abs(moved[2] - on_head(head_slope)).max())
    return max(abs(moved[0] - loss), float(off / size))
