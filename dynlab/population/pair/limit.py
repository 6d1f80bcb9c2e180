r"""What becomes of a start in large dimensions d, at a rate r = eta_head/eta (two neurons, two features, cubic).

Signals start at size d^(-1/2), so stages that take different powers of d follow one another cleanly. Two scales of r matter:
r of order one, and r d of order one, where the *second route* begins.

**The race.** While noise dominates, dA_jl/dt = 6 b alpha_l^6 A_jl^5 / (E[n1] C_jj) with b = E[N1 N2]/2 and
C_jj = 15 sigma^6 |w_j|^6, so that alone the signal would blow up after

    T_jl = E[n1] C_jj / (24 b alpha_l^6 A_jl^4).

The least of the four gives T_1, a time ~ d^2: neuron i, the *lender*, learns feature l. Call the other neuron o (the
*borrower*) and the other feature k; their signals have by then grown to A(T_1) = A(0) / (1 - T_1/T)^(1/4). Without a
head each neuron runs its own race: it takes the feature with the least T_jl.

**Substitution.** E_oi grows in the direction of f_il f_ol, and neuron o's noise, of norm s, shrinks. With W_j = |w_j(0)|, e
= sqrt(r/3) W_o and u = |E_oi|/e, the conservation laws of `dynlab.population.invariants` and the force of feature l alone,
which goes with the borrower's noise, leave

    |w_i|^2 = W_i^2 + W_o^2 u^2,    A_ol^2 + s^2 = W_o^2 (1 - u^2),
    dE_oi/dt = 2 r b X y N/(V^(3/2) U^(1/2)),    dA_ol/dt = 6 b alpha_l^3 A_ol^2 y N/(V^(3/2) U^(1/2)),

X = f_il = alpha_l^3 |w_i|^3, y = f_ol, N = E[n1] 15 sigma^6 s^6, V and U the variances of F_o and f_o. So time drops out:
dA_ol/dE_oi = 3 alpha_l^3 A_ol^2/(r X), and from A_0 = |A_ol(T_1)| at u = 0 the *orbit* is

    1/A_ol = 1/A_0 - sqrt(3/r) W_o u / (W_i^2 sqrt(W_i^2 + W_o^2 u^2)).

It ends where s = 0: A_ol^2 = W_o^2 (1 - u^2).

**Two routes.** A_ol would run away at u = 1 where the *slip* p = A_0 sqrt(3/r) W_o/(W_i^2 sqrt(W_i^2 + W_o^2)) is 1. Since
A_0 ~ d^(-1/2), p ~ (r d)^(-1/2).

    p < 1   first route: |E_oi| comes to its bound e, and A_ol stays ~ d^(-1/2). The borrower is noise, then nothing, and
            what its output says is borrowed.
    p > 1   second route: neuron o runs away along v_l at some u < 1. It collapses onto v_l with a length of its own, and
            |E_oi| stays below its bound, at e u. What the head does to the second feature, it does after the collapse.

The crossover is near r d = 1. As r d -> 0 every borrower takes the second route, however large d is: the limits d ->
infinity and r -> 0 do not commute.

**How long it lasts**, on the first route: with s = W_o cos(theta), E = e sin(theta), y = f_ol(T_1), X = alpha_l^3 (W_i^2 +
W_o^2 - s^2)^(3/2), V = a E^2 X^2 + N, a = E[N1^2]/2,

    ds^2/dt = -12 b E X y sqrt(N) / V^(3/2),
    T_2 - T_1 = int dtheta V^(3/2) W_o^2 cos(theta) / (6 b e X y sqrt(N)).

Since A_ok grows by dA_ok/dt = 6 b alpha_k^6 A_ok^5 / sqrt(N V), feature k takes over when s has fallen to

    s_b = [a e X alpha_k^6 A_ok^4 / (E[n1] 15 sigma^6 y)]^(1/4)  ~  (r/d)^(1/8),

the upper end of the integral. Its first part is ~ d^(3/2) r^(-1/2) and its last ~ d^(13/8) r^(7/8), which leads
only for d >> r^(-11). Then |E| = e (1 - s_b^2/(2 W_o^2)).

**Who takes the second feature?** Until the orbit ends, A_ok grows by the same noise as A_ol, so that 1/(alpha_k^6 A_ok^4) -
1/(alpha_l^6 A_ol^4) is conserved. Then the noise is gone, and F_o = f_o + E_oi f_i sees feature k through both neurons.
Neuron i's own output is at rest, so A_ok and A_ik feel the same force g = -dL/dF_ok = 2 a b F_ol E_oi D/(V^(3/2) U^(1/2)),
D = f_il f_ok - f_ik f_ol:

    dA_ok/dt = 3 alpha_k^3 A_ok^2 g,     dA_ik/dt = E_oi 3 alpha_k^3 A_ik^2 g,

and E_oi/A_ok - 1/A_ik is conserved until one of the two blows up. Where sigma = sign(A_11 A_12 A_21 A_22) is -1, D has the
sign for which the gain of A_ok drives A_ik to 0, and neuron o learns feature k. Where sigma = +1:

  * if |A_ok|/|A_ol| < |A_ik|/|A_il|, D has the other sign and drives both A_ok and A_ik to 0: both neurons keep v_l, and
    the head stays where it is. (On the first route A_ol is small, and this hardly ever happens.)
  * else they race: neuron o wins iff |A_ok| > |E_oi A_ik|. Otherwise the *lender* turns to feature k until both outputs
    are parallel. There the determinant f_11 f_22 - f_12 f_21, which drives the head, vanishes; the noise is gone; the head
    stays and the outputs have dimension one. The direction is that of the borrower's signals, A_ol and A_ok / (1 -
    |A_ok|/|E_oi A_ik|).

So one rule tells the fate on both routes, with |E_oi|, A_ol, A_ok from the orbit's end: the neurons merge iff sigma = +1 and

    |A_ok| < max(|E_oi|, |A_ol|/|A_il|) |A_ik|.

On the first route the maximum is e = sqrt(r/3) W_o; as r d -> 0 it is W_o/W_i, and which starts fail no longer depends on r.

**Share of merged starts.** On the first route, for weak/strong -> 0, the feature k does not decide the race and A_ok, A_ik
are independent Gaussians, hence

    P(merged) = (1/2) P(|A_ok| < e |A_ik|) = (1/pi) arctan sqrt(r/3)  ->  sqrt(r/3)/pi,

an exponent of 1/2 in r, and a limit below 1 for the share of starts that learn both features at any fixed r. For
other ratios only the constant changes (the law of A_ik(T_1), given who was first); `share_merged` integrates it over
starts. At a fixed d this holds while r d >> 1. Below, the share rises again, to that of the second route.

**Features of unequal frequency** enter by their effective strengths alpha_l (2 p_l)^(1/6), exactly, since phi is odd
(`dynlab.formulas.components`): everything here holds with those for alpha_l. Without a head a neuron takes the second
feature if |A_2/A_1| > (alpha_1/alpha_2)^(3/2) (p_1/p_2)^(1/4): a sixth root of how often it is seen counts as strength.

The argument is a sketch at the level of leading powers, not a proof: what it neglects is not bounded. It is checked
start by start against the flow by `python -m dynlab.theorem --claims 7,11`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynlab.formulas import masks
from dynlab.settings.model import without_correlation
from dynlab.tools import show
from dynlab.tools.checks import require

MOST_STEPS, CLOSE = 60, 1e-10  # of Newton's method on a logarithm


def check_model(model) -> None:
    """Raise SettingError unless the model is one that the limit is worked out for."""
    require(model.activation == "cubic", "activation", model.activation, "cubic (the limit is worked out for it alone)")
    require(model.neurons == 2, "neurons", model.neurons, "2 (the limit is worked out for two)")
    require(model.features == 2, "strengths", model.strengths, "two (the limit is worked out for two features)")
    without_correlation(model, "the limit, which is worked out for orthonormal features")


def has_race(model) -> bool:
    """Whether there is a race at all: noise to grow out of, feature patches in both views (never with one), orthonormal
    features."""
    across = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")[1]
    return model.noise > 0.0 and across > 0.0 and model.correlation is None


def race_times(model, signal, gram):
    """Times T_jl (..., m, K) after which signals (..., m, K) would blow up by themselves; noise Gram (..., m, m)."""
    _, across, patches, *_ = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")
    noise = patches * 15.0 * (model.noise**2 * np.diagonal(gram, axis1=-2, axis2=-1)) ** 3
    drive = 24.0 * across / model.features * (np.asarray(model.effective_strengths) ** 1.5 * signal) ** 4
    with np.errstate(divide="ignore"):
        return noise[..., None] / drive


def head_free_features(model, signal, gram):
    """The feature (..., m) that each neuron takes without a head."""
    return race_times(model, signal, gram).argmin(-1)


@dataclass(frozen=True)
class Fate:
    """The limit's answer for N starts.

    time (N,): T_1. lender, feature (N,): who learns first, and what. tie (N,): |A_ok| / (max(|E_oi|, |A_ol|/|A_il|)
    |A_ik|) where the borrower's noise is gone, the borrower winning above 1. same_sign (N,): whether sigma = +1. merged
    (N,): whether the neurons end on one direction. cosine (N,): squared cosine of that direction with the second feature,
    carried (N,): share of the outputs' variance that it carries, x/(1 + x), x = [alpha_k^2 cosine/(alpha_l^2 (1 -
    cosine))]^3 (both nan where they do not merge). slip (N,): p, below 1 on the first route, above on the second. peak,
    kept (N,): |E_oi| and |A_ol| where the borrower's noise is gone.
    """

    time: np.ndarray
    lender: np.ndarray
    feature: np.ndarray
    tie: np.ndarray
    same_sign: np.ndarray
    merged: np.ndarray
    cosine: np.ndarray
    carried: np.ndarray
    slip: np.ndarray
    peak: np.ndarray
    kept: np.ndarray

    __repr__ = show.fields_line
    _repr_html_ = show.fields_table

    def learns_both(self, margin: float) -> np.ndarray:
        """(N,) whether both features are learnt: each carries more than `margin` of some output's variance."""
        return ~self.merged | ((self.carried > margin) & (self.carried < 1.0 - margin))


