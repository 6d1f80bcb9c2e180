r"""From a recorded run back to the theory: strengths, noise and rates from z over two views, and the flow from there.

**Second moments.** z_j of one view and z'_r of the other view of the same input, all in units of the root mean variance of
an output. In the model (`dynlab.population.moments`) with odd phi the means are zero, and with f_jl = phi(alpha_l A_jl), K
features, counts N1 and N2 of feature patches in the views, n1 of noise patches, q_jr the covariance of phi(<w_j, xi>) and
phi(<w_r, xi>)

    S = Cov(z, z') = E[N1 N2] f f^T / K,        C = Cov(z) = E[N1^2] f f^T / K + E[n1] q,

S taken symmetric: noise has no part in it, views having no patch in common. So of the K largest eigenvalues s_l of S, with
unit eigenvectors u_l,

    f_jl = sqrt(K s_l / E[N1 N2]) u_jl,         E[n1] q = C - (E[N1^2] / E[N1 N2]) sum_l s_l u_l u_l^T.

Shared directions beyond K stay in q: the model then takes them for noise. Columns of f of random starts are orthogonal up
to 1/sqrt(m), so eigenvectors are features up to a mixing of that order, where their eigenvalues differ.

**Weights.** For phi of degree q, random weights of one size, w ~ N(0, 1/d), have mean |f_jl|^(2/q) = alpha_l^2 / d. Hence

    alpha_l / alpha_1 = (mean_j |f_jl|^(2/q) / mean_j |f_j1|^(2/q))^(1/2),    A_jl = sign(f_jl) |f_jl|^(1/q) / alpha_l,

a mean over m outputs, each of relative error about 1/sqrt(2 m) (half that of a mean of squares of normal numbers). alpha_1
is 1. A second moment tells alpha / (sigma sqrt(d)) and not its parts: sigma is the model's, a convention, and d comes from
it, 1/d = mean A_j1^2 where mean Q_jj is 1. Q is q solved for: sigma^2 Q for linear, sigma^6 (9 Q_jj Q_rr + 6 Q_jr^2) Q_jr
for cubic. A normalised loss does not see a factor of all outputs.

**Pairs.** The flow is followed for disjoint pairs of outputs from A and Q of the pair: the two-neuron theory, as often as
there are pairs. A norm of the whole head is sqrt(m (m - 1)) times the root mean square of the pairs' entries.

**Rates** cannot be seen in one z. With `unit` the time of the flow that a step takes and r the head's rate over the
encoder's, both from the first records: `unit` by least squares from how the mean correlation of an output with its other
view grows, in the flow without head; then r by least squares from the logarithm of the head's norm. Nothing after those
records is used.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.embeddings.given import host_array
from dynlab.embeddings.theory_forecast import TheoryFit, head_norm, pairs_in_time
from dynlab.formulas import masks
from dynlab.population.head_matrices import norm_and_asymmetry
from dynlab.population.moments import output_moments
from dynlab.population.order_parameters import OrderParameters
from dynlab.settings.activation_records import ACTIVATIONS
from dynlab.settings.model import Model
from dynlab.settings.training import Training
from dynlab.tools.checks import integer, require

if TYPE_CHECKING:
    from dynlab.tools.types import Array

FIRST = 4  # records that are used
PAIRS = 24  # pairs of outputs that are followed
FEWEST = 8  # inputs
BEYOND = 4.0  # deviations
FLOOR = 1e-3  # least eigenvalue of the noise, in units of the mean variance of an output
LONG = 1e6  # of the flow, beyond which growth is not looked for
UNITS = np.geomspace(1e-6, 1e6, 241)
RATIOS = np.geomspace(1e-4, 1e4, 17)
FINER = np.geomspace(10.0**-0.25, 10.0**0.25, 9)
ODD = ("cubic", "linear")
MODEL = Model(feature_patches=6)  # views of one input then agree to 0.8 at most


def fit_theory(
    z: Any, target: Any = None, head: Any = None, steps: Any = None, *, training: Training | None = None,
    model: Model = MODEL, features: int = 2, first: int = FIRST, pairs: int = PAIRS,
) -> TheoryFit:  # fmt: skip
    """Fit the theory to the first records of a run.

    Parameters
    ----------
    z : (T, N, m) array, outputs of one view at T >= 2 steps; without target (T, 2 N, m): all of one view, then all of the
        other.
    target : (T, N, m) array, outputs for the other view of the same inputs by the same network.
    head : (T, m, m) array, the head's matrix at these steps. None: there is none.
    steps : (T,) increasing whole numbers, the steps of training. None: 0, 1, ...
    training : Training, the other switches; head and eta_head are fitted. None: the paper's.
    model : Model of odd phi ("cubic", "linear") and two neurons; its strengths are fitted, the rest is taken.
    features, first, pairs : K >= 1; records used, from 2 on; disjoint pairs of outputs followed, at most m/2.

    Returns
    -------
    TheoryFit

    Raises SettingError of one line for arrays that do not fit, outputs that are constant, or views that share nothing.
    """
    require(model.activation in ODD and model.neurons == 2, "model", repr(model), f"two neurons of {' or '.join(ODD)}")
    features = integer("features", features, at_least=1)
    first = integer("first", first, at_least=2)
    ours, theirs = views_of_records(z, target)
    when = _steps(steps, len(ours))
    used = min(first, len(ours))
    heads = _heads(head, len(ours), ours.shape[2], used)
    moments = [second_moments(ours[k], theirs[k]) for k in range(used)]
    shared, whole = moments[0]
    refuse_strangers(shared, whole, ours.shape[1])
    m = len(whole)
    require(features <= m, "features", features, f"at most the {m} outputs that vary")
    fitted, signal, gram, kept, dim = weights_of(model, shared, whole, features)
    count = min(integer("pairs", pairs, at_least=1), m // 2)
    order = np.random.default_rng(0).permutation(m)[: 2 * count].reshape(count, 2)
    starts = tuple(OrderParameters(signal[pair], gram[np.ix_(pair, pair)]) for pair in order)
    agreements = np.array([(np.diagonal(one) / np.diagonal(other)).mean() for one, other in moments])
    passed = (when[:used] - when[0]).astype(float)
    unit = unit_of(fitted, starts, passed, agreements)
    base = Training() if training is None else training
    if heads is None:
        chosen = replace(base, head="none")
    else:
        norms = np.array([norm_and_asymmetry(one)[0] for one in heads[:used]])
        chosen = ratio_of(fitted, replace(base, head="off-diagonal"), starts, unit * passed, norms, heads.shape[1])
    values = tuple(float(x) / np.trace(whole) for x in kept)
    rest = float(np.trace(shared) / np.trace(whole)) - sum(values)
    return TheoryFit(
        fitted, chosen, starts, values, rest, dim, unit, ours.shape[2], int(when[0]),
        int(when[used - 1]), used,
    )  # fmt: skip


def views_of_records(z: Any, target: Any) -> tuple[Array, Array]:
    """Outputs (T, N, m) of both views."""
    ours = host_array("z", z)
    shape = f"a stack (T, N, m) of two steps or more, each with both views: it is {ours.shape}"
    require(ours.ndim == 3 and len(ours) >= 2, "z", ours.shape, shape)
    if target is None:
        require(ours.shape[1] % 2 == 0, "z", ours.shape, "a stack (T, 2 N, m), one view and then the other, or a target")
        ours, theirs = np.split(ours, 2, axis=1)
    else:
        theirs = host_array("target", target)
        require(theirs.shape == ours.shape, "target", theirs.shape, f"of z's shape {ours.shape}: z of the other view")
    require(ours.shape[1] >= FEWEST and ours.shape[2] >= 2, "z", ours.shape, f"{FEWEST} inputs and two outputs or more")
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    for name, one in (("z", ours), ("target" if target is not None else "z", theirs)):
        require(bool(np.isfinite(one).all()), name, one.shape, "finite numbers")
    return ours, theirs


def _steps(steps: Any, count: int) -> np.ndarray:
    if steps is None:
        return np.arange(count)
    when = host_array("steps", steps)
    fits = when.shape == (count,) and bool((np.diff(when) > 0).all()) and bool((when == np.rint(when)).all())
    require(fits, "steps", when.shape, f"{count} increasing whole numbers, one for each z")
    return when.astype(np.int64)


def _heads(head: Any, count: int, m: int, used: int) -> np.ndarray | None:
    """Heads (used, m, m) of the first records; None where there is none, or none that has moved."""
    if head is None:
        return None
    heads = host_array("head", head)
    require(heads.shape == (count, m, m), "head", heads.shape, f"a stack {(count, m, m)}, a matrix for each z")
    heads = heads[:used].astype(np.float64)
    require(bool(np.isfinite(heads).all()), "head", heads.shape, "finite numbers")
    middle = float(np.diagonal(heads[0]).mean())
    require(0.5 < middle < 2.0, "head", f"a diagonal of {middle:.2g} at the first step", "1 there: the theory begins at I")
    return heads if any(norm_and_asymmetry(one)[0] > 0.0 for one in heads[1:]) else None


def second_moments(ours: Array, theirs: Array) -> tuple[Array, Array]:
    """(S, C), each (m, m), of the outputs that vary, in units of their mean variance; views are told apart by nothing."""
    one, two = ours - ours.mean(0), theirs - theirs.mean(0)
    deviation = np.sqrt((np.square(one).mean(0) + np.square(two).mean(0)) / 2)
    alive = deviation > 1e-7 * np.maximum(np.abs(ours).max(0), np.abs(theirs).max(0))
    require(int(alive.sum()) >= 2, "z", f"{int(alive.sum())} outputs that vary", "two or more")
    common = np.sqrt(np.square(deviation[alive]).mean())
    one, two = one[:, alive] / common, two[:, alive] / common
    across = one.T @ two / len(one)
    same = (one.T @ one + two.T @ two) / (2 * len(one))
    return (across + across.T) / 2, same


def refuse_strangers(shared: Array, whole: Array, inputs: int) -> None:
    """SettingError unless views have more in common than `BEYOND` deviations of what views of different inputs have.

    The mean over m outputs of such correlations has the variance tr(C^2) / (m^2 N).
    """
    share, chance = float(np.trace(shared)) / len(whole), np.sqrt(float(np.square(whole).sum()) / inputs) / len(whole)
    allowed = f"two views of each input, row by row: these correlate by {share:.2g}"
    require(share > BEYOND * chance, "z", whole.shape, allowed)


def weights_of(model: Model, shared: Array, whole: Array, features: int) -> tuple[Model, Array, Array, Array, float]:
    """(Model with its strengths, A (m, K), Q (m, m), eigenvalues (K,), d) of S and C: the module's head."""
    degree = ACTIVATIONS[model.activation].degree
    same, across, patches, *_ = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")
    values, vectors = np.linalg.eigh(shared)
    values, vectors = values[::-1][:features], vectors[:, ::-1][:, :features]
    require(bool(values[-1] > 0.0), "features", features, f"at most {int((values > 0).sum())}: no more are shared")
    answers = np.sqrt(features * values / across) * vectors
    sizes = (np.abs(answers) ** (2.0 / degree)).mean(0)
    order = np.argsort(-sizes, kind="stable")
    sizes, answers, values = sizes[order], answers[:, order], values[order]
    strengths = np.sqrt(sizes / sizes[0])
    noise, axes = np.linalg.eigh(whole - (same / across) * (vectors * values[np.argsort(order)]) @ vectors.T)
    noise = (axes * np.maximum(noise, FLOOR)) @ axes.T / patches
    gram = _gram(model, noise)
    scale = 1.0 / np.sqrt(np.diagonal(gram).mean())
    signal = scale * np.sign(answers) * np.abs(answers) ** (1.0 / degree) / strengths
    fitted = replace(model, strong=1.0, weak=float(strengths[-1]), strengths=tuple(float(x) for x in strengths))
    return fitted, signal, scale**2 * gram, values, float(1.0 / np.square(signal[:, 0]).mean())


