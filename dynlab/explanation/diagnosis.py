r"""Where a trajectory of two neurons and two features is in the four phases, and what pushes it there: numbers, no words.

    I    until T_1, when some neuron's squared cosine with some feature passes 1/2. That neuron is the lender, its feature
         the first; the other ones are the borrower and the second feature.
    II   substitution, until T_2: the head's largest off-diagonal entry is at its maximum.
    III  acceleration, until T_3: the second feature is learnt too.
    IV   the head returns, until T_4: that entry is at `RETURNED` of its maximum. Then all is at rest.

A state is collapsed where more than half of each output's variance is the features' and both outputs are one
(`dynlab.population.moments`, the effective rank of their correlations). Opposite: without a head that trains, both neurons
on one feature with opposite signs, whose outputs are two functions where the activation is not odd. Stuck:
nothing moves any more and it is neither that nor at rest after IV. Without a head that trains a neuron that has not learnt
yet is "alone". Representative states: for I the last before T_1/2; for II where the head has half its peak, and the peak;
for III where the borrower's squared cosine with the second feature is a quarter, at most; for IV where the head is back at
half its peak; of a start that the head did not rescue, "lost": where lending pushes the second feature of the lender most.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.ensembles.ensemble import TURNING, common_feature
from dynlab.explanation.recorded import RecordedRun
from dynlab.population import terms
from dynlab.population.invariants import head_bound
from dynlab.population.moments import MERGED, carried, output_rank
from dynlab.population.order_parameters import OrderParameters
from dynlab.population.outcomes import squared_cosines
from dynlab.population.pair import limit, phases
from dynlab.population.pair.phases import RETURNED, sizes
from dynlab.population.stepping import DOMINANT
from dynlab.population.terms import Terms

if TYPE_CHECKING:
    from dynlab.settings.training import Training

HELD = 0.9  # a head that ends above this share of its largest entry has not begun to return
SETTLED = ("collapsed", "rest", "diverse", "opposite", "stuck", "vanished")  # phases after which nothing more happens
GOOD = ("rest", "diverse")
RATES = (1e-6, 10.0, 71)  # eta_head/eta that are looked through for one at which a start is rescued


@dataclass(frozen=True)
class RolesOfRun:
    """Numbers of the neurons and features, from 0."""

    lender: int
    borrower: int
    first: int
    second: int


@dataclass(frozen=True, eq=False)
class Moment:
    """One state with the terms of its force (None where the training has no split into terms)."""

    time: float
    signal: np.ndarray
    gram: np.ndarray
    head: np.ndarray
    terms: terms.Terms | None

    @property
    def split(self) -> Terms:
        """`terms`, of a training that has them (`has_terms`)."""
        assert self.terms is not None
        return self.terms

    def rate(self, part: np.ndarray, neuron: int, feature: int) -> float:
        """A force (m, K) on a signal, relative to the signal: its share of d log|A|/dt; nan for a signal that is 0."""
        size = self.signal[neuron, feature]
        return float(part[neuron, feature] / size) if size != 0.0 else float("nan")


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the theory for large dimensions says of this very start (cubic). times (2, 2): T_jl of the race.

    first: T_1; peak: T_2 (nan on the second route); merged: whether the neurons end on one direction; lead: the borrower's
    lead in the race for the second feature (`limit.Fate.tie`), winning above 1; same_sign: whether there is a race at all;
    slip: above 1 on the second route, where the borrower collapses before the head is at its bound; the last five for a head
    that trains.
    """

    times: np.ndarray
    first: float
    peak: float = np.nan
    merged: bool | None = None
    lead: float = np.nan
    same_sign: bool | None = None
    slip: float = np.nan


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """What there is to say of a recorded run, as numbers. Times are those of the flow.

    index, phase : the record explained, and the phase there. times : T_1 ... T_4, nan where they have not come. alone : when
    the neuron that is not the first has learnt something, without a head that trains. ahead : which of the times come from
    following the exact flow from the last record on, not from the run. final : the phase at the end, `phase` unless the run
    goes on.
    """

    run: RecordedRun
    index: int
    phase: str
    roles: RolesOfRun | None
    times: dict
    alone: float
    prediction: Prediction | None
    moments: dict = field(repr=False)
    now: Moment = field(repr=False)
    rank: float = np.nan
    peak: float = np.nan
    bound: float = np.nan
    ahead: tuple = ()
    final: str = ""
    final_cosines: np.ndarray = field(default_factory=lambda: np.full((2, 2), np.nan))

    @property
    def who(self) -> RolesOfRun:
        """`roles`, of a run in which a feature was learnt."""
        assert self.roles is not None
        return self.roles

    @property
    def theory(self) -> Prediction:
        """`prediction`, of a run that there is a theory of."""
        assert self.prediction is not None
        return self.prediction

    @property
    def cosines(self) -> np.ndarray:
        """(2, 2) squared cosines at the record explained."""
        return squared_cosines(self.run.model, self.now.signal, self.now.gram)

    @property
    def turning(self) -> int | None:
        """The feature that both neurons have turned to, None where there is none."""
        return common_feature(self.run.model, self.now.signal, self.now.gram)


