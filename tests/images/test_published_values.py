"""Values of all objectives at m = 8, 64, 256 outputs: by hand from their papers' equations, and by naive float64 loops.

The inputs are chosen so that the papers' sums can be done by hand for any m: outputs that are copies of one +-1 sequence,
unit vectors, logits with one entry that differs. The numbers below are what comes out on paper, not what the code gave.
"""

from math import exp, log
from types import SimpleNamespace

import numpy as np
import pytest

from dynlab.formulas import decorrelation as population
from dynlab.images import layers, losses
from dynlab.images.networks import head
from dynlab.images.settings import LOSSES
from dynlab.population.head_matrices import from_correlation
from dynlab.samples import objective
from tests.images import naive_losses as naive

SIZES = (8, 64, 256)
SIGN = np.array([1.0, 1.0, -1.0, -1.0])  # of four pictures; mean 0, variance 1
OTHER = np.array([1.0, -1.0, 1.0, -1.0])  # uncorrelated with it


def columns(*parts):
    """(pictures, m): each part (sequence, factor, how many outputs)."""
    return np.hstack([np.tile((factor * sequence)[:, None], (1, count)) for sequence, factor, count in parts])


def value_of(name, first, second, target=None, dtype="float64", **numbers):
    """The loss of outputs (pictures, m) in view 1 and view 2; target: likewise, where it is another."""
    online = np.vstack([first, second]).astype(dtype)
    other = online if target is None else np.vstack(target).astype(dtype)
    loss = losses.make(name, {"eps": 0.0, **numbers}, layers, *online.shape, dtype)
    loss.step(online, other, np.empty_like(online), np.empty_like(online))
    return loss.loss()


# VICReg, algorithm 1: lambda mse(z, z') + mu [mean_j max(0, 1 - S(z_j)) + of z' too] + nu [sum_{i != j} Cov_ij^2/m + ...].
# All outputs are x/2 in view 1 and x/4 in view 2: mse = 1/16; hinges 1/2 + 3/4; m(m - 1)/m pairs of (1/4)^2 and of (1/16)^2.
# 25/16 + 25 * 5/4 + (m - 1)(1/16 + 1/256) = 32.8125 + (m - 1) * 0.06640625
VICREG = {8: 33.27734375, 64: 36.99609375, 256: 49.74609375}


@pytest.mark.parametrize("m", SIZES)
def test_vicreg_is_the_papers(m):
    first, second = columns((SIGN, 0.5, m)), columns((SIGN, 0.25, m))
    assert value_of("vicreg", first, second, vicreg_eps=0.0) == pytest.approx(VICREG[m], rel=1e-11)
    assert value_of("vicreg", first, second, vicreg_eps=0.0, dtype="float32") == pytest.approx(VICREG[m], rel=1e-6)
    only = (25.0, 0.0, 0.0)
    assert value_of("vicreg", first, second, vicreg_weights=only) == pytest.approx(25.0 / 16.0, rel=1e-11)


@pytest.mark.parametrize("m", SIZES)
def test_vicreg_of_finite_samples_is_the_papers(m):
    z = np.hstack([columns((SIGN, 0.5, m)), columns((SIGN, 0.25, m))])
    moments = objective.moments(z)
    slope = objective.Slope.zero(2 * m, m)
    sides = list(range(m)), list(range(m, 2 * m))
    assert objective.vicreg_slope((25.0, 25.0, 1.0), moments, *sides, 1.0, slope) == pytest.approx(VICREG[m], rel=1e-11)


# On the population both views are alike. Var_ij = 1/4 for all i, j and Cov_ii = 1/8:
# 25 (2/4 - 2/8) + 25 * 2 (1 - 1/2) + 2 (m - 1) (1/4)^2 = 31.25 + (m - 1)/8
@pytest.mark.parametrize(("m", "value"), [(8, 32.125), (64, 39.125), (256, 63.125)])
def test_vicreg_of_the_population_is_the_papers(m, value):
    var, cov = np.full((m, m), 0.25), np.full((m, m), 0.125)
    d_var, d_cov = np.empty((m, m)), np.empty((m, m))
    hinge = np.full(m, population.BY_VALUE)
    assert population.vicreg(m, (25.0, 25.0, 1.0), hinge, var, cov, d_var, d_cov) == pytest.approx(value, rel=1e-11)


