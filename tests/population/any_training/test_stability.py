"""Fixed points: zeros of the exact gradient, exact Jacobians, none twice, all that theory names, classified as it says."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dynlab import Model
from dynlab.population.any_training import stability
from dynlab.population.any_training.gradient import training_gradient
from dynlab.population.any_training.reduced import Field
from dynlab.population.any_training.stability import analyse, end_points, end_state, fixed_points, images, newton
from dynlab.settings.training import Training
from dynlab.tools.checks import SettingError

CUBIC, LINEAR = Model(weak=0.3), Model(weak=0.3, activation="linear")
PAPER, PLAIN = Training(), Training(head="none")
SHARE = 0.5
TRAININGS = {
    "paper": PAPER,
    "no head": PLAIN,
    "linear head with decay": Training(head="linear", eta_head=0.5, head_decay=0.1),
    "symmetric head": Training(head="symmetric", eta_head=0.5),
    "moving average": Training(target="average", eta_head=0.5),
    "no stop-gradient": Training(stop_gradient="none", eta_head=0.5),
    "fixed head": Training(head="fixed", head_matrix=((1.0, 0.2), (0.4, 1.0))),
    "directpred": Training(head="directpred"),
    "scale only, weight decay": Training(normalisation="scale", weight_decay=0.1),
    "no normalisation": Training(normalisation="none", weight_decay=0.2, eta_head=0.5),
    "barlow-twins": Training(head="none", stop_gradient="none", objective="barlow-twins"),
    "vicreg": Training(head="none", stop_gradient="none", objective="vicreg"),
}


def turned(gradient, weights):
    """The part of a gradient on signals (m, K) that turns them."""
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    return gradient - (gradient * unit).sum(1, keepdims=True) * unit


def of_head(field, x, d_head):
    """A head's gradient on its coordinates, less what would scale a row (linear) or all (symmetric)."""
    entries = np.array([d_head[j, r] for j, r in field.entries])
    unit = x[field.blocks * field.cut :]
    if field.training.head == "linear":
        return turned(entries.reshape(2, 2), unit.reshape(2, 2)).ravel()
    return turned(entries[None], unit[None])[0] if field.training.head == "symmetric" else entries


def dense_rates(field, point):
    """What `training_gradient` says of a point: forces that would turn signals (or move them), and on the head."""
    weights = np.hstack([point.signal, np.diag(field.norm)])
    head = point.head if field.entries or field.training.head == "fixed" else None
    _, d_weights, d_head = training_gradient(field.model, field.training, weights, head)
    force = d_weights[:, : field.model.features]
    force = turned(force, point.signal) if field.directions else force
    return np.abs(force).max(), np.abs(of_head(field, point.x, d_head)).max(initial=0.0)


@pytest.fixture(scope="module")
def without():
    return fixed_points(CUBIC, PLAIN, share=SHARE, starts=100)


@pytest.fixture(scope="module")
def with_head():
    field = Field(CUBIC, PAPER, SHARE)
    return fixed_points(CUBIC, PAPER, share=SHARE, starts=60, points=end_points(field).values())


def test_all_points_of_the_race_without_head(without):
    """The pairs of v_1 (stable), v_2 (stable) and the direction in between (unstable), up to mirror images."""
    classes = sorted((point.end_state, point.stability) for point in without)
    assert classes == sorted(
        [
            ("collapsed on strong", "stable"),
            ("collapsed on weak", "stable"),
            ("diverse", "stable"),
            ("merged", "unstable"),
            ("mixed", "unstable"),  # on mirrored directions
            ("mixed", "saddle"),  # one neuron on a feature, either
            ("mixed", "saddle"),
        ]
    )
    # 4 + 2 x 2 directions of each neuron, all pairs, and nothing counted twice
    assert sum(point.images for point in without) == 8**2


def test_the_direction_in_between(without):
    """alpha_1^6 n_1^4 = alpha_2^6 n_2^4."""
    merged = next(point for point in without if point.end_state == "merged")
    assert np.allclose(np.abs(merged.signal[:, 1] / merged.signal[:, 0]), (1.0 / 0.3) ** 1.5, rtol=1e-12)


