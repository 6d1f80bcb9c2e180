"""VICReg's outputs on the corner of the hinge: against a smoothed hinge by SciPy, multipliers by hand, and to rest."""

from math import comb

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dynlab import Model, OrderParameters, Training, ensemble, simulate
from dynlab.population.any_training import flow

VICREG = Training(objective="vicreg", head="none", stop_gradient="none")
WEIGHTS = np.array([[0.9, -0.5, 0.4, 0.1, 0.3], [0.6, 0.8, -0.2, 0.5, 0.1]])
TIMES = (0.05, 0.2, 1.0, 10.0)


def moments(weights, strengths):
    """Var and Cov (m, m) of cubic neurons (m, d), 16 patches, 4 with a feature, half of them in a view, noise 0.5: by the
    definition, for real and complex weights."""
    ways = np.array([comb(4, k) * comb(12, 8 - k) for k in range(5)]) / comb(16, 8)
    first = np.arange(5)
    same, across, noisy = (ways * first**2).sum(), (ways * first * (4 - first)).sum(), (ways * (8 - first)).sum()
    count = len(strengths)
    response = (weights[:, :count] * strengths) ** 3
    q = weights[:, count:] @ weights[:, count:].T
    size = np.diagonal(q)
    noise = 0.5**6 * (9.0 * np.outer(size, size) * q + 6.0 * q**3)
    products = response @ response.T / count
    return same * products + noisy * noise, across * products


def smoothed_loss(weights, model, training, width):
    """VICReg with (x + sqrt(x^2 + width^2))/2 in place of max(0, x); with width None, without its hinges."""
    invariance, variance, covariance = training.vicreg_weights
    var, cov = moments(weights, np.array(model.strengths))
    short = 1.0 - np.sqrt(np.diagonal(var))
    hinge = 0.0 * short if width is None else (short + np.sqrt(short**2 + width**2)) / 2.0
    apart = (var**2).sum() - (np.diagonal(var) ** 2).sum()
    parts = invariance * np.trace(var - cov), variance * hinge.sum(), covariance * apart
    return 2.0 * sum(parts) / len(weights) + training.weight_decay * (weights**2).sum() / 2.0


def smoothed_flow(model, training, width):
    """Weights at the times, by SciPy, the gradient by complex steps."""

    def rates(_, y):
        steps = y.reshape(WEIGHTS.shape) + 1e-30j * np.eye(y.size).reshape(-1, *WEIGHTS.shape)
        return np.array([-smoothed_loss(step, model, training, width).imag for step in steps]) / 1e-30

    found = solve_ivp(rates, (0, TIMES[-1]), WEIGHTS.ravel(), "BDF", TIMES, rtol=1e-8, atol=1e-10)
    assert found.success, found.message
    return found.y.T.reshape(-1, *WEIGHTS.shape)


def slopes(model, training, width, weights):
    """The slopes of the smoothed hinges (m,)."""
    short = 1.0 - np.sqrt(np.diagonal(moments(weights, np.array(model.strengths))[0]))
    return (1.0 + short / np.sqrt(short**2 + width**2)) / 2.0


def at_sides(model, training, signal, gram, sides):
    """Rates (n,) of the solver and slopes of the hinges (m,) at a state whose outputs are on these sides of the corner."""
    z, side = flow.encode(model, training, signal[None], gram[None])
    side[:, signal.size :] = sides
    buffers = flow.buffers_for(model, training, z.shape[1])
    rates = flow.rates_at(model, training, z, side, buffers)[1][0]
    return rates, buffers.scratch.corner[1].copy()


def multipliers(model, training, signal, gram):
    """The solver's multipliers (m,) at a state on the corner."""
    return at_sides(model, training, signal, gram, 0)[1]


def slopes_by(function, weights):
    """Derivatives of a function of the weights by each of them, by complex steps, of the shape of the weights."""
    steps = weights + 1e-30j * np.eye(weights.size).reshape(-1, *weights.shape)
    return np.array([function(step).imag for step in steps]).reshape(weights.shape) / 1e-30


@pytest.mark.parametrize("switched", [{}, {"weight_decay": 0.3}, {"vicreg_weights": (20.0, 25.0, 4.0)}])
@pytest.mark.parametrize("both", [True, False])
def test_the_velocity_on_the_corner_is_the_projected_one(switched, both):
    """dw/dt = -dL/dw + nu dV/dw without the hinge of a held output, nu such that dV/dt = 0; lambda = nu m sd/w_var."""
    model, training = Model(activation="cubic", weak=0.7), Training(**{**VICREG.changed(), **switched})
    strengths = np.array(model.strengths)
    deviation = np.sqrt(np.diagonal(moments(WEIGHTS, strengths)[0]))
    weights = WEIGHTS / deviation[:, None] ** (1 / 3)
    if not both:
        weights[1] *= 0.9  # below the corner: its hinge has slope 1
    free = np.array([False, not both])

    def loss(w):
        short = 1.0 - np.sqrt(np.diagonal(moments(w, strengths)[0]))
        return smoothed_loss(w, model, training, None) + training.vicreg_weights[1] * (short * free).sum()

    velocity, wanted = -slopes_by(loss, weights), np.zeros(2)
    for i in np.flatnonzero(~free):
        n = slopes_by(lambda w, i=i: moments(w, strengths)[0][i, i], weights)
        nu = -(n * velocity).sum() / (n * n).sum()
        velocity, wanted[i] = velocity + nu * n, nu * 2.0 / training.vicreg_weights[1]
    gram = weights[:, 2:] @ weights[:, 2:].T
    rates, slope = at_sides(model, training, weights[:, :2], gram, np.where(free, -1, 0))
    noise = (weights[:, 2:] * velocity[:, 2:]).sum(1) / (weights[:, 2:] ** 2).sum(1)
    assert rates[:4] == pytest.approx((velocity / weights)[:, :2].ravel(), rel=1e-9, abs=1e-9)
    assert rates[4:6] == pytest.approx(noise, rel=1e-9, abs=1e-9)
    assert slope == pytest.approx(np.where(free, 1.0, wanted), rel=1e-9)