def fate(model, signal, gram, head_rate) -> Fate:
    """Fate of starts signal (N, 2, 2), noise Gram (N, 2, 2), E = I, under a head that trains at rate r > 0, one or (N,)."""
    check_model(model)
    times = race_times(model, signal, gram)
    n = len(signal)
    rows = np.arange(n)
    winner = times.reshape(n, 4).argmin(1)
    i, l = winner // 2, winner % 2
    o, k = 1 - i, 1 - l
    first = times[rows, i, l]

    def at_first(neuron, feature):
        return np.abs(signal[rows, neuron, feature]) / (1.0 - first / times[rows, neuron, feature]) ** 0.25

    square = (signal**2).sum(-1) + np.diagonal(gram, axis1=-2, axis2=-1)
    own, other = np.sqrt(square[rows, o]), np.sqrt(square[rows, i])
    alpha = np.asarray(model.effective_strengths)
    ratio = (alpha[k] / alpha[l]) ** 6
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        mine, second, lent = at_first(o, l), at_first(o, k), at_first(i, k)
        slip = np.sqrt(3.0 / head_rate) * own * mine / (other**2 * np.hypot(own, other))
        kept = orbit_end(mine, own, other, head_rate)
        share = np.sqrt((1.0 - kept / own) * (1.0 + kept / own))
        peak = np.sqrt(head_rate / 3.0) * own * share
        grown = ratio * (second / mine) ** 4 * (1.0 - (mine / kept) ** 4)
        second = np.where(grown < 1.0, second / (1.0 - np.minimum(grown, 1.0)) ** 0.25, np.inf)
        lean = kept / np.hypot(other, own * share)
        tie = second / (np.maximum(peak, lean) * lent)
        same_sign = np.sign(signal).prod((1, 2)) > 0
        merged = same_sign & (tie < 1.0)
        slope = np.where(second < lean * lent, 0.0, second / (1.0 - second / (peak * lent)) / kept)
        power = ratio * slope**6
        cosine, carried = (np.where(merged, x / (1.0 + x), np.nan) for x in (slope**2, power))
    return Fate(first, i, l, tie, same_sign, merged, cosine, carried, slip, peak, kept)


