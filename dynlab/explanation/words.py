"""The words for a `Finding`: short lines a newcomer can read, made from the numbers alone."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator

import numpy as np

from dynlab.explanation.advice import Suggestion, Trial
from dynlab.explanation.noise import GradientNoise
from dynlab.explanation.phases import Finding, Moment
from dynlab.explanation.shares import Shares

WIDTH = 100
NAMES = ("strong", "weak")
EXPLAINED = {
    "learning": "what a neuron answers to already grows, as long as its output is noisy",
    "borrowing": "what its output borrows through the head makes the other feature the next to learn: acceleration",
    "centring": "from the mean that the normalisation takes off",
    "lending": "what the other output, which borrows from it, asks of it",
}


def wrapped(lines: list[str]) -> list[str]:
    """The lines at `WIDTH` columns, continued under their text."""
    out = []
    for line in lines:
        indent = len(line) - len(line.lstrip())
        out += textwrap.wrap(line, WIDTH, subsequent_indent=" " * (indent + 2 if indent else 0)) if line else [""]
    return out


def title(finding: Finding) -> str:
    """What run it is."""
    run, model = finding.run, finding.run.model
    how = {"flow": "exact flow", "descent": "exact descent", "sgd": "finite samples"}[run.method]
    parts = [f"strong {model.strong:g}", f"weak {model.weak:g}", f"noise {model.noise:g}", f"dim {run.dim:g}"]
    if run.training.head != "none":
        parts.append(f"eta_head {run.training.eta_head:g}")
    if run.sampled:
        parts += [f"batch {run.batch}", f"lr {run.eta:g}"] + ([run.optimiser] if run.optimiser != "sgd" else [])
    changed = run.training.changed()
    parts += [f"{name.replace('_', '-')} {value}" for name, value in changed.items() if name not in ("eta_head", "head")]
    start = f"start {run.number} of seed {run.seed}"
    return f"{model.activation}, head {run.training.head}: {how}, {start} ({', '.join(parts)})"


def headline(finding: Finding) -> str:
    """The most important sentence: where the run is."""
    phase, at = finding.phase, when(finding, finding.now.time)
    who = finding.roles
    if phase == "collapsed":
        return (
            f"COLLAPSED at {at}: both neurons point along {direction(finding.cosines)}, so both outputs say the same "
            f"(effective rank {finding.rank:.2f} of 2)."
        )
    if phase in ("rest", "diverse"):
        head = ", and the head has returned to the identity: phase IV is over" if phase == "rest" else ""
        return f"HEALTHY at {at}: each feature is learnt by a neuron of its own{head}."
    if phase == "I":
        best = finding.cosines.max()
        where = f"no neuron has learnt a feature (largest squared cosine {best:.3g}; learnt is above 0.5)"
        return f"PHASE I at {at}: {where}{turning(finding)}."
    learnt = f"neuron {who.lender + 1} has learnt the {NAMES[who.first]} feature"
    if phase == "alone":
        return f"HALF-WAY at {at}: {learnt}, neuron {who.borrower + 1} nothing yet{turning(finding)}."
    entry = f"E_{who.borrower + 1}{who.lender + 1}"
    now = abs(finding.now.head[who.borrower, who.lender])
    doing = {
        "II": f"PHASE II (substitution) at {at}: {learnt} and lends it to output {who.borrower + 1} through head entry {entry}",
        "III": f"PHASE III (acceleration) at {at}: the head is past its peak, and neuron {who.borrower + 1} is learning the "
        f"{NAMES[who.second]} feature",
        "IV": f"PHASE IV (the head returns) at {at}: both features are learnt",
    }
    return f"{doing[phase]}; |{entry}| = {now:.3g}{turning(finding)}."


def turning(finding: Finding) -> str:
    """A warning where both neurons turn to one feature."""
    if finding.turning is None:
        return ""
    return f"; both neurons have turned to the {NAMES[finding.turning]} feature, so it is ON THE WAY TO COLLAPSE"


def direction(cosines: np.ndarray) -> str:
    """Where neurons with these squared cosines (2, 2) point, in words."""
    for l, name in enumerate(NAMES):
        if (cosines[:, l] > 0.95 * cosines.sum(1)).all():
            return f"the {name} feature"
    return f"one mixture of the features ({100 * cosines[0, 1] / cosines[0].sum():.0f} % weak by squared cosine)"


def when(finding: Finding, time: float) -> str:
    """A time, or for finite samples the step."""
    value = time / finding.run.pace
    return f"step {value:.0f}" if finding.run.sampled else f"time {value:.3g}"


def unit(finding: Finding) -> str:
    """What rates are per."""
    return "step" if finding.run.sampled else "unit of time"


def story(finding: Finding) -> Iterator[str]:
    """The phases that the run went through, and what pushed in each."""
    run = finding.run
    if finding.roles is None or not finding.moments:
        yield from waiting(finding)
        return
    yield phase_one(finding)
    if not run.training.head_trains:
        yield alone(finding)
    elif np.isfinite(finding.times["T_2"]) and "race" in finding.moments:
        yield from with_head(finding)
    elif finding.final == "collapsed":
        yield from failed(finding)
    else:
        yield from standing(finding)


def waiting(finding: Finding) -> Iterator[str]:
    """Nothing is learnt yet."""
    if finding.foretold is not None:
        first = finding.foretold.first
        j, l = np.unravel_index(int(finding.foretold.times.argmin()), (2, 2))
        yield (
            f"  What comes: the law for this start says that neuron {j + 1} learns the {NAMES[l]} feature at about "
            f"{when(finding, first)}."
        )


def phase_one(finding: Finding) -> str:
    """The race for the first feature."""
    who, told, at = finding.roles, finding.foretold, finding.moments.get("I")
    law = f" (law for this start: {when(finding, told.first)})" if told is not None else ""
    text = f"  I    to {when(finding, finding.times['T_1'])}{law}{came(finding, 'T_1')}: nothing is learnt."
    if at is None or at.terms is None:
        return f"{text} Neuron {who.lender + 1} is the first, with the {NAMES[who.first]} feature."
    rates = np.array([[at.rate(at.terms.signal, j, l) for l in (0, 1)] for j in (0, 1)]) * finding.run.pace
    mine = rates[who.lender, who.first]
    rates[who.lender, who.first] = -np.inf
    j, l = np.unravel_index(int(np.nanargmax(rates)), (2, 2))
    term = leading(at, who.lender, who.first)
    return (
        f"{text} The signal {signal(who.lender, who.first)} (how far neuron {who.lender + 1} reaches along the "
        f"{NAMES[who.first]} feature) wins: at {when(finding, at.time)} {term} makes it grow at the rate {mine:.2g} per "
        f"{unit(finding)}, the runner-up {signal(j, l)} grows at {rates[j, l]:.2g}."
    )


def with_head(finding: Finding) -> Iterator[str]:
    """Phases II to IV of a head that has begun to return."""
    who, told = finding.roles, finding.foretold
    o, i, l, k = who.borrower, who.lender, who.first, who.second
    entry = f"E_{o + 1}{i + 1}"
    law = f" (law: {when(finding, told.peak)})" if told is not None and np.isfinite(told.peak) else ""
    yield f"  II   to {when(finding, finding.times['T_2'])}{law}{came(finding, 'T_2')}: substitution. {borrowing(finding)}"
    if not np.isfinite(finding.times["T_3"]):
        yield f"  III  acceleration did not come: the {NAMES[k]} feature is not learnt."
        return
    text = f"  III  to {when(finding, finding.times['T_3'])}{came(finding, 'T_3')}: acceleration."
    at = finding.moments.get("III")
    if at is not None and at.terms is not None:
        borrow, learn = (at.rate(at.terms.own(name), o, k) * finding.run.pace for name in ("borrowing", "learning"))
        text += (
            f" Output {o + 1} has the {NAMES[l]} feature already, so it turns to the {NAMES[k]} one: at "
            f"{when(finding, at.time)} borrowing makes {signal(o, k)} grow at {borrow:.2g} per {unit(finding)}, learning "
            f"alone would at {learn:.2g}."
        )
    yield text
    at = finding.moments.get("IV")
    if at is None:
        return
    end = f"to {when(finding, finding.times['T_4'])}{came(finding, 'T_4')}" if np.isfinite(finding.times["T_4"]) else "not over"
    text = f"  IV   {end}: the head returns."
    if at.terms is not None:
        sign = math.copysign(1.0, at.head[o, i])
        drive, held = sign * at.terms.drive[o, i], sign * (at.terms.noise + at.terms.mismatch)[o, i]
        text += (
            f" What {entry} lends is not in the target, now that neuron {o + 1} has a feature of its own: mismatch pulls it "
            f"back with {held:.2g} against a drive of {drive:.2g}."
        )
    yield text


def borrowing(finding: Finding) -> str:
    """What drives the head up, and how far it goes."""
    who = finding.roles
    o, i, l = who.borrower, who.lender, who.first
    entry, at = f"E_{o + 1}{i + 1}", finding.moments["II"]
    text = ""
    if at.terms is not None:
        sign = math.copysign(1.0, at.head[o, i])
        drive, held = sign * at.terms.drive[o, i], sign * (at.terms.noise + at.terms.mismatch)[o, i]
        text = (
            f"Output {o + 1} is noisy, and borrowing neuron {i + 1}'s answer through head entry {entry} makes its two views "
            f"agree: half-way up, at {when(finding, at.time)}, the drive on {entry} is {drive:.2g}, what holds it back {held:.2g}."
        )
    top = finding.moments.get("peak", finding.moments["race"])
    f = (np.asarray(finding.run.model.strengths) * top.signal) ** degree(finding)
    share = abs(top.head[o, i] * f[i, l] / f[o, l]) if f[o, l] != 0.0 else math.inf
    text += f" It rises to {finding.peak:.3g}"
    text += bounded(finding)
    if math.isfinite(share):
        text += f", where output {o + 1} answers to the {NAMES[l]} feature {share:.2g} times more by borrowing than by itself"
    return text.strip() + "."


def bounded(finding: Finding) -> str:
    """The peak beside its bound."""
    if not finding.run.training.is_papers or not np.isfinite(finding.bound):
        return ""
    ratio = "eta_head/lr" if finding.run.sampled else "eta_head"
    share = 100 * finding.peak / finding.bound
    if share > 100.5:
        return f" (both entries at once: the bound sqrt({ratio}/{degree(finding)})|w_j(0)| for one alone is {finding.bound:.3g})"
    return f" ({share:.1f} % of its bound sqrt({ratio}/{degree(finding)})|w_j(0)| = {finding.bound:.3g})"


def alone(finding: Finding) -> str:
    """What the other neuron does without a head that trains."""
    who, told = finding.roles, finding.foretold
    law = ""
    if told is not None:
        mine = told.times[who.borrower]
        law = (
            f" Its own race: by the law {signal(who.borrower, 0)} would run away at {when(finding, mine[0])}, "
            f"{signal(who.borrower, 1)} at {when(finding, mine[1])}, and it takes the faster."
        )
    text = f"  Then nobody lends: neuron {who.borrower + 1} learns by itself."
    if np.isfinite(finding.alone):
        taken = int(finding.final_cosines[who.borrower].argmax())
        text += f" At {when(finding, finding.alone)} it has taken the {NAMES[taken]} feature."
    return text + law


def failed(finding: Finding) -> Iterator[str]:
    """A head that trains and does not rescue."""
    who, told, at = finding.roles, finding.foretold, finding.moments.get("race")
    o, i, k = who.borrower, who.lender, who.second
    learning = finding.run.model.activation
    if learning != "cubic":
        reached = ""
        if np.isfinite(finding.alone):
            place = int(np.abs(finding.run.time - finding.alone).argmin())
            size = np.abs(finding.run.head[place] - np.eye(2)).max()
            reached = f" At {when(finding, finding.alone)} neuron {o + 1} had it too, when the head was {size:.2g} from the identity"
            reached += f" (its largest entry ever: {finding.peak:.2g}): too late to lend."
        yield f"  Both neurons take the {NAMES[who.first]} feature by themselves.{reached}"
        yield f"  The theorem is about cubic and does not cover {learning}; the head does not rescue this start."
        return
    yield f"  II   substitution, without an end. {borrowing(finding)}"
    if at is not None and at.terms is not None:
        asked, own = at.rate(at.terms.lending, i, k), at.rate(at.terms.own("borrowing"), o, k)
        asked, own = asked * finding.run.pace, own * finding.run.pace
        wins = "is faster, and the outputs become parallel: no more borrowing pays, and the head stays where it is"
        yield (
            f"  III  fails. Output {o + 1} asks for the {NAMES[k]} feature from both neurons it hears: at {when(finding, at.time)} "
            f"its own {signal(o, k)} grows at {own:.2g} per {unit(finding)}, the lender's {signal(i, k)} at {asked:.2g}."
            + (f" The lender {wins}." if asked > own else " Then the outputs become parallel, and the head stays where it is.")
        )
    if told is not None and told.merged is not None:
        yield "  " + rule(finding)


def rule(finding: Finding) -> str:
    """The law of the race for the second feature, of this start."""
    told, who = finding.foretold, finding.roles
    o, i, k = who.borrower, who.lender, who.second
    if not told.same_sign:
        text = "the product of the four signals at the start is negative, so the lender's part is driven to 0: rescued"
    else:
        verdict = "below 1: the lender wins, merged" if told.merged else "above 1: the borrower wins, rescued"
        text = (
            f"the product of the four signals at the start is positive, so there is a race, and |{signal(o, k)}| over "
            f"sqrt(r/3)|w_{o + 1}||{signal(i, k)}| was {told.lead:.2g}, {verdict} (r: eta_head over the learning rate)"
        )
    return f"The rule for large dim, of this start: {text}."


def standing(finding: Finding) -> Iterator[str]:
    """A head that is still rising, or that stays."""
    entry = f"E_{finding.roles.borrower + 1}{finding.roles.lender + 1}"
    if "II" in finding.moments:
        yield f"  II   substitution, going on. {borrowing(finding)}"
    if np.isfinite(finding.times["T_3"]):
        yield f"  Both features are learnt at {when(finding, finding.times['T_3'])}, and {entry} has not begun to return."


def forces(finding: Finding) -> Iterator[str]:
    """The table of what pushes at the state explained."""
    at, pace = finding.now, finding.run.pace
    if at.terms is None:
        return
    names = ["learning", "borrowing"] + ([] if finding.run.model.activation in ("cubic", "linear") else ["centring"])
    rows = [*names, "lending", "all"]
    yield f"  What pushes at {when(finding, at.time)} (relative growth per {unit(finding)}):"
    yield " " * 18 + "".join(f"{name:>12}" for name in ("now", *rows)).rstrip()
    for j in (0, 1):
        for l in (0, 1):
            parts = [at.terms.own(name) for name in names] + [at.terms.lending, at.terms.signal]
            cells = [f"{at.signal[j, l]:>12.2g}"]
            cells += [f"{pace * at.rate(part, j, l):>+12.1e}" if at.signal[j, l] else f"{'-':>12}" for part in parts]
            yield f"    {signal(j, l)} {NAMES[l]:<6}" + "".join(cells)
    if finding.run.training.head_trains:
        for j, r in ((0, 1), (1, 0)):
            t = at.terms
            yield (
                f"    E_{j + 1}{r + 1} = {at.head[j, r]:.3g} is pushed by drive {t.drive[j, r]:+.1e}, lender's noise "
                f"{t.noise[j, r]:+.1e}, mismatch {t.mismatch[j, r]:+.1e} (times eta_head)"
            )
    meaning = "; ".join(f"{name}: {EXPLAINED[name]}" for name in rows[:-1])
    yield f"  Signal <w_j, v_l>: how far neuron j reaches along feature l. {meaning[0].upper()}{meaning[1:]}."


def ahead(finding: Finding) -> str:
    """What comes next, from following the exact flow on."""
    if not finding.final or finding.phase == finding.final:
        return ""
    coming = [f"{name} at {when(finding, time)}" for name, time in finding.times.items() if time > finding.now.time]
    ends = {
        "collapsed": f"COLLAPSED, both neurons on {direction(finding.final_cosines)}", "rest": "healthy, the head returned",
        "diverse": "healthy, a neuron on each feature",
    }  # fmt: skip
    end = ends.get(finding.final, f"in phase {finding.final}" if finding.final != "alone" else "with one feature learnt")
    how = "the exact flow goes on from the last record" if finding.ahead else "the run itself goes on"
    return f"  Next ({how}): {', '.join(coming) + '; ' if coming else ''}in the end {end}."


def came(finding: Finding, name: str) -> str:
    """Whether a time is a forecast."""
    return ", not yet" if name in finding.ahead else ""


def told_shares(finding: Finding, found: Shares) -> Iterator[str]:
    """The ensemble beside the theory."""
    text = (
        f"  Of {found.starts} starts {percent(found.both)} learn both features (95 % interval {100 * found.both_low:.1f} to "
        f"{100 * found.both_high:.1f}), {percent(found.only_strong)} the strong one alone, {percent(found.only_weak)} the weak "
        f"one alone; {percent(found.merged)} end with both outputs the same"
    )
    text += f", and {percent(found.failed)} failed to be computed." if found.failed > 0.0 else "."
    if math.isfinite(found.merged_foretold):
        law = f"(1/pi) arctan sqrt(r/3) = {percent(found.law)} for large dim and small weak/strong"
        race = f"2p(1-p) = {percent(found.law)} both, p = (2/pi) arctan((weak/strong)^1.5), for large dim"
        theory = (
            f"{percent(found.merged_foretold)} the same ({law})" if finding.run.rate > 0.0
            else f"{percent(found.both_foretold)} both (race law: {race})"
        )  # fmt: skip
        text += f" The theory says of these starts: {theory}."
    yield text


def told_noise(finding: Finding, noise: GradientNoise) -> str:
    """The minibatch against the force."""
    who = finding.roles
    j, l = (who.borrower, who.second) if who is not None else (0, 0)
    return (
        f"  Samples: a batch of {noise.batch} knows the gradient to {math.sqrt(noise.scale / noise.batch):.2g} times its size "
        f"(noise and gradient are equal at a batch of {noise.scale:.2g}); on {signal(j, l)} the force needs "
        f"{noise.steps(j, l):.2g} steps to outgrow the noise."
    )


def advice(finding: Finding, found: list[Suggestion]) -> Iterator[str]:
    """Which setting moves it."""
    good = finding.final in ("rest", "diverse")
    for number, one in enumerate(found):
        lead = "What moves it: " if good else "What to change: "
        yield "  " + (lead if number == 0 else "") + one.words + "."
    if good and finding.run.model.activation == "cubic":
        yield "  When: T_1 goes like dim^2 (noise/strong)^6 in units of the learning rate; a smaller dim or less noise is sooner."


def tried(trial: Trial) -> str:
    """The outcome of a trial."""
    (low, high), (low_after, high_after) = trial.intervals
    verdict = "it helps" if low_after > high else ("it harms" if high_after < low else "no difference beyond chance")
    text = (
        f"  Tried {trial.change}, exact flow, {trial.starts} starts: both features {percent(trial.both[0])} "
        f"({100 * low:.1f} to {100 * high:.1f}) before, {percent(trial.both[1])} ({100 * low_after:.1f} to "
        f"{100 * high_after:.1f}) after: {verdict}; outputs the same {percent(trial.merged[0])} before, "
        f"{percent(trial.merged[1])} after."
    )
    if trial.start:
        learnt = {"both": "both features", "only_strong": "the strong feature alone", "only_weak": "the weak one alone"}
        text += f" This very start now learns {learnt.get(trial.start, trial.start)}."
    return text


def percent(share: float) -> str:
    """A share as 98.2 %."""
    return f"{100 * share:.1f} %"


def signal(j: int, l: int) -> str:
    """<w_j, v_l> as it is written."""
    return f"<w_{j + 1}, v_{l + 1}>"


def degree(finding: Finding) -> int:
    """Of the activation."""
    from dynlab.formulas.activations import ACTIVATIONS

    return ACTIVATIONS[finding.run.model.activation].degree


def leading(at: Moment, j: int, l: int) -> str:
    """The term that pushes a signal most."""
    parts = {name: abs(at.terms.own(name)[j, l]) for name in ("learning", "borrowing", "centring")}
    parts["lending"] = abs(at.terms.lending[j, l])
    return max(parts, key=parts.get)
