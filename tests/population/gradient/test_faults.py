"""Every check must be able to fail: faults planted in the gradient, and the checks that must catch them."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest

import dynlab
from dynlab.formulas import masks
from dynlab.settings.activation_records import ACTIVATIONS
from tests.oracles import exact
from tests.population.gradient import checkers
from tests.strategies import SeededDraws, a_state


def correct(model, weights, head):
    return dynlab.population_gradient(model, weights, head)


def from_oracle(**options):
    """A candidate with a fault in the oracle's derivation rather than in its result."""

    def candidate(model, weights, head):
        chosen = {name: value(model) if callable(value) else value for name, value in options.items()}
        loss, d_weights, d_head = exact.population_gradient(model, weights, head, **chosen)
        return float(loss), d_weights.astype(float), d_head.astype(float)

    return candidate


def spoilt(function):
    """A candidate whose result is changed by `function(loss, d_weights, d_head)`."""
    return lambda model, weights, head: function(*correct(model, weights, head))


def counts_without(name):
    return lambda model: exact.count_moments(model.patches, model.feature_patches, model.mask)._replace(**{name: 0})


def changed(array, index, factor):
    array = array.copy()
    array[index] *= factor
    return array


def axis(index, weights):
    unit = np.zeros(weights.shape[1])
    unit[index] = 1.0
    return unit


def overwriting(model, weights, head):
    result = correct(model, weights, head)
    weights *= 2
    return result


def other_mask(model, weights, head):
    law = {"half": "independent", "independent": "half"}[model.mask]
    return correct(replace(model, mask=law), weights, head)


def one_more_patch(model, weights, head):
    return correct(replace(model, feature_patches=model.feature_patches + 1), weights, head)


def noisier(model, weights, head):
    return correct(replace(model, noise=1.1 * model.noise), weights, head)


def first_feature_brighter(model, weights, head):
    return correct(model, weights * (1 + 0.01 * axis(0, weights)), head)


def shifted_noise(model, weights, head):
    return correct(model, weights + 0.01 * axis(-1, weights), head)


def shifted_signal(model, weights, head):
    return correct(model, weights + 0.01 * axis(0, weights), head)


def sign_dependent(model, weights, head):
    loss, d_weights, d_head = correct(model, weights, head)
    return loss * (0.5 if weights[0, 0] < 0 else 1.0), d_weights, d_head


def head_transposed(model, weights, head):
    return correct(model, weights, head.T)


def first_neuron_twice(model, weights, head):
    return correct(model, weights * ([[2.0]] + [[1.0]] * (len(weights) - 1)), head)


def shifted_head(model, weights, head):
    return correct(model, weights, head + 0.01 * (1 - np.eye(len(head))))


FAULTS = {
    "factor 2": spoilt(lambda loss, w, e: (loss, 2 * w, 2 * e)),
    "factor 2 on the weights": spoilt(lambda loss, w, e: (loss, 2 * w, e)),
    "wrong sign": spoilt(lambda loss, w, e: (loss, -w, -e)),
    "wrong sign of the head": spoilt(lambda loss, w, e: (loss, w, -e)),
    "head transposed in the result": spoilt(lambda loss, w, e: (loss, w, e.T)),
    "head transposed": head_transposed,
    "head shifted": shifted_head,
    "head's diagonal trained": spoilt(lambda loss, w, e: (loss, w, e + np.eye(len(e)))),
    "single precision": spoilt(lambda loss, w, e: (np.float32(loss), w.astype(np.float32), e.astype(np.float32))),
    "one component off by 3e-11": spoilt(lambda loss, w, e: (loss, changed(w, (1, 2), 1 + 3e-11), e)),
    "one component off by 1 %": spoilt(lambda loss, w, e: (loss, changed(w, (0, 2), 1.01), e)),
    "a zero that is not": spoilt(lambda loss, w, e: (loss, w + 1e-18 * (w == 0), e)),
    "loss halved": spoilt(lambda loss, w, e: (loss / 2, w, e)),
    "loss of a sum, not a mean": spoilt(lambda loss, w, e: (8 * loss, w, e)),
    "nan": spoilt(lambda loss, w, e: (loss, changed(w, (0, 0), np.nan), e)),
    "no stop-gradient": from_oracle(stop_gradient=False),
    "E[N1 n1] dropped": from_oracle(counts=counts_without("Nn")),
    "E[N1 N2] dropped": from_oracle(counts=counts_without("NxN")),
    "E[n1 n2] dropped": from_oracle(counts=counts_without("nxn")),
    "other mask law": other_mask,
    "one more feature patch": one_more_patch,
    "noisier": noisier,
    "first feature brighter": first_feature_brighter,
    "first neuron twice as long": first_neuron_twice,
    "noise axis preferred": shifted_noise,
    "signal shifted": shifted_signal,
    "loss depends on a sign": sign_dependent,
    "input overwritten": overwriting,
}

