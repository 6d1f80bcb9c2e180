r"""How the flow depends on the sizes of what it is given: its exact scalings, and how long it takes.

**Exact scalings.** With u_jl = alpha_l A_jl and noise parts sigma w~_j, the loss is a function of (u, sigma^2 Q, E) and of
the patch counts alone, and, outputs being normalised, it does not change when every output is multiplied by one number.

* *Strengths and noise together*, (alpha, sigma) -> c (alpha, sigma): every output is multiplied by c^q, q the degree of
  phi. The loss is the same function of (A, Q, E), so nothing changes: no signal, no time, no head rate.
* *Weights*, w -> s w: dL/dw falls to 1/s of it, dL/dE stays. With dw/dt = -dL/dw, dE/dt = -r dL/dE the orbit is the same
  one, s times as large, at times s^2 t, if the head's rate is r/s^2 (which leaves r |w|^2, and so the bound
  sqrt(r/q) |w_j| of the head's entries, what it was).
* *Patch counts*, odd phi: rho = b <F, f> / sqrt((a |F|^2 + n C_FF)(a |f|^2 + n C_ff)) with a = E[N1^2]/K, b = E[N1 N2]/K,
  n = E[n1]: b multiplies the force, a and n enter as n/a alone, and C ~ sigma^(2q). So every model is the model with
  a = b = n = 1 and the noise sigma (n/a)^(1/(2q)), seen at times t b/a.

* *Frequencies of features*, odd phi: p_l is part of the strength, alpha_l (K p_l)^(1/(2q)) (`dynlab.formulas.components`).

What is left is the ratio of noise to strength, on which nothing depends by a power exactly. Two laws say what it does.

**While noise dominates** an output, feature l drives A_jl by dA/dt ~ b alpha_l^(2q) A^(2q-1) / (n sigma^(2q) |w|^(2q))
(`dynlab.population.pair.limit` has the cubic's constant). From |w|/sqrt(d) it is learnt after

    T_l ~ (n/b) (sigma/alpha_l)^(2q) |w|^2 d^(q-1),            (up to log d for q = 1).

**While a signal dominates**, as in phase II, where dT_2/dtheta ~ V^(3/2)/sqrt(N) with V ~ a alpha^(2q) |w|^(2q) and
N ~ n sigma^(2q) |w|^(2q), what noise drives takes longer the less there is, by (alpha/sigma)^q.

`horizon` multiplies the time unit of the paper's default model by these: by the first for the weakest feature, by the second
for the strongest, each counted from the default model and only where it lengthens.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from dynlab.formulas import masks
from dynlab.settings.activation_records import ACTIVATIONS
from dynlab.settings.training import LATEST
from dynlab.tools.checks import require

if TYPE_CHECKING:
    from dynlab.population.order_parameters import OrderParameters
    from dynlab.settings.model import Model
    from dynlab.tools.types import Array

# The default end in units of |w|^2 d^(q-1) for the model with strengths 1, 0.3, noise 0.5, 16 patches, 4 of them features.
UNITS = 1e6
WEAK = 0.3
STRIDE = 8  # of the powers of two that weights are measured in
SIZES = (1e-20, 1e20)  # that weights may have at the start: losses are made of their twelfth powers
FAINTEST = 1e-40  # signal, relative to its neuron's weights, whose time to grow is still a number


def effective_noise(model: Model) -> tuple[float, float]:
    """The noise sigma (n/a)^(1/(2q)) that a model with a = b = n = 1 would have, and its unit of time a/b.

    Without a feature patch in both views (b = 0) nothing is learnt and the unit is that of b = a.
    """
    degree = ACTIVATIONS[model.activation].degree
    same, across, patches, *_ = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")
    noise = model.noise * (patches * model.features / same) ** (0.5 / degree)
    return noise, same / across if across > 0.0 else 1.0


def horizon(model: Model, dim: float, scale: float = 1.0) -> float:
    """Default end of a flow that does not come to rest before, from weights of size `scale` with signals of scale/sqrt(dim).

    It changes with the exact scalings as times do: by scale^2 with the weights, not with strengths and noise together. What
    would be later than any flow ends (`LATEST`) ends there, and what has not been learnt by then waits.
    """
    degree = ACTIVATIONS[model.activation].degree
    noise, unit = effective_noise(model)
    usual, usual_unit = _usual(degree)
    ratio, strengths = np.log(max(noise, 1e-300) / usual), np.log(np.asarray(model.effective_strengths, dtype=float))
    longer = 0.0
    if noise > 0.0:
        longer = max(0.0, 2 * degree * (ratio - strengths.min() + np.log(WEAK)), degree * (strengths.max() - ratio))
    end = UNITS * max(float(dim), 1.0) ** (degree - 1) * (unit / usual_unit) * scale**2
    return float(min(end * np.exp(min(longer, np.log(LATEST))), LATEST))


def _usual(degree: float) -> tuple[float, float]:
    """`effective_noise` of the default model's patches and noise at this degree."""
    same, across, patches, *_ = masks.count_moments(16, 4, True)
    return 0.5 * (patches * 2 / same) ** (0.5 / degree), same / across


def strength_unit(model: Model) -> float:
    """The power of two next to the largest of the strengths and the noise; dividing by it changes no bit of a result."""
    return float(2.0 ** np.rint(np.log2(np.max([*np.asarray(model.strengths), model.noise]))))


def in_strength_units(model: Model) -> Model:
    """The model with strengths and noise divided by `strength_unit`: the same flow, far from overflow."""
    unit = strength_unit(model)
    if unit == 1.0:
        return model
    strengths = tuple((np.asarray(model.strengths) / unit).tolist())
    return replace(model, strong=strengths[0], weak=strengths[-1], strengths=strengths, noise=model.noise / unit)


def weight_units(sizes: Array) -> np.ndarray:
    """Powers of two (N,) in which weights of these sizes (N,) are of order one; 1 for all that are within a factor of 16."""
    with np.errstate(divide="ignore"):
        powers = np.log2(sizes)
    return 2.0 ** np.where(np.isfinite(powers), STRIDE * np.rint(powers / STRIDE), 0.0)


def check_start(model: Model, start: OrderParameters) -> None:
    """SettingError unless weights, and for degree 2 and more signals, are of sizes whose powers and times are numbers."""
    size = np.sqrt((start.signal**2).sum(1) + np.diagonal(start.noise_gram))
    low, high = SIZES
    wrong = size[(size > 0.0) & ~((size >= low) & (size <= high))]
    require(not len(wrong), "start", f"weights of length {wrong.max(initial=0.0):g}", f"of length 0 or {low:g} to {high:g}")
    if ACTIVATIONS[model.activation].degree > 1:
        share = np.abs(start.signal / np.where(size > 0.0, size, 1.0)[:, None])
        tiny = share[(share > 0.0) & (share < FAINTEST)]
        allowed = f"of signals that are 0 or at least {FAINTEST:g} of their neuron's weights"
        require(not len(tiny), "start", f"a signal of {tiny.max(initial=0.0):g} of its neuron's weights", allowed)