def test_eigenvalues_of_the_race(without):
    """A neuron on v_1 turns back to it as fast as its signal grows at the noise's expense.

    With only v_1 present dn/dt = -n_2 (force on A_1)/A_1, and the force is -dL/dA_1 = 2 drho/dA_1 of the scalar formula
    rho = (b/2) f^2/((a/2) f^2 + N), f = A_1^3 alpha^3, taken through one of its two factors.
    """
    field = Field(CUBIC, PLAIN, SHARE)
    found = next(point for point in without if point.end_state == "collapsed on strong")
    same, across, noise, *_ = field.forces._fixed[3]
    f = field.length**3
    power = noise * 15.0 * (CUBIC.noise * SHARE) ** 6
    variance = same / 2 * f**2 + power
    pull = 2.0 * across / 2 * f * power / variance**2 * 3.0 * field.length**2
    assert np.allclose(found.eigenvalues, -pull / field.length, rtol=1e-12)
    # |w_j| is conserved: what the signal gains is what the noise loses.
    assert np.allclose(found.noise_rates / found.eigenvalues, (1.0 - SHARE**2) / SHARE**2, rtol=1e-10)


def test_named_states_with_the_head(with_head):
    classes = {(point.end_state, point.stability) for point in with_head}
    assert {("diverse", "stable"), ("collapsed on strong", "stable"), ("collapsed on weak", "stable")} <= classes
    assert {stable for state, stable in classes if state == "merged"} == {"saddle"}
    assert {state for state, kind in classes if kind == "stable"} <= {"diverse", "collapsed on strong", "collapsed on weak"}
    collapsed = next(point for point in with_head if point.end_state == "collapsed on strong")
    # Two noisy copies of one output are best averaged.
    assert np.allclose(np.abs(collapsed.head), 1.0, atol=1e-12)


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("model", [CUBIC, LINEAR, Model(activation="relu3", strengths=(1.0, 0.7, 0.7), neurons=2)])
def test_points_are_zeros_of_the_exact_gradient(model, name):
    training = TRAININGS[name]
    field = Field(model, training, 0.3)
    found = fixed_points(model, training, share=0.3, starts=6, seed=1)
    assert found or name in ("no normalisation", "vicreg", "directpred", "fixed head")
    for point in found:
        assert point.residual < 1e-10
        force, head_force = dense_rates(field, point)
        assert force < 1e-10 and head_force < 1e-10
        assert np.isfinite(point.eigenvalues).all()


@pytest.mark.parametrize("name", TRAININGS)
@pytest.mark.parametrize("activation", ["cubic", "relu3", "linear"])
def test_the_jacobian_agrees_with_differences(name, activation):
    field = Field(Model(activation=activation, weak=0.6), TRAININGS[name], 0.4)
    x = field.random(np.random.default_rng(3))
    exact, step = field.jacobian(x), 1e-5
    weights = {1: 8.0, -1: -8.0, 2: -1.0, -2: 1.0}
    columns = [sum(w * field.rates(x + k * step * e) for k, w in weights.items()) / (12 * step) for e in np.eye(field.size)]
    assert np.allclose(exact, np.array(columns).T, atol=1e-8 * np.abs(exact).max())


@pytest.mark.parametrize("name", TRAININGS)
def test_rates_agree_with_the_gradient(name):
    """The reduced field at a point that is no zero: turned forces on unit weights, minus the head's gradient times r."""
    training = TRAININGS[name]
    field = Field(CUBIC, training, 0.4)
    x = field.random(np.random.default_rng(5))
    signal, target, head = field.unpack(x)
    noise = np.diag(field.norm)
    average = {"target_weights": np.hstack([target, noise])} if field.blocks == 2 else {}
    given = head if training.head in ("off-diagonal", "linear", "symmetric", "fixed") else None
    loss, d_weights, d_head = training_gradient(CUBIC, training, np.hstack([signal, noise]), given, **average)
    force = -d_weights[:, :2]
    expected = turned(force, signal) / field.length if field.directions else force
    assert np.allclose(field.rates(x)[:4], expected.ravel(), rtol=1e-11, atol=1e-13)
    rates = -training.eta_head * of_head(field, x, d_head)
    assert np.allclose(field.rates(x)[field.blocks * 4 :], rates, rtol=1e-11, atol=1e-13)
    if field.blocks == 2:
        behind = training.target_rate * turned(signal - target, target) / field.length
        assert np.allclose(field.rates(x)[4:8], behind.ravel(), rtol=1e-12)
    assert field.evaluate(x.astype(complex))[0].real == pytest.approx(loss, rel=1e-13)


