"""Features of unequal frequency: by hand, against dense weights, and as the strengths that they are for odd phi."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import dynlab
from dynlab import Model, OrderParameters, Training, ablate
from dynlab.__main__ import main
from dynlab.population import moments
from dynlab.population.any_training import gradient as switched
from dynlab.population.gradient import parameter_vector
from dynlab.population.pair import limit
from tests.population.pair.dense import dense_flow, dense_weights

RARE = (0.8, 0.2)
EVERY = ("relu", "cubic", "relu3", "linear")


def a_start(neurons, features, seed=4):
    """Signals beside noise parts of length about one, a head of its own."""
    rng = np.random.default_rng([seed, neurons, features])
    factor = rng.standard_normal((neurons, neurons)) * 0.3 + np.eye(neurons)
    signal = 0.3 * rng.choice([-1.0, 1.0], (neurons, features)) * rng.uniform(0.6, 1.4, (neurons, features))
    head = np.eye(neurons) + 0.1 * rng.standard_normal((neurons, neurons)) * (1 - np.eye(neurons))
    return OrderParameters(signal, factor @ factor.T, head)


def test_one_relu_neuron_by_hand():
    """On v_1 without noise f = N1 with probability p/2, else 0. P = 16, n = 4: E N1 = 2, E N1^2 = 24/5, E N1 N2 = 16/5, so
    Var = 12 p/5 - p^2 and Cov = 8 p/5 - p^2; the variance between the features is what a rare feature adds."""
    for p in (0.8, 0.5, 0.2):
        model = Model(activation="relu", neurons=1, noise=0.0, probabilities=(p, 1.0 - p))
        right = 2.0 - 2.0 * (8.0 * p / 5.0 - p * p) / (12.0 * p / 5.0 - p * p)
        weights = np.array([[1.0, 0.0, 0.0]])
        assert dynlab.population_gradient(model, weights, np.eye(1)).loss == pytest.approx(right, rel=1e-14)
        signal, gram = weights[:, :2], np.zeros((1, 1))
        assert moments.output_moments(model, signal, gram)[0][0, 0] == pytest.approx(12.0 * p / 5.0 - p * p, rel=1e-14)
        assert moments.output_means(model, signal, gram)[0] == pytest.approx(p, rel=1e-14)


def test_what_a_mixed_direction_carries_by_hand():
    """Cubic at 45 degrees: powers .8 * 1 and .2 * .3^6."""
    weak = 0.2 * 0.3**6 / (0.8 + 0.2 * 0.3**6)
    shares = moments.carried(Model(probabilities=RARE, neurons=1), np.array([[1.0, 1.0]]), np.zeros((1, 1)))
    np.testing.assert_allclose(shares, [[1.0 - weak, weak]], rtol=1e-12)


def test_equal_probabilities_are_none():
    for given in ((0.5, 0.5), [0.5, 0.5], np.array([0.5, 0.5])):
        assert Model(probabilities=given) == Model()
    assert Model(strengths=(1.0,), probabilities=(1.0,)) == Model(strengths=(1.0,))
    third = Model(strengths=(1.0, 0.9, 0.2), probabilities=(1 / 3, 1 / 3, 1 / 3), activation="relu")
    assert third.effective_strengths == third.strengths and third.root_weights == (1.0, 1.0, 1.0)
    assert (parameter_vector(third)[-6:] == 1.0).all()


def test_effective_strengths_by_hand():
    """alpha (K p)^(1/(2q)): sqrt for degree 1, sixth root for degree 3."""
    linear, cubic = (Model(activation=name, probabilities=RARE).effective_strengths for name in ("linear", "cubic"))
    np.testing.assert_allclose(linear, (math.sqrt(1.6), 0.3 * math.sqrt(0.4)), rtol=1e-15)
    np.testing.assert_allclose(cubic, (1.6 ** (1 / 6), 0.3 * 0.4 ** (1 / 6)), rtol=1e-15)
    assert Model(probabilities=(0.1, 0.2, 0.7), strengths=(1.0, 1.0, 1.0)).frequencies[2] == pytest.approx(0.7, rel=1e-15)


@pytest.mark.parametrize("activation", ["cubic", "linear"])
def test_frequencies_are_strengths_for_odd_activations(activation):
    model = Model(activation=activation, probabilities=RARE, weak=0.6)
    other = Model(activation=activation, strengths=model.effective_strengths)
    start = a_start(2, 2)
    one, two = (dynlab.simulate(some, start, times=[0.1, 1.0, 10.0]) for some in (model, other))
    assert (one.signal == two.signal).all() and (one.head == two.head).all() and (one.loss == two.loss).all()
    training = Training(head="linear", normalisation="none")
    start = replace(start, head=np.eye(2))
    one, two = (dynlab.simulate(some, start, training=training, until=0.5) for some in (model, other))
    assert (one.signal == two.signal).all()


SHAPES = {(2, 2): ((1.0, 0.5), RARE), (3, 3): ((1.0, 0.8, 0.5), (0.2, 0.2, 0.6))}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activation", ["relu", "cubic", "relu3"])
def test_the_flow_is_that_of_dense_weights(activation, shape):
    strengths, often = SHAPES[shape]
    model = Model(strengths=strengths, probabilities=often, activation=activation, neurons=shape[0])
    start = replace(a_start(*shape), head=np.eye(shape[0]))
    times = np.array([0.03, 0.1]) * (1 if activation == "relu" else 10)
    right = dense_flow(model, start, 0.1, times)
    assert (np.sign(right.signal) == np.sign(start.signal)).all(), "a kink is crossed"
    found = dynlab.simulate(model, start, eta_head=0.1, times=times, rtol=1e-9)
    for mine, plain in ((found.signal, right.signal), (found.noise_gram, right.noise_gram), (found.head, right.head)):
        np.testing.assert_allclose(mine, plain, atol=1e-7)
    alike = dynlab.simulate(replace(model, probabilities=None), start, eta_head=0.1, times=times, rtol=1e-9)
    assert np.abs(alike.signal - found.signal).max() > 1e-4, "frequencies do nothing: the comparison would be empty"


@pytest.mark.parametrize("activation", ["relu", "relu3"])
def test_the_flow_under_switches_is_that_of_dense_weights(activation):
    model = Model(activation=activation, weak=0.7, probabilities=(0.3, 0.7))
    training = Training(eta_head=0.4, head="linear", normalisation="scale", weight_decay=0.1)
    weights = np.array([[0.9, -0.5, 0.4, 0.1, 0.3], [0.6, 0.8, -0.2, 0.5, 0.1]])

    def rates(_, y):
        _, d_weights, d_head = switched.training_gradient(model, training, y[:10].reshape(2, 5), y[10:].reshape(2, 2))
        return -np.concatenate([d_weights.ravel(), 0.4 * d_head.ravel()])

    begin = np.concatenate([weights.ravel(), np.eye(2).ravel()])
    right = solve_ivp(rates, (0.0, 0.5), begin, "DOP853", rtol=1e-9, atol=1e-11).y[:10, -1].reshape(2, 5)
    run = dynlab.simulate(model, OrderParameters.from_weights(model, weights), training=training, times=[0.5], rtol=1e-9)
    np.testing.assert_allclose(run.signal[0], right[:, :2], atol=1e-6)
    np.testing.assert_allclose(run.noise_gram[0], right[:, 2:] @ right[:, 2:].T, atol=1e-6)


@pytest.mark.parametrize("activation", EVERY)
def test_descent_is_that_of_dense_weights(activation):
    model, start = Model(activation=activation, weak=0.6, probabilities=RARE), a_start(2, 2)
    weights, head = dense_weights(start), start.head.copy()
    for _ in range(20):
        _, d_weights, d_head = dynlab.population_gradient(model, weights, head)
        weights, head = weights - 0.05 * d_weights, head - 0.01 * d_head
    found = dynlab.simulate(model, start, method="descent", eta=0.05, eta_head=0.2, steps=20)
    np.testing.assert_allclose(found.signal[-1], weights[:, :2], rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(found.head[-1], head, rtol=1e-10)


def test_hidden_units_by_small_steps():
    model = Model(activation="relu", weak=0.6, hidden=2, probabilities=RARE)
    start = OrderParameters.sample(model, 20, 3)
    start = OrderParameters(np.sign(start.signal) * (0.3 + np.abs(start.signal)), start.noise_gram, np.eye(2), start.readout)
    weights, head, a = dense_weights(start), np.eye(2), start.readout.copy()
    for _ in range(200):
        found = dynlab.population_gradient(model, weights, head, readout=a)
        weights, head = weights - 1e-3 * found.d_weights, head - 1e-4 * found.d_head
        a = a - 1e-3 * found.d_readout
    run = dynlab.simulate(model, start, eta_head=0.1, times=[0.2])
    assert np.abs(run.signal[0] - start.signal).max() > 0.01, "nothing moves"
    np.testing.assert_allclose(run.signal[0], weights[:, :2], atol=2e-3)
    np.testing.assert_allclose(run.readout[0], a, atol=2e-3)


def test_the_race_counts_a_frequency_as_the_sixth_root_of_a_strength():
    """A neuron takes the second feature iff |A_2/A_1| > (alpha_1/alpha_2)^(3/2) (p_1/p_2)^(1/4): by hand from dA/dt ~ p
    alpha^6 A^5. At weak .5, frequencies .1, .9: p = (2/pi) arctan(.5^1.5 9^.25) = .350, both .455, not .339."""
    model = Model(weak=0.5, probabilities=(0.1, 0.9))
    share = 2.0 / math.pi * math.atan(0.5**1.5 * 9.0**0.25)
    assert limit.share_weak(model) == pytest.approx(share, rel=1e-14) and share == pytest.approx(0.350, abs=5e-4)
    run = dynlab.ensemble(model, 10**6, 400, head="none", seed=1)
    learnt = {name: float((run.frame["outcome"] == name).mean()) for name in ("both", "only_strong", "only_weak")}
    law = {"both": 2 * share * (1 - share), "only_strong": (1 - share) ** 2, "only_weak": share**2}
    for name, right in law.items():
        assert abs(learnt[name] - right) < 4.0 * math.sqrt(right * (1.0 - right) / 400), (name, learnt)
    first = limit.race_times(model, *run.starts[:2]).reshape(400, -1).min(1)
    np.testing.assert_allclose(np.median(run.marks[:, 0] / first), 1.0, atol=0.02)


@pytest.mark.parametrize(
    "given", [(0.5,), (0.5, 0.6), (1.0, 0.0), (1.2, -0.2), (0.5, float("nan")), ("a", "b"), 0.5, "0.5,0.5", (0.3, 0.3, 0.4)]
)
def test_wrong_probabilities_are_refused_in_a_line(given):
    with pytest.raises(ValueError, match="probabilities=.*must be 2 positive numbers of sum 1") as caught:
        Model(probabilities=given)
    assert "\n" not in str(caught.value)


def test_the_command(tmp_path, capsys):
    words = ["--probabilities", "0.1,0.9", "--weak", "0.5", "--activation", "cubic", "--dim", "1000"]
    place = str(tmp_path / "run")
    assert main(["run", *words, "--seeds", "6", "--out", place, "--no-plots"]) == 0
    assert "strong 1, weak 0.5, of probabilities 0.1 and 0.9, noise 0.5" in capsys.readouterr().out
    assert main(["explain", place, "--head", "none"]) == 0
    assert "(weak/strong)^1.5 (p_weak/p_strong)^0.25)" in " ".join(capsys.readouterr().out.split())
    for given, said in (("0.5", "must be 2 positive numbers of sum 1"), ("0.5,x", "must be 2 positive numbers of sum 1")):
        assert main(["run", "--probabilities", given]) == 2
        assert f"--probabilities {given}: {said}" in capsys.readouterr().err
    assert main(["ablate", *words]) == 2
    assert "--probabilities 0.1,0.9: must be left out with the group features" in capsys.readouterr().err
    settings = ablate.check(ablate.parser().parse_args([*words, "--groups", "head"]))
    assert settings.model.probabilities == (0.1, 0.9) and "features" not in settings.groups
