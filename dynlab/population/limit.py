r"""What becomes of a start as d -> infinity at a fixed rate r = eta_head/eta (two neurons, two features, cubic).

Signals start at size d^(-1/2), so stages that take different powers of d follow one another cleanly.

**The race.** While noise dominates, dA_jl/dt = 6 b alpha_l^6 A_jl^5 / (E[n1] C_jj) with b = E[N1 N2]/2 and
C_jj = 15 sigma^6 |w_j|^6, so that alone the signal would blow up after

    T_jl = E[n1] C_jj / (24 b alpha_l^6 A_jl^4).

The least of the four gives T_1, a time ~ d^2: neuron i, the *lender*, learns feature l. Call the other neuron o (the
*borrower*) and the other feature k; their signals have by then grown to A(T_1) = A(0) / (1 - T_1/T)^(1/4). Without a
head each neuron runs its own race: it takes the feature with the least T_jl.

**Substitution.** E_oi grows in the direction of f_il f_ol while no other signal moves, and neuron o's noise, of norm s,
shrinks: with W_j = |w_j(0)|, e = sqrt(r/3) W_o, and the conservation laws of `dynlab.population.invariants`,

    s = W_o cos(theta),   E = e sin(theta),   X = f_il = alpha_l^3 (W_i^2 + W_o^2 - s^2)^(3/2),   y = f_ol(T_1),
    N = E[n1] 15 sigma^6 s^6,   V = a E^2 X^2 + N,   a = E[N1^2]/2,
    ds^2/dt = -12 b E X y sqrt(N) / V^(3/2),
    T_2 - T_1 = int dtheta V^(3/2) W_o^2 cos(theta) / (6 b e X y sqrt(N)).

Since A_ok grows by dA_ok/dt = 6 b alpha_k^6 A_ok^5 / sqrt(N V), feature k takes over when s has fallen to

    s_b = [a e X alpha_k^6 A_ok^4 / (E[n1] 15 sigma^6 y)]^(1/4)  ~  (r/d)^(1/8),

the upper end of the integral. Its first part is ~ d^(3/2) r^(-1/2) and its last ~ d^(13/8) r^(7/8), which leads
only for d >> r^(-11). Then |E| = e (1 - s_b^2/(2 W_o^2)).

**Who takes the second feature?** Output F_o = f_o + E_oi f_i sees feature k through both neurons. Neuron i's own
output is at rest, so A_ok and A_ik feel the same force g = -dL/dF_ok:

    dA_ok/dt = 3 alpha_k^3 A_ok^2 g,     dA_ik/dt = E_oi 3 alpha_k^3 A_ik^2 g,

and E_oi/A_ok - 1/A_ik is conserved until one of the two blows up. Where sigma = sign(A_11 A_12 A_21 A_22) is -1, the
gain of A_ok drives A_ik to 0 and neuron o learns feature k. Where sigma = +1 they race: neuron o wins iff |A_ok(T_1)|
> e |A_ik(T_1)|. Otherwise the *lender* turns to feature k until both outputs are parallel. There the determinant f_11
f_22 - f_12 f_21, which drives the head, vanishes; the noise is gone; the head stays at its bound e and the outputs
have dimension one. The direction is that of the borrower's signals, A_ol as at T_1 and A_ok / (1 - |A_ok|/(e
|A_ik|)).

**Share of merged starts.** For weak/strong -> 0 the feature k does not decide the race and A_ok, A_ik are independent
Gaussians, hence

    P(merged) = (1/2) P(|A_ok| < e |A_ik|) = (1/pi) arctan sqrt(r/3)  ->  sqrt(r/3)/pi,

an exponent of 1/2 in r, and a limit below 1 for the share of starts that learn both features at any fixed r. For
other ratios only the constant changes (the law of A_ik(T_1), given who was first); `share_merged` integrates it over
starts.

The argument is a sketch at the level of leading powers, not a proof: what it neglects is not bounded. It is checked
start by start against the flow by `python -m dynlab.theorem --claims 7`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynlab import _show
from dynlab._checks import require
from dynlab.formulas import masks


def check_model(model) -> None:
    """Raise SettingError unless the model is one that the limit is worked out for."""
    require(model.activation == "cubic", "activation", model.activation, "cubic (the limit is worked out for it alone)")
    require(model.neurons == 2, "neurons", model.neurons, "2 (the limit is worked out for two)")
    require(model.features == 2, "strengths", model.strengths, "two (the limit is worked out for two features)")


def has_race(model) -> bool:
    """Whether there is a race at all: noise to grow out of, and feature patches in both views (never with a single one)."""
    across = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")[1]
    return model.noise > 0.0 and across > 0.0


def race_times(model, signal, gram):
    """Times T_jl (..., m, K) after which signals (..., m, K) would blow up by themselves; noise Gram (..., m, m)."""
    _, across, patches, *_ = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")
    noise = patches * 15.0 * (model.noise**2 * np.diagonal(gram, axis1=-2, axis2=-1)) ** 3
    drive = 24.0 * across / model.features * (np.asarray(model.strengths) ** 1.5 * signal) ** 4
    with np.errstate(divide="ignore"):
        return noise[..., None] / drive


def head_free_features(model, signal, gram):
    """The feature (..., m) that each neuron takes without a head."""
    return race_times(model, signal, gram).argmin(-1)


@dataclass(frozen=True)
class Fate:
    """The limit's answer for N starts.

    time (N,): T_1. lender, feature (N,): who learns first, and what. tie (N,): |A_ok| / (e |A_ik|) at T_1, the borrower
    winning above 1. same_sign (N,): whether sigma = +1. merged (N,): whether the neurons end on one direction.
    cosine (N,): squared cosine of that direction with the second feature, carried (N,): share of the outputs' variance that
    it carries, x/(1 + x), x = [alpha_k^2 cosine/(alpha_l^2 (1 - cosine))]^3 (both nan where they do not merge).
    """

    time: np.ndarray
    lender: np.ndarray
    feature: np.ndarray
    tie: np.ndarray
    same_sign: np.ndarray
    merged: np.ndarray
    cosine: np.ndarray
    carried: np.ndarray

    __repr__ = _show.fields_line
    _repr_html_ = _show.fields_table

    def learns_both(self, margin: float) -> np.ndarray:
        """(N,) whether both features are learnt: each carries more than `margin` of some output's variance."""
        return ~self.merged | ((self.carried > margin) & (self.carried < 1.0 - margin))


