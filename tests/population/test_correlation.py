"""Features that correlate: by hand, against dense weights, as orthonormal ones for linear neurons, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import dynlab
from dynlab import Model, OrderParameters, Training
from dynlab.__main__ import main
from dynlab.population import moments
from dynlab.population.any_training import stability
from dynlab.population.invariants import conserved
from dynlab.population.outcomes import squared_cosines
from dynlab.population.pair import limit
from tests import naive

GRAM = ((1.0, 0.6, -0.3), (0.6, 1.0, 0.2), (-0.3, 0.2, 1.0))
EVERY = ("relu", "cubic", "relu3", "linear")


def drawn(model, seed=0, extra=2):
    """Dense weights of order one and a head of its own."""
    rng = np.random.default_rng(seed)
    m = model.neurons
    head = np.eye(m) + 0.2 * rng.standard_normal((m, m)) * (1.0 - np.eye(m))
    return rng.standard_normal((m, model.features + m + extra)), head


@pytest.mark.parametrize("rho", [0.5, -0.4])
def test_one_relu_neuron_by_hand(rho):
    """w = v_1 answers 1 to v_1 and rho to v_2, in the state s = sign(rho): t = (1 + |rho|)/4, T = (1 + rho^2)/4, and with 4
    of 16 patches Var = 24/5 T - 4 t^2, Cov = 16/5 T - 4 t^2."""
    model = Model(activation="relu", neurons=1, noise=0.0, strengths=(1.0, 1.0), correlation=rho)
    mean, square = (1.0 + abs(rho)) / 4.0, (1.0 + rho * rho) / 4.0
    right = 2.0 - 2.0 * (3.2 * square - 4.0 * mean**2) / (4.8 * square - 4.0 * mean**2)
    found = dynlab.population_gradient(model, np.array([[1.0, 0.0, 0.0]]), np.eye(1))
    assert found.loss == pytest.approx(right, rel=1e-13)
    state = OrderParameters.from_weights(model, [[1.0, 0.0, 0.0]])
    np.testing.assert_allclose(state.signal, [[1.0, rho]], rtol=1e-15)
    power = rho * rho / (1.0 + rho * rho)
    np.testing.assert_allclose(moments.carried(model, state.signal, state.noise_gram), [[1.0 - power, power]], rtol=1e-12)


def test_features_on_their_axes_by_hand():
    rows = np.array(Model(correlation=0.6).feature_rows)
    np.testing.assert_allclose(rows, [[1.0, 0.0], [0.6, 0.8]], rtol=1e-15)
    wide = Model(strengths=(1.0, 1.0, 1.0), correlation=GRAM)
    found = np.array(wide.feature_rows)
    np.testing.assert_allclose(found @ found.T, GRAM, atol=1e-15)
    np.testing.assert_allclose(found, naive.vectors(wide), atol=1e-15)


def test_none_is_orthonormal():
    assert Model(correlation=0.0) == Model(correlation=((1.0, 0.0), (0.0, 1.0))) == Model()
    assert Model(correlation=[[1, 0.2], [0.2, 1]]).correlation == ((1.0, 0.2), (0.2, 1.0))


@pytest.mark.parametrize("activation", EVERY)
def test_descent_is_that_of_dense_weights(activation):
    model = Model(activation=activation, strengths=(1.0, 0.8, 0.5), correlation=GRAM, probabilities=(0.2, 0.3, 0.5))
    weights, head = drawn(model)
    start = OrderParameters.from_weights(model, weights, head)
    found = dynlab.simulate(model, start, method="descent", eta=0.05, eta_head=0.2, steps=30)
    first = weights
    for _ in range(30):
        _, d_weights, d_head = dynlab.population_gradient(model, weights, head)
        weights, head = weights - 0.05 * d_weights, head - 0.01 * d_head
    end = OrderParameters.from_weights(model, weights, head)
    assert np.abs(weights - first).max() > 0.01, "nothing moves: the comparison would be empty"
    np.testing.assert_allclose(found.signal[-1], end.signal, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.noise_gram[-1], end.noise_gram, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.head[-1], end.head, rtol=1e-9)
    size = (weights**2).sum(1, keepdims=True)
    np.testing.assert_allclose(found.cosines[-1], end.signal**2 / size, rtol=1e-9)
    np.testing.assert_allclose(squared_cosines(model, end.signal, end.noise_gram), end.signal**2 / size, rtol=1e-12)


def test_the_conservation_law_counts_lengths_on_the_axes():
    """d|w_j|^2/dt of the flow of dense weights is what the law says; with (A^2).sum for lengths it is not."""
    model = Model(correlation=0.7, weak=0.8)
    weights, head = drawn(model)
    weights[:, 2:] *= 0.2

    def slope(_, y):
        w, e = y[:-4].reshape(weights.shape), y[-4:].reshape(2, 2)
        _, d_weights, d_head = dynlab.population_gradient(model, w, e)
        return -np.concatenate([d_weights.ravel(), 0.3 * d_head.ravel()])

    begin = np.concatenate([weights.ravel(), head.ravel()])
    end = solve_ivp(slope, (0.0, 5.0), begin, "DOP853", rtol=1e-10, atol=1e-12).y[:, -1]
    states = [OrderParameters.from_weights(model, y[:-4].reshape(weights.shape), y[-4:].reshape(2, 2)) for y in (begin, end)]
    before, after = (conserved(model, state.signal, state.noise_gram, state.head, 0.3) for state in states)
    assert np.abs(states[1].signal - states[0].signal).max() > 0.05
    np.testing.assert_allclose(after, before, rtol=1e-8)


def test_linear_neurons_see_orthonormal_features():
    """<w, v_l> of linear phi enter by sum_l alpha_l^2 v_l v_l^T alone: its eigenvectors are features of their own, with the
    roots of its eigenvalues for strengths."""
    model = Model(activation="linear", strengths=(1.0, 0.8, 0.5), correlation=GRAM)
    features = np.array(model.strengths)[:, None] * naive.vectors(model)
    values, turn = np.linalg.eigh(features.T @ features)
    other = Model(activation="linear", strengths=tuple(np.sqrt(values[::-1])))
    weights, head = drawn(model)
    turned = np.hstack([weights[:, :3] @ turn[:, ::-1], weights[:, 3:]])
    one, two = (dynlab.population_gradient(*case, head) for case in ((model, weights), (other, turned)))
    assert one.loss == pytest.approx(two.loss, rel=1e-13)
    np.testing.assert_allclose(one.d_weights[:, :3] @ turn[:, ::-1], two.d_weights[:, :3], atol=1e-13)
    np.testing.assert_allclose(one.d_head, two.d_head, atol=1e-13)


def test_random_starts_correlate_as_features_do():
    model = Model(strengths=(1.0, 1.0, 1.0), correlation=GRAM)
    rng = np.random.default_rng(0)
    rows = np.concatenate([OrderParameters.sample(model, 50, rng).signal for _ in range(4000)])
    np.testing.assert_allclose(50 * rows.T @ rows / len(rows), GRAM, atol=0.06)


def test_samples_show_features_at_their_angles():
    from dynlab.samples.generator import samples
    from dynlab.samples.minibatch import minibatch_gradient
    from tests.samples import naive_batch

    model = Model(activation="relu", strengths=(1.0, 0.8, 0.5), correlation=GRAM, patches=4, feature_patches=2)
    weights, _ = drawn(model)
    made = samples(model, weights.shape[1], 200)
    gram = np.zeros((3, 3))
    for l in range(3):
        for k in range(3):
            patch = {f: made.patches[np.flatnonzero(made.feature == f)[0]] for f in (l, k)}
            one, two = (rows[np.abs(rows[:, 3:]).max(1) == 0.0][0, :3] for rows in (patch[l], patch[k]))
            gram[l, k] = abs(one @ two) / (model.strengths[l] * model.strengths[k])
    np.testing.assert_allclose(gram, np.abs(GRAM), atol=1e-12)
    found = minibatch_gradient(model, Training(), weights, batch=200)
    value, d_weights, d_head = naive_batch.gradient(
        model, Training(), made.patches, made.view, weights, np.eye(2), None, None
    )
    assert found[0] == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(found[1], d_weights, atol=1e-12)
    begun = dynlab.simulate(model, OrderParameters.sample(model, 20, 0), method="sgd", batch=50, steps=1, dim=20)
    np.testing.assert_allclose(begun.signal[0], OrderParameters.sample(model, 20, 0).signal, atol=1e-14)


def test_an_ensemble_by_descent():
    model = Model(activation="relu", strengths=(1.0, 1.0), correlation=0.95)
    many = dynlab.ensemble(model, 20, 6, method="descent", until=20.0, eta=0.1)
    assert np.isfinite(many.frame["drift"]).all() and (many.frame["status"] == "until").all()
    for i in range(6):
        start = OrderParameters.sample(model, 20, np.random.default_rng((0, i)))
        one = dynlab.simulate(model, start, method="descent", eta=0.1, until=20.0)
        found = many.frame.loc[i, [f"cosine_{j}_{l}" for j in (1, 2) for l in (1, 2)]].to_numpy(dtype=float)
        np.testing.assert_allclose(found, one.cosines[-1].ravel(), rtol=1e-12)
        # Two unit vectors at an angle t: the squared cosines with both are at most 1 + cos(t) together.
        assert (one.cosines[-1].sum(-1) <= 1.95 + 1e-12).all() and one.cosines[-1].max() <= 1.0


REFUSED = {
    "flow": lambda model, _: dynlab.simulate(model, OrderParameters.sample(model, 10, 0)),
    "ensemble": lambda model, _: dynlab.ensemble(model, 10, 2),
    "switched": lambda model, _: dynlab.ensemble(model, 10, 2, training=Training(head="linear")),
    "hidden": lambda model, _: dynlab.ensemble(replace(model, activation="relu", hidden=2), 10, 2),
    "hidden descent": lambda model, _: dynlab.ensemble(replace(model, hidden=2), 10, 2, method="descent"),
    "fixed points": lambda model, _: stability.fixed_points(model, Training(), starts=0),
    "limit": lambda model, _: limit.check_model(model),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_form_is_refused_in_a_line(name, tmp_path):
    with pytest.raises(ValueError, match=r"correlation=0\.5: must be left out for .*orthonormal features") as caught:
        REFUSED[name](Model(correlation=0.5), tmp_path)
    assert "\n" not in str(caught.value)
    REFUSED["limit"](Model(), tmp_path)


@pytest.mark.parametrize(
    "given",
    [1.0, -1.0, "x", float("nan"), [0.1, 0.2], [[1, 2], [2, 1]], [[1, 0.2], [0.1, 1]], [[2, 0], [0, 1]], {}, [[1.0]]],
)
def test_wrong_correlations_are_refused_in_a_line(given):
    with pytest.raises(ValueError, match="correlation=.*must be a number above -1 and below 1") as caught:
        Model(correlation=given)
    assert "\n" not in str(caught.value)


def test_the_command(tmp_path, capsys):
    words = [
        "run",
        "--activation",
        "cubic",
        "--correlation",
        "0.5",
        "--probabilities",
        ".3,.7",
        "--seeds",
        "3",
        "--dim",
        "20",
    ]
    place = str(tmp_path / "out")
    assert main([*words, "--method", "descent", "--until", "50", "--out", place, "--no-plots"]) == 0
    assert ", of probabilities 0.3 and 0.7, of correlation 0.5, noise 0.5" in capsys.readouterr().out
    assert main([*words, "--out", place + "2"]) == 2
    assert "--correlation 0.5: must be left out for a flow" in capsys.readouterr().err
    assert main(["explain", place]) == 2
    assert "correlation=0.5: must be left out for explain" in capsys.readouterr().err
