"""Each claim of the theorem in its finite form. A failing case prints the command that repeats it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from dynlab import Model, OrderParameters, ensemble, population_gradient, simulate
from dynlab.claims import identities
from dynlab.claims.same_loss import lowest_loss
from dynlab.population import invariants
from dynlab.population.pair import phases
from tests.claims.cases import Case, cases, cosines, head_size, norms

FEWER = settings(max_examples=20)


def at(run, name: str):
    """State (signal, noise Gram, head) of a trajectory nearest to one of its events."""
    place = int(np.abs(run.time - run.events[name]).argmin())
    return run.signal[place], run.noise_gram[place], run.head[place]


def rescued(case: Case) -> bool:
    """Whether the limit says that both features are learnt on neurons of their own, and not by a hair."""
    return not case.fate.merged[0] and (not case.fate.same_sign[0] or case.fate.tie[0] > 1.3)


@given(cases())
def test_claim_1_without_the_head_each_neuron_takes_the_feature_that_wins_its_own_race(case):
    """Collapse: neuron j learns the feature with the least E[n1] C/(24 b alpha^6 A^4), the other signal stays ~ d^(-1/2)."""
    times = np.sort(case.blow_up_times(), axis=1)
    assume((times[:, 1] > 1.2 * times[:, 0]).all())
    run = case.run("none", until=1e4 * times[:, 0].max())
    winners = case.blow_up_times().argmin(1)
    assert (cosines(run)[[0, 1], winners] > 0.99).all()
    growth = (1.0 - times[:, 0] / times[:, 1]) ** -0.25
    for j, winner in enumerate(winners):
        other = abs(run.signal[-1, j, 1 - winner] / case.start.signal[j, 1 - winner])
        assert abs(other / growth[j] - 1.0) < 0.02


@given(cases())
def test_claim_1_the_rest_of_a_neuron_is_of_the_size_of_its_start(case):
    """||w_j - beta_j v||^2 = A^2 + |w~|^2, |w~|^2 = (24 k t)^(-1/2) after the feature is learnt: ~ 1/d at t ~ d^2."""
    end = 1e3 * case.blow_up_times().min(1).max()
    run = case.run("none", until=end)
    same, across, patches = identities_counts(case.model)
    for j in range(2):
        l = int(cosines(run)[j].argmax())
        beta = abs(run.signal[-1, j, l])
        feature = (case.model.strengths[l] * beta) ** 6
        # The part of L that the gradient sees (view 1 alone) is k |w~|^6, k = b E[n1] 15 sigma^6 / (a^2 f^2),
        # a = E[N1^2]/2, b = E[N1 N2]/2.
        k = (across / 2) * patches * 15 * case.model.noise**6 / ((same / 2) ** 2 * feature)
        left = end - min(case.blow_up_times()[j, l], end)
        assert abs(run.noise_gram[-1, j, j] * np.sqrt(24 * k * left) - 1.0) < 0.1


def identities_counts(model):
    """(E[N1^2], E[N1 N2], E[n1]) by summing over the masks."""
    from tests.oracles.exact import count_moments

    counts = count_moments(model.patches, model.feature_patches, model.mask)
    return float(counts.NN), float(counts.NxN), (model.patches - model.feature_patches) / 2


@given(cases())
def test_claim_2_phase_1_takes_the_time_of_the_race(case):
    """T_1 = min E[n1] C/(24 b alpha^6 A^4), and so ~ d^2; every other signal and the head are ~ d^(-1/2) then."""
    assume(case.clear_race(1.2))
    run = case.run(until=1.5 * case.fate.time[0])
    i, _, l, _ = case.roles()
    assert abs(run.events["first"] / case.fate.time[0] - 1.0) < 2e-3
    signal, _, head = at(run, "first")
    assert np.abs(signal).argmax() == 2 * i + l
    others = np.abs(signal)
    others[i, l] = 0.0
    grown = np.abs(case.start.signal) * (1.0 - case.fate.time[0] / case.blow_up_times()).clip(1e-3) ** -0.25
    assert (others <= 1.1 * grown).all()
    assert np.abs(head - np.eye(2)).max() < 100.0 * np.sqrt(case.eta_head / case.dim)


@given(cases(dims=(10**2, 10**3, 10**4, 10**6)), st.sampled_from((0.25, 0.5, 2.0, 3.0)))
@FEWER
def test_claim_2_time_scales_with_the_size_of_the_weights(case, factor):
    """The loss does not see the size of the weights: w -> c w, r -> r/c^2 stretches time by c^2."""
    run = case.run()
    start = OrderParameters(factor * case.start.signal, factor**2 * case.start.noise_gram)
    assume(np.isfinite(run.events["first"]))
    scaled = simulate(case.model, start, eta_head=case.eta_head / factor**2, until=factor**2 * run.time[-1])
    assert abs(scaled.events["first"] / (factor**2 * run.events["first"]) - 1.0) < 1e-4


@given(cases())
def test_claim_3_phase_2_lends_the_first_feature_in_a_time_short_beside_d_squared(case):
    """T_2 - T_1 is the integral of `limit.substitution`, o(d^2), and |E_21 f_1| exceeds |f_2| then."""
    assume(case.stages_apart() and rescued(case))
    i, o, l, _ = case.roles()
    run = case.run()
    assert abs((run.events["peak"] - run.events["first"]) / case.second_phase[0] - 1.0) < 0.2
    signal, _, head = at(run, "peak")
    f = (np.asarray(case.model.strengths) * signal) ** 3
    assert abs(head[o, i] * f[i, l]) > 10.0 * abs(f[o, l])


@given(cases(dims=(10**6,)))
def test_claim_3_phase_2_beside_phase_1_falls_with_d(case):
    """(T_2 - T_1)/T_1 of the same start (scaled) falls at least as d^(-0.15) from d = 1e8 to 1e12."""
    near, far = replace(case, dim=10**8), replace(case, dim=10**12)
    assume(near.stages_apart() and rescued(near))
    events = [one.run().events for one in (near, far)]
    waits = [at["peak"] / at["first"] - 1.0 for at in events]
    assert waits[1] < waits[0] * (far.dim / near.dim) ** -0.15


@given(cases(dims=(10**2, 10**3, 10**4, 10**6, 10**9)))
def test_claim_4_the_peak_is_below_its_bound(case):
    """|E_21| <= sqrt(eta_head/(3 eta)) |w_2(0)| while E_12 = 0: in any dimension, at any time."""
    run = case.run()
    bound = np.sqrt(case.eta_head / 3) * norms(case.start)
    charge = invariants.conserved(case.model, run.signal, run.noise_gram, run.head, case.eta_head)
    assert np.abs(charge / charge[0] - 1.0).max() < 1e-3
    for o in range(2):
        assert (np.abs(run.head[:, o, 1 - o]) <= 1.001 * np.hypot(bound[o], run.head[:, 1 - o, o])).all()


@given(cases())
def test_claim_4_the_peak_meets_its_bound(case):
    """|E_21(T_2)| = sqrt(eta_head/(3 eta)) |w_2(0)| (1 - s_b^2/2): Theta(sqrt(eta_head/eta)), with its constant."""
    assume(case.stages_apart() and rescued(case))
    run = case.run()
    _, o, _, _ = case.roles()
    ratio = head_size(run).max() / (np.sqrt(case.eta_head / 3) * norms(case.start)[o])
    noise = case.second_phase[1]
    assert 0.3 * noise**2 - 1e-4 < 1.0 - ratio < 0.7 * noise**2 + 1e-4


@given(cases(dims=(10**4, 10**6, 10**9)))
@FEWER
def test_claim_5_the_gain_of_the_second_feature_has_its_closed_form(case):
    """Growth rate of <w_2, v_2> over that of the same state with E = I, on the trajectory, from the exact gradient."""
    run = case.run()
    # Up to T_2: later the noise is gone, and forces cancel to rounding.
    last = int(np.searchsorted(run.time, run.events["peak"]))
    places = np.unique(np.linspace(1, max(last, 1), 12).astype(int))
    i, o, l, k = case.roles()
    full = [np.full(len(places), value) for value in (i, o, l, k)]
    who = phases.Roles(np.arange(len(places)), *full)
    head = run.head[places].copy()
    head[:, i, o] = 0.0  # the closed form is for E_12 = 0
    states = run.signal[places], run.noise_gram[places], head
    gains = phases.acceleration(case.model, who, *states)
    size = np.abs(phases.borrower_force(case.model, who, *states)[:, 1])
    seen = (size > 1e-12 * size.max()) & np.isfinite(gains.second)
    error = np.abs(gains.predicted - gains.second)[seen]
    assert (error <= 1e-3 * np.maximum(np.abs(gains.second[seen]), 1e-6)).all()


@given(cases())
def test_claim_5_the_borrower_learns_the_second_feature_when_the_limit_says(case):
    """w_2 aligns with v_2 at T_3 = T_1 + `limit.substitution`, at least 3 times sooner than it would alone."""
    assume(case.stages_apart() and rescued(case))
    _, o, _, k = case.roles()
    run = case.run()
    assert cosines(run)[o, k] > 0.99
    assert abs((run.events["second"] - run.events["first"]) / case.second_phase[0] - 1.0) < 0.2


@given(cases())
def test_claim_6_the_head_returns_and_the_norm_is_regained(case):
    """||E - I||_F -> 0 and |beta_2| -> |w_2(0)|, where both features are learnt on neurons of their own."""
    assume(case.clear_race(1.2) and rescued(case))
    _, o, _, k = case.roles()
    run = case.run()
    assert head_size(run)[-1] < 1e-6
    assert abs(abs(run.signal[-1, o, k]) / norms(case.start)[o] - 1.0) < 1e-3


@given(cases(rates=(1.0, 0.1, 0.01, 10.0)))
@settings(max_examples=100)
def test_claim_7_the_starts_that_fail_are_those_of_the_law(case):
    """Both features are learnt iff sigma = -1 or |A_ok| > sqrt(r/3) |w_o| |A_ik| at T_1; else the neurons merge."""
    assume(case.clear_race(1.2) and abs(np.log(case.fate.tie[0])) > 0.3)
    # The borrower must have something of the first feature to be lent more: its time goes with this signal.
    i, o, l, k = case.roles()
    assume(np.abs(case.start.signal).min() ** 2 * case.dim > 1e-3)
    event(case.signs + (", merges" if case.fate.merged[0] else ", rescued"))
    run = case.run()
    parallel = abs(run.signal[-1, 0] @ run.signal[-1, 1]) / np.prod(np.linalg.norm(run.signal[-1], axis=1))
    if case.fate.merged[0]:
        assert parallel > 0.99
        assert head_size(run)[-1] > 0.95 * np.sqrt(case.eta_head / 3) * norms(case.start)[o]
        assert abs(cosines(run)[i, k] - case.fate.cosine[0]) < 0.05
    else:
        assert parallel < 0.1
        assert cosines(run)[i, l] > 0.99 and cosines(run)[o, k] > 0.99


@given(cases(), st.sampled_from(("none", "off-diagonal")))
def test_claim_8_every_end_state_has_the_same_loss(case, head):
    """Collapsed and diverse end states share 4 - 4 E[N1 N2]/E[N1^2]: to 1e-9; merged ones come near it."""
    run = case.run(head)
    same, across, _ = identities_counts(case.model)
    lowest = 4.0 - 4.0 * across / same
    assert abs(lowest_loss(case.model) - lowest) < 1e-14
    assume((cosines(run).max(1) > 0.9).all() or head == "off-diagonal")
    stuck = head_size(run)[-1] > 1e-3
    event("stuck head" if stuck else "head home")
    assert abs(run.loss[-1] - lowest) < (0.05 if stuck else 1e-9)


@given(cases(dims=(10**2, 10**3, 10**5, 10**8)))
@FEWER
def test_claim_9_conservation_along_the_flow(case):
    """|w_j|^2/3 + (E_jr^2 - E_rj^2)/r and |w_1|^2 + |w_2|^2 are constant."""
    run = case.run()
    square = (run.signal**2).sum(2) + np.diagonal(run.noise_gram, axis1=1, axis2=2)
    lent, borrowed = run.head[:, 0, 1] ** 2, run.head[:, 1, 0] ** 2
    charge = square[:, 0] / 3 + (lent - borrowed) / case.eta_head
    assert np.abs(charge / charge[0] - 1.0).max() < 1e-3
    total = square.sum(1)
    assert np.abs(total / total[0] - 1.0).max() < 1e-3


@given(cases(dims=(10**2, 10**3, 10**5)), st.sampled_from(("swap", "flip neuron", "flip feature", "rotate")))
@FEWER
def test_claim_9_symmetric_starts_have_symmetric_trajectories(case, symmetry):
    """Names of neurons, signs of neurons and of features: the dynamics do not see them."""
    signal, gram = case.start.signal.copy(), case.start.noise_gram.copy()
    back = np.arange(2)
    if symmetry == "swap":
        back = back[::-1]
        signal, gram = signal[::-1], gram[::-1, ::-1]
    elif symmetry == "flip neuron":
        signal[0] *= -1.0
        gram[0, 1] *= -1.0
        gram[1, 0] *= -1.0
    elif symmetry == "flip feature":
        signal[:, 1] *= -1.0
    until = 3.0 * case.fate.time[0]
    run = case.run(until=until)
    other = simulate(case.model, OrderParameters(signal, gram), eta_head=case.eta_head, until=until)
    assert np.abs(np.abs(other.signal[-1][back]) - np.abs(run.signal[-1])).max() < 1e-3
    assert abs(head_size(other).max() - head_size(run).max()) < 1e-4


@given(st.sampled_from(sorted(identities.CHECKS)), st.integers(0, 10**6), st.sampled_from(("cubic", "relu", "relu3")))
def test_claim_9_identities_of_the_gradient(name, seed, activation):
    """Euler's identity, scale invariance, equivariance: at random states of order one."""
    state = next(iter(identities.random_states(activation, seed)))
    assert identities.CHECKS[name](*state) < identities.ROUNDING


