"""What the off-diagonal entries of a head do in time, and which of the paper's four phases that looks like.

I: nothing is lent yet. II, substitution: outputs borrow from one another and the entries grow. III, acceleration: the
borrower learns a feature of its own while they stay large. IV: they return towards the identity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from dynlab.population.head_matrices import norm_and_asymmetry

if TYPE_CHECKING:
    from dynlab.tools.types import Array

LENDS_NOTHING = 0.01  # share of the outputs' energy below which the head counts as the identity
FALLEN, RISEN = 0.9, 1.05  # of the peak; of what the head was three quarters of the way
DEPARTED = 0.05  # of a diagonal from 1, beyond which the head is not the paper's, which trains off it alone
MEANING = {
    "near the identity": "there is nothing borrowed to speak of",
    "rising": "outputs borrow from one another: substitution, phase II",
    "steady": "what is borrowed stays",
    "falling": "what was borrowed is given back, as in phase IV",
    "rising again": "what was given back is borrowed again",
}


@dataclass(frozen=True)
class HeadState:
    """A head E (m, m), and its past where there is one.

    norm: ||off-diag(E)||_F. asymmetry: ||E - E^T||_F over it, nan for a diagonal head. diagonal: largest |E_jj - 1|.
    lent: share of the outputs' energy that is borrowed, if the z were uncorrelated and alike. norms (T,): over the steps.
    trend: a key of `MEANING`, "" of one matrix. phase: which of the four it looks like, in words.
    """

    norm: float
    asymmetry: float
    diagonal: float
    lent: float
    norms: tuple[float, ...] = field(repr=False)
    trend: str
    phase: str


def lent_share(norm: float, kept: float) -> float:
    """Share of the outputs' energy that is borrowed: of off-diagonal entries of this norm beside `kept`, the sum of the
    diagonal's squares, m where it is 1."""
    return norm**2 / (norm**2 + kept) if norm or kept else 0.0


def trend_of(norms: Array, lent: float) -> str:
    """What norms (T,) of the off-diagonal entries do at their end, with the share `lent` borrowed: a key of `MEANING`."""
    now, peak = float(norms[-1]), float(norms.max())
    before = norms[(3 * (len(norms) - 1)) // 4]
    if lent < LENDS_NOTHING:
        return "near the identity"
    if now < FALLEN * peak:
        return "falling" if now <= before else "rising again"
    return "rising" if now > RISEN * before else "steady"


def head_state(stack: Array) -> HeadState:
    """Of heads (T, m, m), the last of which is the present one."""
    now = stack[-1]
    norm, asymmetry = norm_and_asymmetry(now)
    norms = [norm_and_asymmetry(one)[0] for one in stack]
    diagonal = np.diagonal(now)
    lent = lent_share(norm, float(diagonal @ diagonal))
    trend = trend_of(np.array(norms), lent) if len(stack) > 1 else ""
    departed = float(np.abs(diagonal - 1.0).max())
    peaks = [lent_share(n, float(np.square(np.diagonal(one)).sum())) for n, one in zip(norms, stack, strict=True)]
    return HeadState(norm, asymmetry, departed, lent, tuple(norms), trend, _phase(trend, lent, max(peaks), departed))


def _phase(trend: str, lent: float, most: float, departed: float) -> str:
    """Which phase it looks like; most: the largest share ever lent."""
    if not trend:
        found = "the start (phase I) or the end (IV)" if lent < LENDS_NOTHING else "phase II, III or IV"
        found += ": one matrix does not tell, a stack of steps (T, m, m) does"
    elif trend == "near the identity":
        found = "phase I: the head has not begun" if most < LENDS_NOTHING else "the end of phase IV: the head has returned"
    else:
        found = {
            "rising": "phase II, substitution", "steady": "phase III, acceleration, or a plateau",
            "falling": "phase IV, return", "rising again": "phase II once more",
        }[trend]  # fmt: skip
    if departed > DEPARTED:
        found += "; its diagonal is not the identity, so it is not the paper's head, and the phases are a likeness"
    return found