CAUGHT = {
    "against_exact": [
        "factor 2",
        "wrong sign",
        "wrong sign of the head",
        "head transposed",
        "head transposed in the result",
        "head shifted",
        "head's diagonal trained",
        "single precision",
        "one component off by 3e-11",
        "nan",
        "no stop-gradient",
        "E[N1 n1] dropped",
        "E[N1 N2] dropped",
        "E[n1 n2] dropped",
        "other mask law",
        "one more feature patch",
        "noisier",
        "loss halved",
    ],
    "against_definition": [
        "factor 2",
        "wrong sign",
        "wrong sign of the head",
        "head transposed",
        "single precision",
        "one component off by 1 %",
        "no stop-gradient",
        "E[N1 n1] dropped",
        "E[N1 N2] dropped",
        "E[n1 n2] dropped",
        "other mask law",
        "one more feature patch",
        "noisier",
        "loss halved",
    ],
    "against_samples": [
        "factor 2",
        "wrong sign",
        "wrong sign of the head",
        "no stop-gradient",
        "E[N1 n1] dropped",
        "E[n1 n2] dropped",
        "other mask law",
        "one more feature patch",
        "noisier",
        "loss halved",
    ],
    "euler_identity": [
        "factor 2 on the weights",
        "wrong sign of the head",
        "head transposed in the result",
        "head shifted",
        "one component off by 1 %",
        "single precision",
    ],
    "rescaling": ["head shifted", "noise axis preferred", "signal shifted"],
    "permutation_of_neurons": ["first neuron twice as long", "one component off by 1 %"],
    "sign_flip": ["head shifted", "noise axis preferred", "loss depends on a sign"],
    "mirror_features": ["signal shifted", "loss depends on a sign"],
    "rotation_of_noise": ["noise axis preferred", "one component off by 1 %"],
    "permutation_of_features": ["first feature brighter", "signal shifted"],
    "bounds": ["loss halved", "loss of a sum, not a mean"],
    "leaves_inputs_alone": ["input overwritten"],
}


def state_for(check: str):
    """A state in general position; relu, so that every moment matters, unless the check needs odd phi."""
    activation = "cubic" if check in ("sign_flip", "bounds") else "relu"
    strengths = (0.8, 0.8) if check == "permutation_of_features" else (1.0, 0.6)
    model = dynlab.Model(strengths=strengths, patches=6, feature_patches=2, activation=activation)
    return a_state(SeededDraws(np.random.default_rng(30)), edges=False, model=model)


def apply(check: str, candidate, state) -> None:
    extra = {
        "against_samples": {"samples": 200_000},
        "rescaling": {"factors": (4.0, 0.5)},
        "permutation_of_neurons": {"order": (1, 0)},
        "sign_flip": {"signs": (-1, 1)},
        "mirror_features": {"signs": (-1, 1)},
        "rotation_of_noise": {"rng": np.random.default_rng(31)},
        "permutation_of_features": {"order": (1, 0)},
    }
    getattr(checkers, check)(candidate, state, **extra.get(check, {}))


@pytest.mark.parametrize("check", CAUGHT)
def test_the_gradient_itself_passes(check):
    apply(check, correct, state_for(check))


@pytest.mark.parametrize(("check", "fault"), [(check, fault) for check, faults in CAUGHT.items() for fault in faults])
def test_fault_is_caught(check, fault):
    with pytest.raises(AssertionError):
        apply(check, FAULTS[fault], state_for(check))


def test_a_component_that_is_not_zero_is_caught():
    """One cubic feature patch: nothing correlates, the gradient is exactly zero."""
    model = dynlab.Model(activation="cubic", feature_patches=1, patches=4)
    state = a_state(SeededDraws(np.random.default_rng(32)), edges=False, model=model)
    checkers.against_exact(correct, state)
    with pytest.raises(AssertionError, match="movement 0"):
        checkers.against_exact(FAULTS["a zero that is not"], state)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_wrong_moments_are_caught(activation):
    right = ACTIVATIONS[activation].moments
    wrong = {
        "mean": lambda *at: (right(*at)[0] + 1e-6, *right(*at)[1:]),
        "angle": lambda noise, norm_1, norm_2, angle: right(noise, norm_1, norm_2, angle + 1e-9),
        "norm": lambda noise, norm_1, norm_2, angle: right(noise, norm_1, norm_2 * (1 + 1e-9), angle),
    }
    for moments in wrong.values():
        with pytest.raises(AssertionError):
            checkers.moments_against_quadrature(moments, activation)
    with pytest.raises(AssertionError):
        checkers.moments_against_exact(wrong["norm"], activation, 0.3)


@pytest.mark.parametrize("mask", ["half", "independent"])
def test_wrong_counts_are_caught(mask):
    for k in range(6):
        if mask == "half" and k == 5:
            continue  # s3 = 0 there: a factor cannot spoil it
        if mask == "independent" and k == 4:
            continue  # s2 = 0 there

        def wrong(*at, k=k):
            counts = list(masks.count_moments(*at))
            counts[k] *= 1 + 1e-9
            return counts

        with pytest.raises(AssertionError):
            checkers.counts_against_enumeration(wrong, 6, 3, mask)


def test_every_check_has_a_fault():
    own = {
        name
        for name, function in inspect.getmembers(checkers, inspect.isfunction)
        if function.__module__ == checkers.__name__ and "candidate" in inspect.signature(function).parameters
    }
    elsewhere = {"moments_against_quadrature", "moments_against_exact", "counts_against_enumeration"}
    assert own == set(CAUGHT) | elsewhere
    planted = {fault for faults in CAUGHT.values() for fault in faults} | {"a zero that is not"}
    assert planted == set(FAULTS)