def _gram(model: Model, noise: Array) -> Array:
    """Q (m, m) whose phi have these covariances: of one noise patch."""
    sigma = model.noise
    if model.activation == "linear":
        return (noise + noise.T) / (2 * sigma**2)
    own = (np.diagonal(noise) / (15.0 * sigma**6)) ** (1.0 / 3.0)
    size = np.sqrt(np.outer(own, own))
    wanted = np.clip(noise / (sigma**6 * size**3), -15.0, 15.0)
    # 6 c^3 + 9 c = wanted, by Cardano's formula in hyperbolic functions: c = sqrt(2) sinh(asinh(wanted / (3 sqrt 2)) / 3)
    c = np.sqrt(2.0) * np.sinh(np.arcsinh(wanted / (3.0 * np.sqrt(2.0))) / 3.0)
    np.fill_diagonal(c, 1.0)
    c = np.clip((c + c.T) / 2, -1.0 + 1e-12, 1.0)
    np.fill_diagonal(c, 1.0)
    return size * c


def unit_of(model: Model, starts: tuple[OrderParameters, ...], passed: Array, agreements: Array) -> float:
    """Time of the flow that a step takes, by least squares over `UNITS`."""
    times = np.concatenate([[0.0], np.geomspace(1e-6, LONG, 201)])
    signal, gram, _ = pairs_in_time(model, Training(head="none"), starts, times)
    same, across = output_moments(model, signal, gram)
    grown = (np.diagonal(across, axis1=-2, axis2=-1) / np.diagonal(same, axis1=-2, axis2=-1)).mean((0, 2))
    grown = grown - grown[0] + agreements[0]
    misses = [np.square(np.interp(unit * passed, times, grown) - agreements).sum() for unit in UNITS]
    return float(UNITS[int(np.argmin(misses))])


def ratio_of(
    model: Model, training: Training, starts: tuple[OrderParameters, ...], times: Array, norms: Array, m: int
) -> Training:
    """The training whose eta_head has the head grow as it did: least squares of logarithms, on `RATIOS` and then between."""
    seen = norms[1:] > 0.0

    def miss(ratio: float) -> float:
        heads = pairs_in_time(model, replace(training, eta_head=ratio), starts, times)[2]
        told = np.maximum(head_norm(heads, m)[1:], 1e-300)
        return float(np.square(np.log(told[seen]) - np.log(norms[1:][seen])).sum())

    best = float(min(RATIOS, key=lambda ratio: miss(float(ratio))))
    best = float(min(best * FINER, key=lambda ratio: miss(float(ratio))))
    return replace(training, eta_head=best)