@pytest.mark.parametrize("switched", [{}, {"weight_decay": 0.3}, {"vicreg_weights": (25.0, 20.0, 3.0)}])
def test_sliding_is_the_limit_of_a_smoothed_hinge(switched):
    """States and slopes are within a few widths of the smoothed ones, and ten times nearer for a tenth of the width."""
    model, training = Model(activation="cubic", weak=0.7), Training(**{**VICREG.changed(), **switched})
    run = simulate(model, OrderParameters.from_weights(model, WEIGHTS), training=training, times=TIMES, rtol=1e-9)
    deviation = np.array([np.sqrt(np.diagonal(moments(w, np.array(model.strengths))[0])) for w in _weights(run)])
    assert np.abs(deviation[1:] - 1.0).max() < 1e-6  # both have reached the corner
    apart = []
    for width in (1e-3, 1e-4):
        smooth = smoothed_flow(model, training, width)
        gram = np.array([w[:, 2:] @ w[:, 2:].T for w in smooth])
        apart.append(max(np.abs(run.signal - smooth[:, :, :2]).max(), np.abs(run.noise_gram - gram).max()))
        for k in range(1, len(TIMES)):
            ours = multipliers(model, training, run.signal[k], run.noise_gram[k])
            assert np.abs(ours - slopes(model, training, width, smooth[k])).max() < 30.0 * width
    assert apart[0] < 3e-3 and apart[1] < apart[0] / 5.0


def _weights(run):
    """Weights (m, 2 + m) with the signals and noise Gram matrices of a run's states."""
    roots = [np.linalg.cholesky(gram + 1e-300 * np.eye(2)) for gram in run.noise_gram]
    return [np.hstack(pair) for pair in zip(run.signal, roots, strict=True)]


@pytest.mark.parametrize(("patches", "feature_patches", "slope"), [(16, 4, 2 / 3), (8, 4, 1 / 2), (16, 8, 1 / 4)])
def test_the_multiplier_of_neurons_on_a_feature_each(patches, feature_patches, slope):
    """sd = 1 without noise, views correlated by rho = E N1 N2/E N1^2: scaling by 1 + s adds 2 s (1 - rho) w_inv 2/m by the
    invariance and takes away lambda s w_var 2/m: lambda = 2 (1 - rho). With p = P/2 patches of P in a view and n feature
    patches, E N1^2 = n/2 + n (n - 1)(p - 1)/(2 (P - 1)) [pairs of patches, both in view 1], E N1 N2 = n^2/2 - E N1^2:
    4.8 and 3.2; 32/7 and 24/7; 17.0667 and 14.9333."""
    model = Model(activation="cubic", weak=0.5, patches=patches, feature_patches=feature_patches)
    n, p = feature_patches, patches / 2
    same = n / 2 + n * (n - 1) * (p - 1) / (2 * (patches - 1))
    signal = np.diag((2.0 / same) ** (1 / 6) / np.array([1.0, 0.5]))
    ours = multipliers(model, VICREG, signal, np.zeros((2, 2)))
    assert ours == pytest.approx(2.0 * (1.0 - (n * n / 2 - same) / same), rel=1e-9)
    assert ours == pytest.approx(slope, rel=1e-9)


def test_with_published_weights_every_start_comes_to_rest_on_the_corner():
    """Both features, uncorrelated, sd 1: L = (2 w_inv/m) 2 (1 - rho) = 25 * 2/3, 1 - rho = 1/3."""
    frame = ensemble(Model(activation="cubic", weak=0.3), 1000, seeds=6, training=VICREG, until=1e16).frame
    assert (frame["status"] == "until").all()
    assert (frame["outcome"] == "both").all()
    assert np.abs(frame["loss_end"] * 3.0 / 50.0 - 1.0).max() < 1e-6
    assert (frame["steps"] + frame["rejected"] < 1500).all()


def test_an_output_is_let_go_of_where_the_hinge_no_longer_holds_it():
    """Weights 50, 25, 1: 2 (1 - rho) w_inv/w_var = 4/3 is more slope than the hinge has; sd rests at 1/(4/3) = 3/4."""
    training = Training(**{**VICREG.changed(), "vicreg_weights": (50.0, 25.0, 1.0)})
    start = OrderParameters([[1.2, 0.2], [0.3, 1.4]], [[0.3, 0.1], [0.1, 0.2]])
    run = simulate(Model(activation="cubic", weak=0.7), start, training=training, until=1e12)
    var = moments(_weights(run)[-1], np.array([1.0, 0.7]))[0]
    assert np.sqrt(np.diagonal(var)) == pytest.approx(0.75, rel=1e-3)