def test_mirror_images_are_fixed_points_too(with_head):
    field = Field(CUBIC, PAPER, SHARE)
    lopsided = next(point for point in with_head if abs(point.head[0, 1] - point.head[1, 0]) > 0.01)
    for copy in images(field, lopsided.x):
        assert np.abs(field.rates(copy)).max() < 1e-10
    point = next(point for point in with_head if point.end_state == "diverse")
    copies = images(field, point.x)
    assert len(copies) == point.images == 8  # two orders, a sign each
    for copy in copies:
        assert np.abs(field.rates(copy)).max() < 1e-10
        assert np.allclose(analyse(field, copy).eigenvalues, point.eigenvalues, rtol=1e-9)
    swapped = field.pack(point.signal[::-1], point.head[::-1, ::-1])
    flipped = field.pack(point.signal * np.array([[1.0], [-1.0]]), point.head * np.array([[1.0, -1.0], [-1.0, 1.0]]))
    for image in (swapped, flipped):
        assert np.abs(copies - image).max(1).min() < 1e-12


def test_deflation_gives_no_point_twice(without, with_head):
    for found, training in ((without, PLAIN), (with_head, PAPER)):
        field = Field(CUBIC, training, SHARE)
        seen = np.empty((0, field.size))
        for point in found:
            assert np.abs(seen - point.x).max(1).min(initial=np.inf) > stability.SAME_POINT
            seen = np.concatenate([seen, images(field, point.x)])


def test_deflation_gives_only_what_is_not_known(without):
    """Newton's method falls back to a known point from beside it; deflated it does not, and finds the one that is left."""
    field, rng = Field(CUBIC, PLAIN, SHARE), np.random.default_rng(0)
    *others, last = sorted(without, key=lambda point: point.end_state == "collapsed on weak")
    known = np.concatenate([images(field, point.x) for point in others])
    for _ in range(10):
        start = others[0].x + 0.05 * rng.standard_normal(field.size)
        assert np.abs(known - newton(field, start)).max(1).min() < 1e-9
        found = newton(field, start, known)
        assert found is None or np.abs(images(field, last.x) - found).max(1).min() < 1e-9
    found = [newton(field, field.random(rng), known) for _ in range(60)]
    assert {end_state(x.reshape(2, 2)) for x in found if x is not None} == {"collapsed on weak"}


@pytest.mark.parametrize("activation", ["cubic", "linear"])
def test_the_head_at_the_diverse_state(activation):
    model, training = Model(activation=activation, weak=0.4), Training(eta_head=0.02)
    field = Field(model, training)
    point = analyse(field, field.pack(np.eye(2)))
    rates = stability.return_rates(model, 0.02)
    assert np.allclose(np.sort(point.eigenvalues.real), np.sort([*rates, 0.0, 0.0]), rtol=1e-12, atol=1e-15)
    assert (point.end_state, point.stability) == ("diverse", "marginal")
    assert (point.removed, point.symmetries, point.degenerate) == (2, 0, 2)


def test_decay_at_the_diverse_state_as_a_flow_shows_it():
    """Both entries of the head, from a short flow of the dense weights under the exact gradient."""
    model, training = Model(weak=0.8), Training(eta_head=0.05)

    def flow(_, y):
        head = np.array([[1.0, y[8]], [y[9], 1.0]])
        _, d_weights, d_head = training_gradient(model, training, y[:8].reshape(2, 4), head)
        return np.concatenate([-d_weights.ravel(), -0.05 * np.array([d_head[0, 1], d_head[1, 0]])])

    weights = np.array([[1.0, 0.0, 1e-9, 0.0], [0.0, 1.0, 0.0, 1e-9]])
    run = solve_ivp(flow, (0.0, 6.0), [*weights.ravel(), 1e-4, 1e-4], rtol=1e-9, atol=1e-14, method="LSODA")
    measured = np.log(run.y[8:, -1] / 1e-4) / run.t[-1]
    field = Field(model, training)
    decaying = analyse(field, field.pack(np.eye(2))).eigenvalues.real
    assert np.allclose(np.sort(measured), np.sort(decaying[decaying < -1e-6]), rtol=1e-5)


HEADS = [(0.0, 0.3), (0.5, 0.3), (0.0, -0.2), (0.0, 2.0), (0.0, 1 / 3), (-0.3, 0.6)]


