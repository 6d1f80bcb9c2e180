"""What is said while a run goes on: one line at a time, and one when it is on the way to collapse."""

from __future__ import annotations

import numpy as np

from dynlab.population.head_matrices import norm_and_asymmetry
from dynlab.population.hidden.moments import hidden_carried
from dynlab.population.moments import LEARNT, MERGED, correlation_rank, output_rank
from dynlab.population.order_parameters import OrderParameters, signals_of
from dynlab.population.stepping import DOMINANT

WARNING = "every neuron turns to feature"  # what the one line of warning says
LINES = 40  # at most, evenly spaced in log(step)


def line_steps(steps: int) -> set[int]:
    """The steps at which a line is due."""
    return {0, *np.unique(np.geomspace(1, steps, LINES).astype(np.int64)).tolist()}


def batch_rank(moments, columns) -> float:
    """Effective rank of the outputs in these columns: exp of the entropy of their correlation matrix's spectrum, 1 to m."""
    return float(correlation_rank(moments.cov[np.ix_(columns, columns)]))


def cosines(model, weights) -> np.ndarray:
    """(m, K) squared cosines of neurons and features, 0 for a neuron that is 0."""
    size = (weights**2).sum(1, keepdims=True)
    return signals_of(model, weights) ** 2 / np.where(size > 0.0, size, 1.0)


def carried_by_outputs(model, weights, readout) -> np.ndarray:
    """(m, K) shares of the variance of outputs that sum over hidden units, of dense weights (M, d)."""
    noise = weights[:, model.features :]
    with np.errstate(all="ignore"):  # of weights whose powers overflow
        return hidden_carried(model, signals_of(model, weights), noise @ noise.T, readout)


def features_learnt(model, weights, readout) -> np.ndarray:
    """(K,) whether a neuron is aligned with a feature, or with hidden units whether an output carries it."""
    if model.layered:
        return carried_by_outputs(model, weights, readout).max(0) > LEARNT
    return cosines(model, weights).max(0) > DOMINANT


def line(model, layout, step, result, weights, readout) -> str:
    """Loss, rank of the outputs, size and asymmetry of the head, and the largest squared cosine with each feature; with
    hidden units the largest share of an output's variance."""
    norm, asymmetry = norm_and_asymmetry(result.head)
    of_features = carried_by_outputs(model, weights, readout) if model.layered else cosines(model, weights)
    shares = " ".join(f"{share:.3f}" for share in of_features.max(0))
    rank = batch_rank(result.moments, layout.directions[0][0])
    shape = f" (asymmetry {asymmetry:.2f})" if norm > 0.0 else ""
    return (
        f"step {step}: loss {result.loss:.4f}, output rank {rank:.2f} of {model.neurons}, head {norm:.2e}{shape}, "
        f"features {shares}"
    )


def turning(model, weights) -> int | None:
    """The feature that every neuron has turned to, see `dynlab.ensembles.ensemble.common_feature`.

    None with hidden units: their outputs can know a feature by units that point in all directions.
    """
    if model.layered:
        return None
    from dynlab.ensembles.ensemble import common_feature

    state = OrderParameters.from_weights(model, weights)
    return common_feature(model, state.signal, state.noise_gram)


def warning(model, training, settings, step, feature, weights, head) -> str:
    """The line where every neuron turns to one feature: whether that is the way to collapse the exact theory tells."""
    shares = " ".join(f"{share:.2f}" for share in cosines(model, weights)[:, feature])
    collapses, words = expected(model, training, settings, weights, head)
    means = {True: "on the way to collapse", False: "no collapse to come", None: "perhaps on the way to collapse"}[collapses]
    return f"step {step}: {means}: {WARNING} {feature + 1} (squared cosines {shares}); the theory expects from here: {words}"


def expected(model, training, settings, weights, head) -> tuple[bool | None, str]:
    """Whether the exact flow ends collapsed from a state, None where it does not tell; and what it ends with, in words."""
    from dynlab.population.outcomes import outcomes
    from dynlab.population.simulate import simulate
    from dynlab.population.status import remedy

    if not training.is_papers or model.neurons > 3 or model.features > 3 or settings["optimiser"] != "sgd":
        return None, "nothing that is known in closed form for these settings"
    start = OrderParameters.from_weights(model, weights, head)
    run = simulate(model, start, training=training, until=None)
    if not run.success or run.status == "waiting":
        return None, f"no answer ({run.status}: {remedy(run.status)})"
    learnt = outcomes(model, run.signal[-1:], run.noise_gram[-1:], np.array([False]))[0]
    names = {"both": "both features", "only_strong": "the strong feature only", "only_weak": "the weak feature only"}
    rank = float(output_rank(model, run.signal[-1], run.noise_gram[-1]))
    end = f"{names.get(learnt, f'{learnt} features')}, outputs of effective rank {rank:.2f} in the end"
    second = run.events["second"]
    if np.isfinite(second) and second > 0.0:
        end += f", the next feature at step {step_number(settings, second)}"
    return rank < MERGED, end


def step_number(settings, time) -> str:
    """A time of the flow from now, as steps from now."""
    return f"now + {time / settings['eta']:.0f}"