@given(cases(dims=(10**4, 10**6, 10**9), rates=(0.01, 0.1, 0.001), activation="relu"))
@FEWER
def test_claim_10_the_head_does_not_rescue_relu(case):
    """relu grows exponentially: the strong feature is ahead by a power of d in both neurons, with and without the head."""
    case = replace(case, model=replace(case.model, noise=0.5, patches=16, feature_patches=4, mask="half"))
    assume(np.abs(case.start.signal[:, 0]).min() > 10 * np.abs(case.start.signal[:, 1]).max() / case.dim**0.15)
    for head in ("none", "off-diagonal"):
        run = case.run(head, until=200.0)
        assert (np.abs(run.signal[-1, :, 0]) > 10 * np.abs(run.signal[-1, :, 1])).all()


@given(cases(dims=(10**2, 10**4, 10**6)))
def test_claim_3_the_head_grows_towards_what_the_outputs_share(case):
    """dE_21/dt has the sign of f_11 f_21 + f_12 f_22 where the noise parts are orthogonal: the head lends what is common."""
    gram = np.diag(np.diagonal(case.start.noise_gram))
    weights = np.hstack([case.start.signal, np.sqrt(gram)])
    slope = population_gradient(case.model, weights, np.eye(2))[2]
    f = (np.asarray(case.model.strengths) * case.start.signal) ** 3
    assert np.sign(-slope[1, 0]) == np.sign(f[0] @ f[1]) == np.sign(-slope[0, 1])


def test_claim_10_a_fast_head_rescues_relu_where_the_strengths_are_near():
    """Weak 0.7, dim 1000, eta_head 10: about four of ten starts learn both features in what their outputs carry, none
    without a head; at weak 0.3 none does, though outputs of opposite sign have rank 2."""
    counts = {}
    for weak, head in ((0.7, "off-diagonal"), (0.7, "none"), (0.3, "off-diagonal")):
        model = Model(weak=weak, activation="relu")
        frame = ensemble(model, 1000, seeds=24, head=head, eta_head=10.0).frame
        counts[weak, head] = int((frame["outcome"] == "both").sum()), float(frame["rank"].median())
    assert 3 <= counts[0.7, "off-diagonal"][0] <= 16
    assert counts[0.7, "none"][0] == counts[0.3, "off-diagonal"][0] == 0
    assert counts[0.3, "off-diagonal"][1] > 1.9