def fate(model, signal, gram, head_rate: float) -> Fate:
    """Fate of starts signal (N, 2, 2), noise Gram (N, 2, 2), E = I, under a head that trains at rate r > 0."""
    check_model(model)
    times = race_times(model, signal, gram)
    n = len(signal)
    rows = np.arange(n)
    winner = times.reshape(n, 4).argmin(1)
    lender, feature = winner // 2, winner % 2
    borrower, second = 1 - lender, 1 - feature
    first = times[rows, lender, feature]

    def at_first(j, l):
        return np.abs(signal[rows, j, l]) / (1.0 - first / times[rows, j, l]) ** 0.25

    square = (signal**2).sum(-1) + np.diagonal(gram, axis1=-2, axis2=-1)
    bound = np.sqrt(head_rate / 3.0 * square[rows, borrower])
    with np.errstate(divide="ignore", invalid="ignore"):
        tie = at_first(borrower, second) / (bound * at_first(lender, second))
        same_sign = np.sign(signal).prod((1, 2)) > 0
        merged = same_sign & (tie < 1.0)
        slope = at_first(borrower, second) / (1.0 - tie) / at_first(borrower, feature)
    strengths = np.asarray(model.strengths)
    power = (strengths[second] / strengths[feature] * slope) ** 6
    cosine, carried = (np.where(merged, x / (1.0 + x), np.nan) for x in (slope**2, power))
    return Fate(first, lender, feature, tie, same_sign, merged, cosine, carried)


@dataclass(frozen=True)
class Substitution:
    """The limit's phase II of N starts: duration T_2 - T_1 (N,), and the borrower's noise s_b (N,) when it ends.

    Valid where s_b is well below the size of the weights and the borrower wins the second feature.
    """

    duration: np.ndarray
    noise: np.ndarray

    __repr__ = _show.fields_line
    _repr_html_ = _show.fields_table


def substitution(model, signal, gram, head_rate: float, points: int = 400) -> Substitution:
    """Phase II of starts signal (N, 2, 2), noise Gram (N, 2, 2), E = I, at rate r > 0; by Gauss-Legendre with `points`."""
    found = fate(model, signal, gram, head_rate)
    rows, i, l = np.arange(len(signal)), found.lender, found.feature
    o, k = 1 - i, 1 - l
    same, across, patches, *_ = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")
    a, b, kappa = same / 2.0, across / 2.0, patches * 15.0 * model.noise**6
    alpha = np.asarray(model.strengths)
    square = (signal**2).sum(-1) + np.diagonal(gram, axis1=-2, axis2=-1)
    mine, other = square[rows, o], square[rows, i]
    grown = (1.0 - found.time[:, None, None] / race_times(model, signal, gram)).clip(1e-16) ** -0.25 * np.abs(signal)
    own_first, own_second = grown[rows, o, l], grown[rows, o, k]
    y = (alpha[l] * own_first) ** 3
    peak = np.sqrt(head_rate / 3.0 * mine)
    largest = alpha[l] ** 3 * (mine + other) ** 1.5
    noise = (a * peak * largest * alpha[k] ** 6 * own_second**4 / (kappa * y)) ** 0.25
    end = np.arccos(np.minimum(noise / np.sqrt(mine), 1.0))
    nodes, weights = np.polynomial.legendre.leggauss(points)
    theta = 0.5 * end * (nodes[:, None] + 1.0)
    s2 = mine * np.cos(theta) ** 2
    x = alpha[l] ** 3 * (mine + other - s2) ** 1.5
    n = kappa * s2**3
    v = a * (peak * np.sin(theta) * x) ** 2 + n
    rate = v**1.5 * mine * np.cos(theta) / (6.0 * np.sqrt(n) * b * peak * x * y)
    return Substitution((0.5 * end * weights[:, None] * rate).sum(0), noise)


def limit_starts(count: int, seed: int = 0):
    """Signals (N, 2, 2) times sqrt(d), and noise Gram matrices, of `count` starts in the limit d -> infinity."""
    signal = np.random.default_rng(seed).standard_normal((count, 2, 2))
    return signal, np.broadcast_to(np.eye(2), (count, 2, 2))


def share_merged(model, head_rate: float, count: int = 400_000, seed: int = 0) -> float:
    """Share of merged starts as d -> infinity, over `count` starts (an error of sqrt(share/count))."""
    signal, gram = limit_starts(count, seed)
    # Signals of order one stand for d^(-1/2); only their ratios enter, and |w_o(0)| = 1.
    scale = 1e-9
    return float(fate(model, signal * scale, gram, head_rate).merged.mean())


def share_merged_small_weak(head_rate):
    """(1/pi) arctan sqrt(r/3): share of merged starts for d -> infinity, weak/strong -> 0."""
    return np.arctan(np.sqrt(np.asarray(head_rate) / 3.0)) / np.pi


def share_weak(model) -> float:
    """p = (2/pi) arctan((weak/strong)^(3/2)): how often a neuron without a head takes the weak feature."""
    return float(2.0 / np.pi * np.arctan((model.weak / model.strong) ** 1.5))