def orbit_end(mine, own, other, head_rate):
    """|A_ol| (N,) where the borrower's noise is gone, from mine = |A_ol(T_1)|, own = |w_o(0)|, other = |w_i(0)| (N,)
    and head_rate r.

    By Newton's method on log(|A_ol|/|w_o(0)|), between bounds that close: 1/A_ol of the orbit falls with u, and u with
    |A_ol|. It starts from what is right far from the crossover, A_0/(1 - p) and |w_o(0)| sqrt(1 - 1/p^2).
    """
    mine, own, other, rate = np.broadcast_arrays(mine, own, other, np.asarray(head_rate, dtype=np.float64))
    slip = np.sqrt(3.0 / rate) * own * mine / (other**2 * np.hypot(own, other))
    low, high = np.log(np.minimum(mine / own, 1.0)), np.zeros(own.shape)
    with np.errstate(divide="ignore"):
        first = np.maximum(np.minimum(low - np.log1p(-np.minimum(slip, 1.0)), -0.3), low)
        second = np.maximum(0.5 * np.log1p(-1.0 / np.maximum(slip, 1.0) ** 2), low)
    at = np.where(slip < 1.0, first, second)
    left = np.arange(len(own))
    for _ in range(MOST_STEPS):
        a, b, x = own[left], other[left], np.exp(at[left])
        u = np.sqrt((1.0 - x) * (1.0 + x))
        length, pull = np.hypot(b, a * u), np.sqrt(3.0 / rate[left]) * a
        over = 1.0 / mine[left] - 1.0 / (a * x) - pull * u / (b**2 * length)
        low[left], high[left] = np.where(over > 0.0, low[left], at[left]), np.where(over > 0.0, at[left], high[left])
        step = at[left] - over / (1.0 / (a * x) + pull * x**2 / (np.maximum(u, 1e-12) * length**3))
        inside = (step > low[left]) & (step < high[left])
        before, at[left] = at[left], np.where(inside, step, 0.5 * (low[left] + high[left]))
        left = left[np.abs(at[left] - before) > CLOSE]
        if not len(left):
            break
    return own * np.exp(at)


