"""Drawn cases: a model, a dimension, a start and a head rate, each of which `python -m dynlab.run` can repeat.

Start number 0 of ensemble seed s is the start that the command makes of `--seeds 1 --seed s`: a counterexample, shrunk by
hypothesis, prints that command.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from dynlab import Model, simulate
from dynlab.population.pair import limit
from dynlab.population.starts import draw_start


@dataclass(frozen=True)
class Case:
    """One start; shown as the command that repeats it."""

    model: Model
    dim: int
    seed: int
    eta_head: float

    def __repr__(self):
        m = self.model
        words = ["python", "-m", "dynlab.run", "--strong", m.strong, "--weak", m.weak, "--noise", m.noise]
        words += ["--patches", m.patches, "--feature-patches", m.feature_patches, "--mask", m.mask]
        words += ["--activation", m.activation, "--dim", self.dim, "--seeds", 1, "--seed", self.seed]
        words += ["--eta-head", self.eta_head]
        return shlex.join(str(word) for word in words)

    def _repr_pretty_(self, printer, _cycle):
        printer.text(repr(self))  # what hypothesis prints of a failing case

    @cached_property
    def start(self):
        """The start."""
        return draw_start(self.model, self.dim, self.seed, 0)

    @cached_property
    def fate(self) -> limit.Fate:
        """What the limit d -> infinity says of it."""
        return limit.fate(self.model, self.start.signal[None], self.start.noise_gram[None], self.eta_head)

    @cached_property
    def second_phase(self) -> tuple[float, float]:
        """(T_2 - T_1, |w~_o|/|w_o(0)| at its end) in the limit."""
        start = self.start
        found = limit.substitution(self.model, start.signal[None], start.noise_gram[None], self.eta_head)
        return float(found.duration[0]), float(found.noise[0] / norms(start)[1 - self.fate.lender[0]])

    def stages_apart(self) -> bool:
        """Whether d is large enough for this start: the borrower is lent the feature long before it could move alone,
        and its noise is small beside its start when the second feature takes over."""
        duration, noise = self.second_phase
        alone = self.blow_up_times()[1 - int(self.fate.lender[0])].min()
        return self.clear_race(1.2) and noise < 0.2 and alone > 3.0 * (self.fate.time[0] + duration)

    @property
    def signs(self) -> str:
        """Whether sigma is +1, for hypothesis statistics."""
        return "same sign" if self.fate.same_sign[0] else "opposite signs"

    def run(self, head: str = "off-diagonal", **options):
        """Its trajectory; one that the solver gives up on is a failure of the test."""
        run = simulate(self.model, self.start, head=head, eta_head=self.eta_head, **options)
        assert run.success, f"{run.status} after {run.steps} steps"
        return run

    def roles(self) -> tuple[int, int, int, int]:
        """(lender, borrower, first feature, second feature) as the limit has them."""
        i, l = int(self.fate.lender[0]), int(self.fate.feature[0])
        return i, 1 - i, l, 1 - l

    def blow_up_times(self) -> np.ndarray:
        """Times (2, 2) after which each signal would blow up by itself."""
        return limit.race_times(self.model, self.start.signal, self.start.noise_gram)

    def clear_race(self, factor: float) -> bool:
        """Whether the first feature is learnt clearly before any other signal moves: no tie within the factor."""
        first, second = np.sort(self.blow_up_times().ravel())[:2]
        return bool(second > factor * first)


@st.composite
def models(draw, activation: str = "cubic") -> Model:
    """Models in which the race is on: noise of every size, both mask laws, equal strengths too."""
    mask = draw(st.sampled_from(("half", "independent")))
    patches = 2 * draw(st.integers(2, 12))
    return Model(
        strong=draw(st.sampled_from((1.0, 0.5, 2.0))),
        weak=draw(st.sampled_from((0.1, 0.2, 0.3, 0.5))),
        noise=draw(st.sampled_from((0.5, 0.2, 0.35, 1.0))),
        patches=patches,
        feature_patches=draw(st.integers(2, patches - 1)),
        activation=activation,
        mask=mask,
    )


@st.composite
def cases(draw, dims=(10**8, 10**10, 10**12), rates=(0.01, 0.001, 0.1, 1.0), activation: str = "cubic") -> Case:
    """Cases; shrinks towards the paper's model, small seeds and the first of `dims` and `rates`."""
    return Case(
        draw(models(activation)),
        draw(st.sampled_from(dims)),
        draw(st.integers(0, 10**6)),
        draw(st.sampled_from(rates)),
    )


def cosines(run, place: int = -1) -> np.ndarray:
    """Squared cosines (2, 2) at a recorded time."""
    return run.cosines[place]


def norms(state) -> np.ndarray:
    """|w_j| (2,) of an OrderParameters."""
    return np.sqrt((state.signal**2).sum(1) + np.diagonal(state.noise_gram))


def head_size(run) -> np.ndarray:
    """max |E_jr|, j != r, at every recorded time."""
    return np.abs(run.head - np.eye(2)).max((1, 2))