def diagnose(run: RecordedRun, at: float | None = None, ahead: bool = True) -> Diagnosis:
    """Numbers about a run at the record next to the time `at` (None: the last). ahead: follow the theory on from the end."""
    index = len(run.time) - 1 if at is None else int(np.abs(run.time - at).argmin())
    whole, added = run, ()
    times, alone, roles = events(run)
    settled = phase_at(run, len(run.time) - 1, times, roles) in SETTLED or run.ended == "stationary"
    if ahead and follows_on(run) and not settled:
        whole = followed(run)
        seen = times
        times, alone, roles = events(whole)
        added = tuple(name for name in times if np.isfinite(times[name]) and not np.isfinite(seen[name]))
    last = len(whole.time) - 1
    phase, final = (phase_at(whole, place, times, roles) for place in (index, last))
    if whole.ended == "stationary" and final not in SETTLED:
        phase, final = "stuck" if index == last else phase, "stuck"
    top = np.abs(whole.head - np.eye(2) * whole.head).max((1, 2))
    now = moment(run, index)
    return Diagnosis(
        run=run, index=index, phase=phase, roles=roles, times=times, alone=alone, prediction=predict(run),
        moments=moments(whole, times, roles), now=now, rank=float(output_rank(run.model, now.signal, now.gram)),
        peak=float(top.max()), bound=bound_of(whole, top), ahead=added,
        final=final, final_cosines=squared_cosines(whole.model, whole.signal[last], whole.gram[last]),
    )  # fmt: skip


def follows_on(run: RecordedRun) -> bool:
    """Whether the exact flow can go on from any state of this run."""
    return run.training.is_papers and run.optimiser == "sgd"


def followed(run: RecordedRun) -> RecordedRun:
    """The run, continued by the exact flow from its last record."""
    from dynlab.population.scaling import horizon
    from dynlab.population.simulate import simulate

    start = OrderParameters(run.signal[-1], run.gram[-1], run.head[-1])
    longest = horizon(run.model, run.dim, run.training.start_scale)
    more = simulate(run.model, start, head=run.training.head, eta_head=run.rate, until=longest)
    if not more.success:
        return run
    parts: dict[str, Any] = {
        "time": run.time[-1] + more.time[1:], "loss": more.loss[1:], "signal": more.signal[1:], "gram": more.noise_gram[1:],
        "head": more.head[1:],
    }  # fmt: skip
    joined: dict[str, Any] = {name: np.concatenate([getattr(run, name), part]) for name, part in parts.items()}
    return replace(run, marks={}, **joined)