@dataclass(frozen=True)
class Substitution:
    """The limit's phase II of N starts: duration T_2 - T_1 (N,), and the borrower's noise s_b (N,) when it ends.

    Valid on the first route, where s_b is well below the size of the weights and the borrower wins the second feature.
    """

    duration: np.ndarray
    noise: np.ndarray

    __repr__ = show.fields_line
    _repr_html_ = show.fields_table


def substitution(model, signal, gram, head_rate: float, points: int = 400) -> Substitution:
    """Phase II of starts signal (N, 2, 2), noise Gram (N, 2, 2), E = I, at rate r > 0; by Gauss-Legendre with `points`."""
    found = fate(model, signal, gram, head_rate)
    rows, i, l = np.arange(len(signal)), found.lender, found.feature
    o, k = 1 - i, 1 - l
    same, across, patches, *_ = masks.count_moments(model.patches, model.feature_patches, model.mask == "half")
    a, b, kappa = same / 2.0, across / 2.0, patches * 15.0 * model.noise**6
    alpha = np.asarray(model.effective_strengths)
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


def share_merged(model, head_rate: float, count: int = 400_000, seed: int = 0, dim: float = 1e18) -> float:
    """Share of merged starts as d -> infinity, over `count` starts (an error of sqrt(share/count)); with `dim` at r dim."""
    signal, gram = limit_starts(count, seed)
    # Signals of order one stand for d^(-1/2), and |w_o(0)| = 1.
    return float(fate(model, signal / np.sqrt(dim), gram, head_rate).merged.mean())


def share_merged_small_weak(head_rate):
    """(1/pi) arctan sqrt(r/3): share of merged starts for d -> infinity, weak/strong -> 0."""
    return np.arctan(np.sqrt(np.asarray(head_rate) / 3.0)) / np.pi


def share_weak(model) -> float:
    """p = (2/pi) arctan((weak/strong)^(3/2)), of effective strengths: how often a neuron without head takes the weak one."""
    return float(2.0 / np.pi * np.arctan((model.effective_strengths[1] / model.effective_strengths[0]) ** 1.5))
