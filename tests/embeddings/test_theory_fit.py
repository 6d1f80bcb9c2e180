"""`dynlab.fit_theory` on data that the theory itself makes: samples of the model, and states of its flow, with known
strengths, noise and rates; refusals of one line."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import dynlab
from dynlab import Model, OrderParameters, SettingError, Training
from dynlab.embeddings.theory_fit import RATIOS, UNITS, fit_theory, second_moments, weights_of
from dynlab.population.moments import output_moments
from dynlab.samples.generator import samples

MODEL = Model(strong=1.0, weak=0.6, patches=16, feature_patches=6, noise=0.5)


def seen(model: Model, weights: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Outputs (count, m) of random features phi(<w, patch>) on both views of samples that dynlab draws."""
    drawn = samples(model, weights.shape[1], count, seed=seed)
    answers = drawn.patches @ weights.T
    answers = answers**3 if model.activation == "cubic" else answers
    kept = [(drawn.view == which)[:, :, None] * answers for which in (0, 1)]
    return kept[0].sum(1), kept[1].sum(1)


@pytest.mark.parametrize("activation", ["linear", "cubic"])
@pytest.mark.parametrize("weak", [0.9, 0.5])
def test_strengths_and_noise_come_back_from_samples_of_the_model(activation, weak):
    model = Model(strong=1.0, weak=weak, feature_patches=6, noise=0.3, activation=activation)
    m, dim = 96, 12
    weights = np.random.default_rng(3).standard_normal((m, dim)) / np.sqrt(dim)
    ours, theirs = seen(model, weights, 3000, 5)
    fitted, signal, gram, _, found = weights_of(model, *second_moments(ours, theirs), 2)
    # The noise: of the 12 - 2 directions that carry it; the weights' part there is not of size 1, but sqrt(10/12).
    true = np.square(weights[:, 2:]).sum(1).mean() / np.square(weights[:, 0]).mean()
    bound = 2.0 / np.sqrt(m)  # two deviations of a ratio of two means over m outputs, each of 1/sqrt(2 m), are 2/sqrt(m)
    assert abs(np.log(fitted.weak / weak)) < bound
    assert abs(np.log(found / true)) < bound
    assert np.diagonal(gram).mean() == pytest.approx(1.0) and signal.shape == (m, 2)


def test_moments_are_inverted_exactly():
    """From the model's own S and C the very A and Q come back, up to signs, where columns of f are orthogonal."""
    rng = np.random.default_rng(0)
    for activation, q in (("linear", 1), ("cubic", 3)):
        model = Model(strong=1.0, weak=0.6, feature_patches=6, noise=0.5, activation=activation, neurons=8)
        answers = np.linalg.qr(rng.standard_normal((8, 2)))[0] * [0.9, 0.3]
        signal = np.sign(answers) * np.abs(answers) ** (1 / q)
        root = rng.standard_normal((8, 20))
        gram = root @ root.T / 20
        same, across = output_moments(model, signal / [1.0, 0.6], gram)
        fitted, found, noise, _, _ = weights_of(model, across, same, 2)
        size = np.diagonal(noise).mean() / np.diagonal(gram).mean()
        assert noise == pytest.approx(size * gram, abs=1e-6)
        wanted = np.abs(signal) * np.sqrt(size)
        assert np.abs(found) * np.array(fitted.strengths) == pytest.approx(
            wanted / wanted.max() * np.abs(found).max(), abs=1e-6
        )
        wanted = (np.abs(answers) ** (2 / q)).mean(0)
        assert fitted.weak == pytest.approx(np.sqrt(wanted[1] / wanted[0]), abs=1e-9)


def recorded(unit: float, ratio: float, pairs: int = 24, count: int = 1500, model: Model = MODEL) -> dict:
    """A run that the theory itself makes: z of both views, normal numbers of the flow's moments, and the head."""
    rng = np.random.default_rng(7)
    steps = np.array([1, 11, 21, 31, 41])
    until = 301
    times = np.concatenate([[0.0], unit * (steps[1:] - 1), [unit * (until - 1)]])
    training = Training(eta_head=ratio)
    runs = [
        dynlab.simulate(model, OrderParameters.sample(model, 8, rng), until=times[-1], times=times, training=training)
        for _ in range(pairs)
    ]
    m = 2 * pairs
    wide = replace(model, neurons=m)
    z, heads = [], []
    for k in range(len(steps)):
        signal, gram, head = np.concatenate([run.signal[k] for run in runs]), np.zeros((m, m)), np.eye(m)
        for p, run in enumerate(runs):
            gram[2 * p : 2 * p + 2, 2 * p : 2 * p + 2] = run.noise_gram[k]
        entries = np.array([run.head[k] for run in runs])
        rms = np.sqrt((entries[:, 0, 1] ** 2 + entries[:, 1, 0] ** 2).mean() / 2)
        head += rms * (1 - np.eye(m))
        same, across = output_moments(wide, signal, gram)
        both = np.block([[same, across], [across, same]])
        drawn = rng.multivariate_normal(np.zeros(2 * m), (both + both.T) / 2, count, method="eigh")
        z.append(np.concatenate([drawn[:, :m], drawn[:, m:]]))
        heads.append(head)
    return {
        "z": np.array(z),
        "head": np.array(heads),
        "steps": steps,
    }