@pytest.mark.parametrize("lent", HEADS)
def test_the_collapsed_state_of_linear_activation(lent):
    head = np.array([[1.0, lent[0]], [lent[1], 1.0]])
    field = Field(LINEAR, PAPER)
    point = analyse(field, field.pack([[1.0, 0.0], [1.0, 0.0]], head))
    value = stability.collapse_eigenvalue(LINEAR, head)
    assert point.residual < 1e-14 and point.degenerate == 3
    assert point.eigenvalues.real[np.abs(point.eigenvalues).argmax()] == pytest.approx(value, rel=1e-10)
    assert point.stability == ("saddle" if value > 0 else "marginal")


def test_lending_a_third_destabilises_most():
    values = [stability.collapse_eigenvalue(LINEAR, [[1.0, 0.0], [e, 1.0]]) for e in (0.3, 1 / 3, 0.37)]
    assert values[1] == max(values)


@pytest.mark.parametrize("lent", [(0.0, 0.3), (0.1, 0.3), (0.0, -0.2)])
def test_the_collapsed_state_of_cubic_is_left_algebraically(lent):
    head = np.array([[1.0, lent[0]], [lent[1], 1.0]])
    field = Field(CUBIC, PAPER)
    point = analyse(field, field.pack([[1.0, 0.0], [1.0, 0.0]], head))
    assert point.stability == "marginal" and np.abs(point.eigenvalues).max() == 0.0 and point.degenerate == 4
    small = 1e-3
    weights = np.array([[1.0, 0.0, 0.0, 0.0], [1.0, small, 0.0, 0.0]])
    rate = -training_gradient(CUBIC, PAPER, weights, head)[1][1, 1]
    assert rate == pytest.approx(stability.collapse_growth(CUBIC, head, small), rel=1e-5)


def test_symmetries_are_told_from_degeneracies():
    linear_head, symmetric = Training(head="linear", eta_head=0.1), Training(head="symmetric", eta_head=0.1)
    for training, removed in ((PLAIN, 2), (linear_head, 4), (symmetric, 3)):
        found = fixed_points(LINEAR, training, share=0.3, starts=12)
        assert found and all(point.removed == removed for point in found)
        # (Where a symmetric head is diagonal, each of its entries scales an output by itself: degenerate.)
        assert all(point.degenerate == 0 for point in found if training is not symmetric)
    equal = Model(strengths=(1.0, 1.0), activation="linear")
    found = fixed_points(equal, PAPER, share=0.3, starts=12)
    assert found and all(point.symmetries >= 1 for point in found)  # all features turned together
    scaled = analyse(Field(LINEAR, Training(head="directcopy")), np.eye(2).ravel())
    assert scaled.removed == 0 and scaled.symmetries == 1  # the scale of all weights


def test_continuum_without_noise():
    """Every random start ends in a global minimum: E = I or parallel outputs, all with the loss 4 - 4 E[N1 N2]/E[N1^2]."""
    for point in fixed_points(CUBIC, PAPER, starts=20, seed=2):
        assert point.loss == pytest.approx(4.0 / 3.0, abs=1e-9)
        parallel = end_state(point.signal) in ("merged", "collapsed on strong", "collapsed on weak")
        assert parallel or np.allclose(point.head, np.eye(2), atol=1e-6)


@pytest.mark.parametrize(
    ("signal", "name"),
    [
        ([[1, 0], [0, -2]], "diverse"),
        ([[1, 0], [-2, 0]], "collapsed on strong"),
        ([[0, 1], [0, 1]], "collapsed on weak"),
        ([[1, 1], [-2, -2]], "merged"),
        ([[1, 1], [1, 0]], "mixed"),
        ([[1, 0], [0, 0]], "mixed"),
        ([[0, 0], [0, 0]], "nothing learnt"),
        ([[1, 0, 0], [0, 1, 0], [1, 0, 0]], "partly diverse"),
        ([[0, 0, 1], [0, 0, 1]], "collapsed on feature 3"),
    ],
)
def test_end_states(signal, name):
    assert end_state(signal) == name


def test_what_is_refused():
    with pytest.raises(SettingError, match="activation='relu': must be cubic, relu3 or linear"):
        Field(Model(activation="relu"), PAPER)
    with pytest.raises(SettingError, match="share=1.0: must be a number >= 0 and < 1"):
        Field(CUBIC, PAPER, 1.0)
    with pytest.raises(SettingError, match="starts=-1"):
        fixed_points(CUBIC, PAPER, starts=-1)