# Barlow Twins, equation 1: view 1 is x everywhere, view 2 is x in half of the outputs and -x in the others. C_ii = 1 or -1:
# sum_i (1 - C_ii)^2 = 4 m/2; every C_ij^2 = 1: lambda m(m - 1), with their lambda = 0.0051.
BARLOW = {8: 16.2856, 64: 148.5632, 256: 844.928}


@pytest.mark.parametrize("m", SIZES)
def test_barlow_twins_is_the_papers(m):
    first, second = columns((SIGN, 3.0, m)), columns((SIGN, 0.2, m // 2), (SIGN, -7.0, m // 2))
    assert value_of("barlow-twins", first, second) == pytest.approx(BARLOW[m], rel=1e-11)
    slope, sides = objective.Slope.zero(2 * m, m), (list(range(m)), list(range(m, 2 * m)))
    moments = objective.moments(np.hstack([first, second]))
    assert objective.barlow_twins_slope(0.0051, moments, *sides, 1.0, slope) == pytest.approx(BARLOW[m], rel=1e-11)


def test_barlow_twins_of_the_population_is_the_papers():
    for m, value in BARLOW.items():
        signs = np.sign(np.arange(m) % 2 - 0.5)  # C_ij = s_j: C_ii = 1 in half of the outputs, -1 in the rest
        var, cov = np.full((m, m), 4.0), np.tile(4.0 * signs, (m, 1))
        found = population.barlow_twins(m, 0.0051, var, cov, np.empty((m, m)), np.empty((m, m)))
        assert found == pytest.approx(value, rel=1e-11)


# SimSiam: D = -cos; BYOL: 2 - 2 cos. Online rows have m equal entries, target rows m/4 equal ones and zeros: cos = 1/2 for
# every m, so SimSiam's loss is -1/2 and BYOL's 1 a direction.
@pytest.mark.parametrize("m", SIZES)
def test_unit_length_is_byols_and_simsiams(m):
    online = np.full((4, m), 0.3)
    target = np.hstack([np.full((4, m // 4), 5.0), np.zeros((4, 3 * m // 4))])
    found = value_of("similarity", online, online, (target, target), normalisation="length")
    assert found == pytest.approx(1.0, rel=1e-11)
    assert 0.5 * found - 1.0 == pytest.approx(-0.5, rel=1e-11)  # with loss_weight 1/2 it is SimSiam's plus 1


# Wen & Li: sum_j (2 - 2 rho_j). rho = 1 in half of the outputs, 0 in a quarter, -1 in a quarter: m (0 + 2/4 + 4/4) = 3m/2.
@pytest.mark.parametrize(("m", "value"), [(8, 12.0), (64, 96.0), (256, 384.0)])
def test_batch_norm_is_wen_and_lis(m, value):
    online = columns((SIGN, 2.0, m)) + 1.0
    target = columns((SIGN, 0.1, m // 2), (OTHER, 3.0, m // 4), (SIGN, -2.0, m // 4)) - 4.0
    assert value_of("similarity", online, online, (target, target)) == pytest.approx(value, rel=1e-11)


# DINO, equation 1 with temperatures 0.1 and 0.04: student logits 0.1 ln(3(m - 1)) on one output, 0 elsewhere: p = 3/4 there,
# 1/(4(m - 1)) elsewhere. Teacher, less its centre, 0.04 ln(m - 1) there: P = 1/2, and 1/(2(m - 1)) elsewhere.
# H(P, p) = -1/2 ln(3/4) - 1/2 ln(1/(4(m - 1))) = 1/2 ln(16(m - 1)/3)
DINO = {8: 1.8099432913, 64: 2.9085555800, 256: 3.6076199894}


@pytest.mark.parametrize("m", SIZES)
def test_dino_is_the_papers(m):
    online, target = np.full((4, m), 7.0), np.full((4, m), -2.0)  # an offset of a row means nothing to a softmax
    online[:, 0] += 0.1 * log(3.0 * (m - 1))
    target[:, 0] += 0.04 * log(m - 1)
    assert value_of("dino", online, online, (target, target)) == pytest.approx(DINO[m], rel=1e-9)
    centre = np.linspace(-1.0, 1.0, m)
    loss = losses.make("dino", {}, layers, 8, m, "float64")
    loss.state["centre"][...] = centre
    both = np.vstack([target, target]) + centre
    loss.step(np.vstack([online, online]), both, np.empty((8, m)))
    assert loss.loss() == pytest.approx(DINO[m], rel=1e-9)
    np.testing.assert_allclose(loss.state["centre"], 0.9 * centre + 0.1 * both[0], atol=1e-13)  # equation 4


# Multi-crop: the two views as above, three local ones whose logits are all alike: p = 1/m and H(P, p) = ln m. Of 2 + 2 * 3
# pairs of teacher and student two are of the views: (2 DINO + 6 ln m)/8.
@pytest.mark.parametrize("m", SIZES)
def test_dino_with_local_views_is_the_papers(m):
    online, target = np.full((4, m), 7.0), np.full((4, m), -2.0)
    online[:, 0] += 0.1 * log(3.0 * (m - 1))
    target[:, 0] += 0.04 * log(m - 1)
    loss = losses.make("dino", {"local_views": 3}, layers, 8, m, "float64")
    every = np.vstack([online, online, np.full((12, m), 0.5)])
    loss.step(every, np.vstack([target, target]), np.empty_like(every))
    assert loss.loss() == pytest.approx((2.0 * DINO[m] + 6.0 * log(m)) / 8.0, rel=1e-9)
    np.testing.assert_allclose(loss.state["centre"], 0.1 * target[0], atol=1e-14)  # of the two views alone


# A sharper teacher: temperature 0.02 doubles its logit to 2 ln(m - 1): P = (m - 1)^2/((m - 1)^2 + m - 1) = (m - 1)/m.
# H(P, p) = -(m - 1)/m ln(3/4) - 1/m ln(1/(4(m - 1)))
@pytest.mark.parametrize("m", SIZES)
def test_the_teachers_temperature_may_change(m):
    online, target = np.zeros((8, m)), np.zeros((8, m))
    online[:, 0] += 0.1 * log(3.0 * (m - 1))
    target[:, 0] += 0.04 * log(m - 1)
    loss = losses.make("dino", {}, layers, 8, m, "float64")
    loss.teacher_temperature = 0.02
    loss.step(online, target, np.empty((8, m)))
    wanted = (m - 1) / m * log(4.0 / 3.0) + log(4.0 * (m - 1)) / m
    assert loss.loss() == pytest.approx(wanted, rel=1e-9)


# NT-Xent, equation 1, tau = 1/2: picture i is the unit vector e_i in both views, i < m: one cosine is 1, 2m - 2 are 0.
# l = -2 + ln(e^2 + 2m - 2)
@pytest.mark.parametrize("m", SIZES)
def test_simclr_is_the_papers(m):
    z = 3.0 * np.eye(m)
    assert value_of("simclr", z, 0.5 * z) == pytest.approx(log(exp(2.0) + 2 * m - 2) - 2.0, rel=1e-11)


# sum_{i != j} corr_ij^2: all outputs copies: m(m - 1), the most it can be; half of them copies of another: m(m/2 - 1).
@pytest.mark.parametrize(("m", "most", "half"), [(8, 56.0, 24.0), (64, 4032.0, 1984.0), (256, 65280.0, 32512.0)])
def test_decorrelation_is_a_sum_over_ordered_pairs(m, most, half):
    copies, two = columns((SIGN, 0.2, m)), columns((SIGN, 2.0, m // 2), (OTHER, 0.1, m // 2))
    for z, value in ((copies, most), (two, half)):
        part, total = losses.Decorrelation(0.3, layers, 8, m, "float64", 0.0), np.zeros(1)
        part.step(np.vstack([z, -z]), np.zeros((8, m)), total)
        assert total[0] == pytest.approx(0.3 * value, rel=1e-11)
        slope, sides = objective.Slope.zero(m, m), list(range(m))
        assert objective.decorrelation(0.3, objective.moments(z), sides, 1.0, slope) == pytest.approx(0.3 * value, rel=1e-11)
        found = population.add_decorrelation(m, 0.3, np.cov(z.T, bias=True), np.empty((m, m)))
        assert found == pytest.approx(0.3 * value, rel=1e-11)


# S = I + (3/m) 1 1^T has eigenvalues 1 (m - 1 times) and 4 (the vector 1/sqrt m), so with eps = 0.1
# DirectPred: p = sqrt(1/4) + 0.1 and 1 + 0.1: E = 0.6 I + 1 1^T/(2m);  DirectCopy: S/4 + 0.1 I = 0.35 I + 3/(4m) 1 1^T
@pytest.mark.parametrize(
    ("made", "m"),  # the theory's own, which nothing compiles here, takes seconds for 64
    [*((head.head_from_correlation, m) for m in SIZES), *((from_correlation, m) for m in (2, 8, 24))],
)
def test_heads_from_the_correlation_are_the_papers(made, m):
    correlation = np.eye(m) + 3.0 / m
    wanted = {"directpred": 0.6 * np.eye(m) + 0.5 / m, "directcopy": 0.35 * np.eye(m) + 0.75 / m}
    for rule, matrix in wanted.items():
        np.testing.assert_allclose(made(rule, correlation, 0.1), matrix, atol=1e-12)


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("name", LOSSES)
def test_values_are_those_of_naive_loops(name, m):
    rng = np.random.default_rng(m)
    common = rng.normal(size=(5, m))
    size = np.exp(rng.uniform(-1.5, 1.0, m))
    online, target = (size * (np.tile(common, (2, 1)) + rng.normal(size=(10, m))) for _ in range(2))
    wanted = {
        "similarity": lambda: naive.similarity(online, target, "length", 0.0),
        "barlow-twins": lambda: naive.barlow_twins(online, 0.0051, 0.0),
        "vicreg": lambda: naive.vicreg(online, (25.0, 25.0, 1.0), 1e-4),
        "dino": lambda: naive.dino(online, target, np.zeros(m), 0.1, 0.04),
        "simclr": lambda: naive.simclr(online, 0.5),
    }[name]()
    given = {"normalisation": "length"} if name == "similarity" else {}
    both = (target[:5], target[5:])
    assert value_of(name, online[:5], online[5:], both, **given) == pytest.approx(wanted, rel=1e-11)
    assert value_of(name, online[:5], online[5:], both, dtype="float32", **given) == pytest.approx(wanted, rel=2e-5)


@pytest.mark.parametrize("m", SIZES)
@pytest.mark.parametrize("name", LOSSES)
def test_slopes_are_those_of_naive_loops(name, m):
    """Along the gradient itself and across it, by differences of the loops; float32 within what it can hold."""
    rng = np.random.default_rng(m)
    common = rng.normal(size=(3, m))
    spread = np.exp(rng.uniform(-1.0, 1.0, m))
    online, target = (spread * (np.tile(common, (2, 1)) + rng.normal(size=(6, m))) for _ in range(2))
    if name == "dino":
        online, target = 0.1 * online, 0.04 * target  # logits of order 1
    function = {
        "similarity": lambda x: naive.similarity(x, target, "length", 0.0),
        "barlow-twins": lambda x: naive.barlow_twins(x, 0.0051, 0.0),
        "vicreg": lambda x: naive.vicreg(x, (25.0, 25.0, 1.0), 1e-4),
        "dino": lambda x: naive.dino(x, target, np.zeros(m), 0.1, 0.04),
        "simclr": lambda x: naive.simclr(x, 0.5),
    }[name]
    given = {"eps": 0.0} | ({"normalisation": "length"} if name == "similarity" else {})
    found = {}
    for dtype in ("float64", "float32"):
        loss, d_online = losses.make(name, given, layers, 6, m, dtype), np.empty((6, m), dtype)
        loss.step(online.astype(dtype), target.astype(dtype), d_online)
        found[dtype] = d_online.astype(float)
    size = float(np.linalg.norm(found["float64"]))
    np.testing.assert_allclose(found["float32"], found["float64"], atol=2e-5 * size)
    along = found["float64"] / size
    across = rng.normal(size=(6, m))
    across -= along * (along * across).sum()
    for direction, slope in ((along, size), (across / np.linalg.norm(across), 0.0)):
        step = 3e-7 * float(np.linalg.norm(online))
        seen = (function(online + step * direction) - function(online - step * direction)) / (2.0 * step)
        assert seen == pytest.approx(slope, rel=1e-6, abs=1e-6 * size)


def test_the_layout_is_that_of_finite_samples():
    """Both directions of samples' VICReg are the same number, as the pictures' loss treats the views alike."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(6, 16))
    training = SimpleNamespace(vicreg_weights=(25.0, 25.0, 1.0))
    there, back = list(range(8)), list(range(8, 16))
    values = [
        objective.vicreg_slope(training.vicreg_weights, objective.moments(z), *sides, 1.0, objective.Slope.zero(16, 8))
        for sides in ((there, back), (back, there))
    ]
    assert values[0] == pytest.approx(values[1], rel=1e-11)
    assert value_of("vicreg", z[:, :8], z[:, 8:], vicreg_eps=0.0) == pytest.approx(values[0], rel=1e-12)