def test_rates_of_a_run_that_the_theory_made_come_back():
    run = recorded(unit=0.05, ratio=0.3)
    fit = fit_theory(run["z"], head=run["head"], steps=run["steps"])
    assert 0.5 < fit.unit / 0.05 < 2.0, fit.unit
    assert 0.4 < fit.training.eta_head / 0.3 < 2.5, fit.training.eta_head
    told = fit.forecast(31).norms[-1] / np.linalg.norm(run["head"][3] - np.eye(48))
    assert 0.7 < told < 1.4, told  # at the last record that it was fitted to
    split = np.split(run["z"], 2, axis=1)
    again = fit_theory(split[0], split[1], run["head"], run["steps"])
    assert (again.unit, again.training, again.model) == (fit.unit, fit.training, fit.model)


def test_nothing_after_the_first_records_is_used():
    run = recorded(0.05, 0.3, pairs=4, count=1000, model=replace(MODEL, noise=0.3))
    fit = fit_theory(run["z"], head=run["head"], steps=run["steps"], pairs=2)
    run["z"][4:], run["head"][4:] = 1.0, np.eye(8)
    again = fit_theory(run["z"], head=run["head"], steps=run["steps"], pairs=2)
    assert (again.unit, again.training, again.model, again.last) == (fit.unit, fit.training, fit.model, 31)


def test_a_schedule_of_halves_takes_twice_as_long():
    run = recorded(0.05, 0.3, pairs=4, count=1000, model=replace(MODEL, noise=0.3))
    fit = fit_theory(run["z"], head=run["head"], steps=run["steps"], pairs=2)
    plain, slow = fit.forecast(101), fit.forecast(201, np.full(200, 0.5))
    assert slow.norms[-1] == pytest.approx(plain.norms[-1], rel=1e-4) and slow.merged == plain.merged
    still = fit.forecast(201, np.where(np.arange(200) < 100, 1.0, 0.0))
    assert still.steps[-1] < 130 and still.norms[-1] == pytest.approx(plain.norms[-1], rel=1e-2)


def test_without_a_head_that_moved_there_is_no_peak():
    run = recorded(0.05, 0.3, pairs=4, count=1000, model=replace(MODEL, noise=0.3))
    for head in (None, np.tile(np.eye(8), (5, 1, 1))):
        said = fit_theory(run["z"], head=head, steps=run["steps"], pairs=2).forecast(50)
        assert np.isnan(said.peak) and np.isnan(said.half_step) and said.as_json()["peak"] is None
        assert "none that has moved" in said.text


GOOD = np.random.default_rng(1).standard_normal((3, 20, 4)).repeat(2, axis=1).reshape(3, 20, 2, 4).transpose(0, 2, 1, 3)
GOOD = GOOD.reshape(3, 40, 4)  # one view, then the other, here the same
STRANGE = np.random.default_rng(2).standard_normal((3, 40, 4))


@pytest.mark.parametrize(
    "given, message",
    [
        ({"z": STRANGE}, r"z=.?.*two views of each input, row by row: these correlate by"),
        ({"z": GOOD[0]}, r"z=\(40, 4\).*two steps or more"),
        ({"z": GOOD[:1]}, r"z=\(1, 40, 4\).*two steps or more"),
        ({"z": np.ones((3, 40, 4))}, r"z=.?0 outputs that vary.*two or more"),
        ({"z": GOOD[:, :39]}, r"z=\(3, 39, 4\).*one view and then the other"),
        ({"z": GOOD[:, :8]}, r"z=\(3, 4, 4\).*8 inputs"),
        ({"z": np.where(GOOD > 2.0, np.nan, GOOD)}, r"z=.*finite"),
        ({"z": GOOD, "target": GOOD[:, :20]}, r"target=\(3, 20, 4\).*of z's shape"),
        ({"z": GOOD, "head": np.eye(4)}, r"head=\(4, 4\).*a stack \(3, 4, 4\)"),
        ({"z": GOOD, "head": np.zeros((3, 4, 4))}, r"head=.?a diagonal of 0.*begins at I"),
        ({"z": GOOD, "steps": [0, 10, 10]}, r"steps=\(3,\).*3 increasing"),
        ({"z": GOOD, "features": 5}, r"features=5.*4 outputs"),
        ({"z": GOOD, "first": 1}, r"first=1"),
        ({"z": GOOD, "model": Model(activation="relu")}, r"model=.*cubic or linear"),
    ],
)
def test_what_is_no_recorded_run_is_refused_in_one_line(given, message):
    with pytest.raises(SettingError) as told:
        fit_theory(**given)
    assert re.search(message, str(told.value)) and "\n" not in str(told.value), str(told.value)


def test_a_forecast_goes_forward():
    fit = fit_theory(GOOD, pairs=1)
    for until, rates, message in (
        (0, None, "until"),
        (5, [1.0], "rates"),
        (2, [0.0, 0.0], "rates"),
        (2, [1.0, -1.0], "rates"),
    ):
        with pytest.raises(SettingError, match=message):
            fit.forecast(until, rates)
    assert len(UNITS) > 100 and len(RATIOS) > 10
