"""The two routes to rescue: the orbit against slow integration and against the flow, the gain in its limits, the claim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from dynlab import Model
from dynlab.claims import routes
from dynlab.claims.claim import FAILS, HOLDS, PAPER
from dynlab.population.pair import limit, phases
from tests.claims.cases import cases, head_size


def slow_orbit(mine: float, own: float, other: float, rate: float, alpha: float = 0.7, steps: int = 40000) -> float:
    """|A_ol| where the noise is gone: the two rates of the substitution, dA_ol/dt = 3 alpha^3 A^2 y and dE/dt = r X y, in a
    time in which what they share is 1, by the midpoint rule with steps of at most 1/`steps` of the lengths, until no noise
    is left of w_o."""
    a, e = mine, 0.0
    while a * a + 3.0 * e * e / rate < own * own:
        lender = np.sqrt(other**2 + 3.0 * e * e / rate)
        up, lent = 3.0 * alpha**3 * a * a, rate * (alpha * lender) ** 3
        step = min(own / up, own * np.sqrt(rate / 3.0) / lent) / steps
        middle_a, middle_e = a + 0.5 * step * up, e + 0.5 * step * lent
        lender = np.sqrt(other**2 + 3.0 * middle_e**2 / rate)
        a += step * 3.0 * alpha**3 * middle_a**2
        e += step * rate * (alpha * lender) ** 3
    return a


# By hand: with both lengths 1 and u = 3/5 the orbit ends at 4/5; sqrt(3/0.03) = 10, 1/A_0 = 5/4 + 6/sqrt(1.36).
BY_HAND = [(1.0 / (1.25 + 6.0 / 1.36**0.5), 1.0, 1.0, 0.03, 0.8)]


@pytest.mark.parametrize(("mine", "own", "other", "rate", "end"), BY_HAND)
def test_the_end_of_the_orbit_by_hand(mine, own, other, rate, end):
    found = limit.orbit_end(np.array([mine]), np.array([own]), np.array([other]), rate)
    assert abs(found[0] / end - 1.0) < 1e-12


@given(st.floats(-4.0, -0.5), st.floats(0.5, 2.0), st.floats(0.5, 2.0), st.floats(-6.0, 1.0))
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
def test_the_end_of_the_orbit_by_slow_integration(log_mine, own, other, log_rate):
    mine, rate = 10.0**log_mine * own, 10.0**log_rate
    slip = mine * np.sqrt(3.0 / rate) * own / (other**2 * np.hypot(own, other))
    assume(abs(np.log(slip)) > 0.05)  # at the crossover the end moves with every error
    fast = limit.orbit_end(np.array([mine]), np.array([own]), np.array([other]), rate)[0]
    assert abs(slow_orbit(mine, own, other, rate) / fast - 1.0) < 5e-3


def test_the_routes_part_at_a_slip_of_one():
    """Below, nearly nothing of the borrower's length is left and the head is at its bound; above, sqrt(1 - 1/p^2) of it."""
    slips = np.array([1e-3, 0.1, 0.5, 3.0, 30.0, 1e3])
    rate = 1e-10
    mine = slips * np.sqrt(rate / 3.0) * np.sqrt(2.0)
    kept = limit.orbit_end(mine, np.ones(6), np.ones(6), rate)
    assert np.allclose(kept[:3], mine[:3] / (1.0 - slips[:3]), rtol=1e-3)
    # with X constant it would be 1/p: u/sqrt(1 + u^2) = 1/(sqrt(2) p)
    u = np.sqrt(1.0 / (2.0 * slips[3:] ** 2 - 1.0))
    assert np.allclose(kept[3:], np.sqrt(1.0 - u**2), rtol=1e-4)


@given(cases(dims=(10**6, 10**7, 10**8), rates=(1e-6, 1e-7, 1e-8, 1e-5)))
@settings(max_examples=60)
def test_claim_11_both_routes_of_a_start_are_predicted(case):
    """How far the head goes, and whether the start is rescued, on whichever route it takes."""
    told = case.fate
    # A borrower that wins the second feature by its own race has an infinite lead.
    assume(case.clear_race(1.3) and abs(np.log(told.slip[0])) > 0.3 and 0.3 < abs(np.log(told.tie[0])) < np.inf)
    assume(np.abs(case.start.signal).min() ** 2 * case.dim > 1e-2)
    event(("second" if told.slip[0] > 1.0 else "first") + " route" + (", merges" if told.merged[0] else ""))
    run = case.run(until=1e12 * float(case.dim) ** 2)
    assert abs(head_size(run).max() / told.peak[0] - 1.0) < 0.15
    f = run.signal[-1] ** 3 * np.asarray(case.model.strengths) ** 3
    parallel = abs(f[0] @ f[1]) / np.prod(np.linalg.norm(f, axis=1))
    if told.merged[0]:
        assert parallel > 0.9
    else:
        assert parallel < 0.1


def state(borrower, lender, noise: float, entry: float):
    """(roles, signal, gram, head) of one state: neuron 2 borrows feature 1 from neuron 1."""
    who = phases.Roles(np.array([0]), *(np.array([n]) for n in (0, 1, 0, 1)))
    gram = np.diag([1e-12, noise**2])[None]
    return who, np.array([[lender, borrower]]), gram, np.array([[[1.0, 0.0], [entry, 1.0]]])


def gains(parts) -> tuple[float, float]:
    """Gains of <w_2, v_2> and <w_2, v_1> by the exact gradient."""
    found = phases.acceleration(PAPER, *parts)
    return float(found.second[0]), float(found.first[0])