def events(run: RecordedRun) -> tuple[dict, float, RolesOfRun | None]:
    """T_1 ... T_4; when the other neuron has learnt something as well; who is who (None before T_1)."""
    cosines = squared_cosines(run.model, run.signal, run.gram)
    times = dict.fromkeys(("T_1", "T_2", "T_3", "T_4"), np.nan)
    learnt = np.flatnonzero((cosines > DOMINANT).any((1, 2)))
    if not len(learnt):
        return times, np.nan, None
    lender, first = np.unravel_index(int(cosines[learnt[0]].argmax()), (2, 2))
    roles = RolesOfRun(int(lender), 1 - int(lender), int(first), 1 - int(first))
    times["T_1"] = _known(run, "first", run.time[learnt[0]])
    second = np.flatnonzero((cosines[:, :, roles.second] > DOMINANT).any(1))
    if len(second):
        times["T_3"] = _known(run, "second", run.time[second[0]])
    other = np.flatnonzero((cosines[:, roles.borrower] > DOMINANT).any(1))
    alone = float(run.time[other[0]]) if len(other) else np.nan
    if run.training.head_trains:
        times |= _head_times(run)
    return times, alone, roles


def _head_times(run: RecordedRun) -> dict:
    """T_2 and T_4, where the head has begun to return."""
    top = np.abs(run.head - np.eye(2) * run.head).max((1, 2))
    place = int(top.argmax())
    if top[-1] > HELD * top[place]:
        return {}
    back = np.flatnonzero(top[place:] <= RETURNED * top[place])
    found = {"T_2": _known(run, "peak", run.time[place])}
    return found | ({"T_4": float(run.time[place + back[0]])} if len(back) else {})


def _known(run: RecordedRun, name: str, recorded: float) -> float:
    """The time of an event as the run's solver located it, else that of the record which shows it."""
    time = run.marks.get(name, np.nan)
    return float(time if np.isfinite(time) else recorded)


def phase_at(run: RecordedRun, index: int, times: dict, roles: RolesOfRun | None) -> str:
    """The phase of a record: "I" ... "IV", "rest", "collapsed"; "I", "alone", "diverse", "opposite" if no head trains."""
    if not alive(run, index):
        return "vanished"
    cosines, time = squared_cosines(run.model, run.signal[index], run.gram[index]), run.time[index]

    def after(name: str) -> bool:
        return np.isfinite(times[name]) and time >= times[name]

    state = run.signal[index], run.gram[index]
    if (carried(run.model, *state).sum(-1) > DOMINANT).all() and output_rank(run.model, *state) < MERGED:
        return "collapsed"
    if roles is None or not after("T_1"):
        return "I"
    if not run.training.head_trains:
        both = "diverse" if len(set(cosines.argmax(-1))) > 1 else "opposite"
        return both if (cosines.max(-1) > DOMINANT).all() else "alone"
    if not after("T_3"):
        return "III" if after("T_2") else "II"
    return "rest" if after("T_4") else "IV"


def alive(run: RecordedRun, index: int) -> bool:
    """Whether every neuron has some length left at a record."""
    return bool((sizes(run.signal[index], run.gram[index]) > 0.0).all())


def moments(run: RecordedRun, times: dict, roles: RolesOfRun | None) -> dict[str, Moment]:
    """The representative state of every phase that the run has gone through."""
    found = {}
    first = times["T_1"]
    before = np.flatnonzero(run.time <= first / 2) if np.isfinite(first) else np.empty(0, int)
    if len(before):
        found["I"] = moment(run, int(before[-1]))
    if roles is None or not run.training.head_trains:
        return found
    top = np.abs(run.head - np.eye(2) * run.head).max((1, 2))
    place = int(top.argmax())
    rising = np.flatnonzero((run.time >= first) & (top >= top[place] / 2))
    if len(rising):
        found["II"] = moment(run, int(rising[0]))
    found["peak"] = moment(run, place)
    if phase_at(run, len(run.time) - 1, times, roles) == "collapsed" and has_terms(run.training):
        found |= lost(run, times, roles)
    if not np.isfinite(times["T_2"]):
        return found
    if np.isfinite(times["T_3"]):
        cosines = squared_cosines(run.model, run.signal, run.gram)[:, roles.borrower, roles.second]
        between = np.flatnonzero((run.time >= run.time[place]) & (run.time <= times["T_3"]) & (cosines <= TURNING))
        if len(between):
            found["III"] = moment(run, int(between[-1]))
        falling = np.flatnonzero((np.arange(len(top)) > place) & (top <= top[place] / 2))
        if len(falling):
            found["IV"] = moment(run, int(falling[0]))
    return found


def lost(run: RecordedRun, times: dict, roles: RolesOfRun) -> dict[str, Moment]:
    """The state at which lending pushes the lender most towards the second feature; {} where it never does."""
    best, found = 0.0, {}
    for index in np.flatnonzero(run.time >= times["T_1"]).tolist():
        if phase_at(run, index, times, roles) == "collapsed":
            break
        at = moment(run, index)
        rate = at.rate(at.split.lending, roles.lender, roles.second)
        if rate > best:
            best, found = rate, {"lost": at}
    return found


def moment(run: RecordedRun, index: int) -> Moment:
    """A record with the terms of its force."""
    state = run.signal[index], run.gram[index], run.head[index]
    split = terms.terms(run.model, *state) if has_terms(run.training) and alive(run, index) else None
    return Moment(float(run.time[index]), *state, split)


def has_terms(training: Training) -> bool:
    """Whether the force splits into the terms of `dynlab.population.terms`: nothing but the head and decays is switched."""
    allowed = {"head", "eta_head", "head_matrix", "symmetric", "start_scale", "weight_decay", "head_decay", "directpred_eps"}
    return training.changed().keys() <= allowed


def bound_of(run: RecordedRun, top: np.ndarray) -> float:
    """The bound sqrt(r/q)|w_j(0)| of the row with the head's largest entry; nan for a head that does not train."""
    if not run.rate > 0.0:
        return np.nan
    place = int(top.argmax())
    row = int(np.abs(run.head[place] - np.eye(2) * run.head[place]).max(1).argmax())
    return float(head_bound(run.model, run.signal[0], run.gram[0], run.rate)[row])


def predict(run: RecordedRun) -> Prediction | None:
    """The theory for large dimensions of the run's start; None where there is none."""
    cubic = run.model.activation == "cubic" and limit.has_race(run.model)
    if not cubic or not run.training.is_papers or run.optimiser != "sgd":
        return None
    start = run.signal[:1], run.gram[:1]
    times = limit.race_times(run.model, *start)[0]
    if not run.rate > 0.0:
        return Prediction(times, float(times.min()))
    fate = limit.fate(run.model, *start, run.rate)
    lead, same_sign, slip = float(fate.tie[0]), bool(fate.same_sign[0]), float(fate.slip[0])
    lasts = limit.substitution(run.model, *start, run.rate).duration[0] if slip < 1.0 else np.nan
    first = float(fate.time[0])
    return Prediction(times, first, first + float(lasts), bool(fate.merged[0]), lead, same_sign, slip)


def rescuing_rates(run: RecordedRun) -> np.ndarray:
    """Rates eta_head/eta at which `limit.fate` says that the run's start is rescued, those nearest to its own first; not the
    rates next to one at which it is not."""
    rates = np.geomspace(*RATES)
    signal, gram = (np.repeat(part[:1], len(rates), axis=0) for part in (run.signal, run.gram))
    safe = ~limit.fate(run.model, signal, gram, rates).merged
    inner = np.flatnonzero(safe[1:-1] & safe[:-2] & safe[2:]) + 1
    return rates[inner][np.argsort(np.abs(np.log(rates[inner] / run.rate)), kind="stable")]


def gains(finding: Diagnosis, at: Moment) -> tuple[float, float] | None:
    """How many times as fast the borrower's second and first signals grow as at the same state with E = I; None for
    trainings other than the paper's."""
    if not finding.run.training.is_papers:
        return None
    who = finding.who
    one = phases.Roles(np.array([0]), *(np.array([n]) for n in (who.lender, who.borrower, who.first, who.second)))
    found = phases.acceleration(finding.run.model, one, at.signal[None], at.gram[None], at.head[None])
    pair = float(found.second[0]), float(found.first[0])
    return pair if np.isfinite(pair).all() else None