@pytest.mark.parametrize("lent", [0.1, 1.0, 10.0, 100.0])
def test_on_the_first_route_the_gain_is_below_one_whatever_is_lent(lent):
    """(1 + R)^(-1/2), R = a (E f_11)^2/N, with N = E[n1] 15 sigma^6 s^6 and a = E[N1^2]/2: for 4 of 16 patches 6 and 2.4."""
    noise = 0.5
    size, variance = 2.4, 6.0 * 15.0 * 0.5**6 * noise**6
    entry = lent * np.sqrt(variance / size)
    second, first = gains(state((1e-4, 1e-4), (1.0, 1e-4), noise, entry))
    assert abs(second * np.sqrt(1.0 + lent**2) - 1.0) < 1e-3
    assert second > first


@pytest.mark.parametrize(("ratio", "faster"), [(0.5, False), (1.9, False), (2.1, True), (10.0, True)])
def test_a_little_lending_speeds_up_where_the_answer_is_twice_the_noise(ratio, faster):
    """1 + x Y (Y - 2)/(1 + Y) for small x = E f_11/f_21: above 1 iff Y = a f_21^2/N > 2."""
    noise, x = 0.5, 1e-4
    answer = np.sqrt(ratio * 6.0 * 15.0 * 0.5**6 * noise**6 / 2.4)
    second, _ = gains(state((answer ** (1 / 3), 1e-6), (1.0, 1e-9), noise, x * answer))
    assert (second > 1.0) == faster
    assert abs((second - 1.0) / (x * ratio * (ratio - 2.0) / (1.0 + ratio)) - 1.0) < 0.02


@pytest.mark.parametrize("noise", [0.1, 0.01])
def test_after_the_collapse_the_gain_grows_without_bound_as_the_noise_dies(noise):
    """1/(1 + x)^3 + c a |f_21|^3 E f_11/(N (E f_11 + f_21)^2): by hand for A_21 = A_11 = 1, A_22 = 0.02, A_12 = 0.01,
    E = 0.5, where c = 1 - 1/8."""
    second, _ = gains(state((1.0, 0.02), (1.0, 0.01), noise, 0.5))
    law = 1.0 / 1.5**3 + 0.875 * 2.4 * 0.5 / (6.0 * 15.0 * 0.5**6 * noise**6 * 1.5**2)
    assert abs(second / law - 1.0) < 1e-4
    gain, ratio = phases.collapsed_gain(PAPER, *state((1.0, 0.02), (1.0, 0.01), noise, 0.5))
    assert abs(gain[0] / law - 1.0) < 1e-12 and ratio[0] > 1e4


def test_the_share_merged_at_a_dimension_joins_the_two_limits():
    """r d large: the law of the first route; r d small: half of the starts that do not rescue themselves and whose lender
    leans more to the second feature, whatever r is."""
    model = Model(weak=0.01, activation="cubic")
    law = float(limit.share_merged_small_weak(0.01))
    assert abs(limit.share_merged(model, 0.01, dim=1e12) / law - 1.0) < 0.05
    slow = [limit.share_merged(model, rate, dim=1e6, count=100_000) for rate in (1e-12, 1e-14)]
    # weak/strong -> 0 and lengths of 1: P(|A_ok| < |A_ik|)/2 = 1/4
    assert abs(slow[0] - 0.25) < 0.005 and abs(slow[1] - slow[0]) < 0.003


def test_where_a_share_passes_one_half():
    found = routes.half([0.1, 1.0, 10.0], [(90, 100), (60, 100), (20, 100)])
    assert abs(found[0] - 10.0**0.25) < 1e-12  # 0.6 to 0.2: a quarter of the decade
    assert found[1] < found[0] < found[2]
    assert np.isnan(routes.half([1.0, 10.0], [(10, 100), (1, 100)])[0])


def cell(**changes) -> routes.Cell:
    """Measurements of a point on which every statement holds."""
    many, some = np.ones(500, dtype=bool), np.zeros(200)
    good = {
        "new": many, "merged": ~many, "said": ~many, "said_first": ~many, "late": many, "short": many, "short_said": many,
        "off": some, "gain": 2.0 + some, "gain_first": 0.5 + some, "collapsed": 2.0 + some, "ratio": 1e3 + some,
    }  # fmt: skip
    return routes.Cell(**{name: changes.get(name, value) for name, value in good.items()})


@pytest.mark.parametrize(
    ("part", "changes", "statement"),
    [
        ("_routes", {"short_said": np.arange(500) > 30}, "which route"),
        ("_routes", {"off": np.full(200, 0.02)}, "peak on both routes"),
        ("_gains", {"gain_first": np.full(200, 3.0)}, "the paper's comparison"),
        ("_gains", {"gain": np.full(200, 0.9)}, "dynlab's comparison, r d = 1"),
        ("_gains", {"collapsed": np.full(200, 2.1)}, "gain after the collapse"),
        ("_fates", {"said": np.arange(500) < 30}, "which starts fail, both routes"),
    ],
)
def test_the_claim_fails_on_wrong_data(part, changes, statement):
    verdicts = []
    for some in ({}, changes):
        cells = {(dim, rate): cell(**some) for dim in routes.DIMS for rate in routes.RATES}
        verdicts.append(next(one.verdict for one in getattr(routes, part)(cells) if one.name == statement))
    assert verdicts == [HOLDS, FAILS]


def test_the_crossover_fails_on_wrong_data():
    """Borrowers that are on v_1 at every rate but the fastest cross over too late."""

    def cells(last: int):
        late = {rate: np.arange(500) < (500 if n < last else 0) for n, rate in enumerate(routes.RATES)}
        return {(dim, rate): cell(late=late[rate]) for dim in routes.DIMS for rate in routes.RATES}

    assert [one.verdict for one in routes._crossover(cells(2))][1:2] == [HOLDS]
    assert [one.verdict for one in routes._crossover(cells(4))][1:2] == [FAILS]
