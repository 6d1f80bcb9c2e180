"""The phases that a run went through, in words: when each was, what pushed in it, and what comes next."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from dynlab.explanation.diagnosis import Diagnosis, Moment, gains
from dynlab.explanation.words import FEATURE_NAMES, degree, direction, signal, unit, when

MEANT = {"T_1": "first feature learnt", "T_2": "head at its peak", "T_3": "second feature learnt", "T_4": "head back"}
MUCH = 10.0  # times learning, from which on borrowing is what makes a feature grow


def story(finding: Diagnosis) -> Iterator[str]:
    """The phases that the run has gone through by the time explained, and what pushed in each."""
    if finding.roles is None or finding.phase in ("I", "vanished"):
        return
    yield phase_one(finding)
    if not finding.run.training.head_trains:
        yield alone(finding)
    elif finding.phase == "collapsed":
        yield from tell_failure(finding)
    elif finding.phase == "stuck":
        yield tell_substitution(finding)
    else:
        yield tell_substitution(finding)
        if finding.phase in ("III", "IV", "rest"):
            yield tell_acceleration(finding)
        if finding.phase in ("IV", "rest"):
            yield returning(finding)


def span(finding: Diagnosis, number: str, end: str) -> str:
    """A phase and when it ended, or that it goes on; ends close to each other are told by how far they are apart."""
    names = list(finding.times)
    time, before = finding.times[end], finding.times.get(f"T_{names.index(end)}", math.nan)
    front = f"  {number:<4} "
    if not math.isfinite(time) or time > finding.now.time:
        return f"{front}since {when(finding, before)}" if math.isfinite(before) else front + "now"
    if 0.0 < time - before < 0.03 * time and not finding.run.sampled:
        return f"{front}ended {time - before:.2g} later"
    return f"{front}to {when(finding, time)}"


def moment_of(finding: Diagnosis, name: str) -> Moment:
    """The representative state of a phase, or the one explained where that has not come yet."""
    at = finding.moments.get(name, finding.now)
    return at if at.time <= finding.now.time else finding.now


def phase_one(finding: Diagnosis) -> str:
    """The race for the first feature."""
    who, told, at = finding.who, finding.foretold, finding.moments.get("I")
    law = f" (theory for large dim: {told.first / finding.run.pace:.3g})" if told is not None else ""
    text = f"{span(finding, 'I', 'T_1')}{law}: nothing is learnt."
    feature = f"the {FEATURE_NAMES[who.first]} feature"
    if at is None or at.terms is None:
        return f"{text} Neuron {who.lender + 1} is the first, with {feature}."
    rates = np.array([[at.rate(at.terms.signal, j, l) for l in (0, 1)] for j in (0, 1)]) * finding.run.pace
    mine = rates[who.lender, who.first]
    rates[who.lender, who.first] = -np.inf
    j, l = divmod(int(np.nanargmax(rates)), 2)
    named = f"{signal(who.lender, who.first)} (how far neuron {who.lender + 1} reaches along {feature})"
    both = f"{mine:.2g} and {rates[j, l]:.2g} per {unit(finding)} at {when(finding, at.time)}"
    if not np.isfinite(rates[j, l]):
        return f"{text} {named} is the first."
    if degree(finding) == 1:
        return f"{text} {named} and {signal(j, l)} grow alike ({both}): no signal runs away from the others."
    if mine < rates[j, l]:
        return f"{text} {named} is the first, though {signal(j, l)} was faster half-way ({both})."
    return (
        f"{text} Only *{leading(at, who.lender, who.first)}* pushes: a signal grows the faster the larger it is, and "
        f"{named} "
        f"runs away from the next, {signal(j, l)} (relative growth {both})."
    )


def tell_substitution(finding: Diagnosis) -> str:
    """Phase II: what drives the head up, and how far it goes."""
    told, over = finding.foretold, finding.phase not in ("II", "stuck")
    law = f" (theory: {told.peak / finding.run.pace:.3g})" if over and told is not None and np.isfinite(told.peak) else ""
    return f"{span(finding, 'II', 'T_2')}{law}: substitution. {borrowing(finding, over)}"


def borrowing(finding: Diagnosis, over: bool) -> str:
    """What drives the head up; with `over`, how far it went."""
    who, at = finding.who, moment_of(finding, "II")
    o, i, l = who.borrower, who.lender, who.first
    entry, text = f"E_{o + 1}{i + 1}", ""
    if at.terms is not None:
        drive, held = pushes(at, o, i)
        text = (
            f"Output {o + 1} is noisy, and borrowing neuron {i + 1}'s answer through head entry {entry} makes its two views "
            f"agree: at {when(finding, at.time)} the *drive* on {entry} is {drive:.2g}, what holds it back {held:.1g}. "
        )
    top = moment_of(finding, "peak")
    f = (np.asarray(finding.run.model.strengths) * top.signal) ** degree(finding)
    share = abs(top.head[o, i] * f[i, l] / f[o, l]) if f[o, l] != 0.0 else math.inf
    size = finding.peak if over else abs(finding.now.head[o, i])
    text += f"|{entry}| {'rose to' if over else 'is now'} {size:.3g}{bounded(finding, size)}"
    if math.isfinite(share):
        feature = FEATURE_NAMES[l]
        text += f"; output {o + 1} then answers to the {feature} feature {share:.2g} times as much by borrowing as itself"
    return text + "."


def bounded(finding: Diagnosis, size: float) -> str:
    """The size of the head beside its bound; samples' noise makes weights longer, so that the start's bound says nothing."""
    if not finding.run.training.is_papers or not np.isfinite(finding.bound) or finding.run.sampled:
        return ""
    share = 100 * size / finding.bound
    if share > 100.5:
        return f" (beyond {finding.bound:.2g}, the bound for one entry alone: the other one is not 0)"
    most = f"sqrt(eta_head/{degree(finding)}) times the length of neuron {finding.who.borrower + 1} at the start"
    return f" ({share:.1f} % of the most that the conservation law allows, {most})"


def pushes(at: Moment, j: int, r: int) -> tuple[float, float]:
    """Drive on a head entry and what holds it back, positive where they make it larger."""
    sign = math.copysign(1.0, at.head[j, r])
    return sign * at.split.drive[j, r], sign * (at.split.noise + at.split.mismatch)[j, r]


def tell_acceleration(finding: Diagnosis) -> str:
    """Phase III."""
    who, at = finding.who, moment_of(finding, "III")
    o, l, k = who.borrower, who.first, who.second
    if at.terms is None:
        return f"{span(finding, 'III', 'T_3')}: the {FEATURE_NAMES[k]} feature is learnt."
    text = f"{span(finding, 'III', 'T_3')}: acceleration."
    borrow, learn = (at.rate(at.terms.own(name), o, k) * finding.run.pace for name in ("borrowing", "learning"))
    whole = at.rate(at.terms.signal, o, k) * finding.run.pace
    if not borrow > MUCH * abs(learn) or abs(whole - borrow) > 0.5 * borrow:
        return (
            f"{text} It is not clean here: at {when(finding, at.time)} borrowing pushes {signal(o, k)} at the relative rate "
            f"{borrow:.2g} per {unit(finding)}, learning at {learn:.2g}, all terms together at {whole:.2g}."
        )
    return (
        f"{text} Output {o + 1} has the {FEATURE_NAMES[l]} feature already, so the {FEATURE_NAMES[k]} one is next: at "
        f"{when(finding, at.time)} "
        f"*borrowing* makes {signal(o, k)} grow at the relative rate {borrow:.2g} per {unit(finding)}; by learning alone it "
        f"would grow at {learn:.2g}.{compared(finding, at)}"
    )


def compared(finding: Diagnosis, at: Moment) -> str:
    """Both comparisons of the acceleration, and whose they are."""
    who, found = finding.who, gains(finding, at)
    if found is None:
        return ""
    second, first = found
    beside = "drives" if first < 0.0 else f"makes {signal(who.borrower, who.first)} grow {first:.2g} times as fast"
    beside += f" {signal(who.borrower, who.first)} back" if first < 0.0 else ""
    return (
        f" At the same state with E = I {signal(who.borrower, who.second)} would grow {1.0 / second:.2g} times as fast: the "
        f"head {'speeds it up' if second > 1.0 else 'slows it down'} (dynlab's comparison), and {beside}: it "
        f"{'favours' if second > first else 'does not favour'} the {FEATURE_NAMES[who.second]} feature (Wen & Li's)."
    )


def returning(finding: Diagnosis) -> str:
    """Phase IV."""
    who, at = finding.who, moment_of(finding, "IV")
    o, i = who.borrower, who.lender
    text = f"{span(finding, 'IV', 'T_4')}: the head returns."
    if at.terms is None:
        return text
    drive, held = pushes(at, o, i)
    return (
        f"{text} Neuron {o + 1} has a feature of its own, and what E_{o + 1}{i + 1} lends is not in its target: the "
        f"*mismatch* "
        f"pulls with {held:.2g} against a drive of {drive:.1g}."
    )


def alone(finding: Diagnosis) -> str:
    """What the other neuron does without a head that trains."""
    who, told = finding.who, finding.foretold
    o = who.borrower
    rule = finding.run.training.head
    text = f"  Then nobody lends: neuron {o + 1} learns by itself."
    if rule in ("directpred", "directcopy"):
        text = f"  The head is set from the outputs' correlations ({rule}), so what it lends follows what is learnt."
    if finding.alone <= finding.now.time:
        taken = int(finding.cosines[o].argmax())
        text += f" At {when(finding, finding.alone)} neuron {o + 1} has taken the {FEATURE_NAMES[taken]} feature."
    if told is not None:
        first, second = (when(finding, time) for time in told.times[o])
        text += (
            f" Its own race, by theory: {signal(o, 0)} runs away at {first}, {signal(o, 1)} at {second}; the earlier one "
            f"wins."
        )
    return text


def tell_failure(finding: Diagnosis) -> Iterator[str]:
    """A head that trains and does not rescue."""
    name = finding.run.model.activation
    if name != "cubic":
        yield f"  Both neurons ended on {direction(finding.cosines)}.{too_late(finding)}"
        yield f"  The theorem is about cubic and does not cover {name}; the head did not rescue this start."
        return
    yield f"  II   substitution, without an end. {borrowing(finding, True)}"
    yield from race(finding)


def too_late(finding: Diagnosis) -> str:
    """How far the head was when the second neuron had learnt the first feature."""
    if not finding.alone <= finding.now.time:
        return ""
    run = finding.run
    place = int(np.abs(run.time - finding.alone).argmin())
    size = np.abs(run.head[place] - np.eye(2)).max()
    return (
        f" When neuron {finding.who.borrower + 1} had learnt something too, at {when(finding, finding.alone)}, the "
        f"largest head entry was {size:.2g} (its largest "
        f"ever: {finding.peak:.2g}): too late to lend."
    )


def race(finding: Diagnosis) -> Iterator[str]:
    """Why the lender, not the borrower, turned to the second feature."""
    who, at, told = finding.who, finding.moments.get("lost"), finding.foretold
    o, i, k = who.borrower, who.lender, who.second
    if at is not None and at.terms is not None:
        asked, own = at.rate(at.terms.signal, i, k), at.rate(at.terms.signal, o, k)
        wins = "The lender is faster" if asked > own else "The borrower is too slow"
        yield (
            f"  III  failed. Output {o + 1} asks both neurons it hears for the {FEATURE_NAMES[k]} feature: at "
            f"{when(finding, at.time)} "
            f"its own {signal(o, k)} grows at {own * finding.run.pace:.2g} per {unit(finding)}, the lender's "
            f"{signal(i, k)} at "
            f"{asked * finding.run.pace:.2g}. {wins}, the outputs become parallel, borrowing stops to pay, and the head "
            f"stays."
        )
    if told is not None and told.merged is not None:
        yield "  " + (rule(finding) if told.merged else unforeseen(finding))


def unforeseen(finding: Diagnosis) -> str:
    """A collapse that the rule for large dim does not foretell."""
    told, who = finding.theory, finding.who
    own = float(told.times[who.borrower, who.first])
    text = f"The rule for large dim foretells no collapse of this start, but dim is {finding.run.dim:g}"
    if own < told.peak:
        return (
            f"{text}: by its own race neuron {who.borrower + 1} takes the {FEATURE_NAMES[who.first]} feature at "
            f"{when(finding, own)}, sooner than the substitution is over by theory, {when(finding, told.peak)}."
        )
    return text + "."


def rule(finding: Diagnosis) -> str:
    """The law of the race for the second feature, of this start."""
    told, who = finding.theory, finding.who
    o, i, k = who.borrower, who.lender, who.second
    if not told.same_sign:
        text = "the product of the four signals is negative, so the lender is driven away from that feature: no collapse"
    else:
        verdict = "below 1, so the lender wins: collapse" if told.merged else "above 1, so the borrower wins: no collapse"
        text = (
            f"the product of the four signals is positive, so there is a race, and |{signal(o, k)}| over sqrt(r/3) "
            f"|w_{o + 1}| |{signal(i, k)}| is {told.lead:.2g} at the end of I, {verdict} (r: eta_head/learning rate)"
        )
        if told.slip > 1.0:
            l = who.first
            verdict = "so lending drives both to 0: collapse" if told.merged else "so lending makes it grow: no collapse"
            text = (
                f"the head is slow beside dim (second route): neuron {o + 1} collapses onto the {FEATURE_NAMES[l]} feature "
                f"before the head is at its bound. Then |{signal(o, k)}/{signal(o, l)}| is {told.lead:.2g} times "
                f"|{signal(i, k)}/{signal(i, l)}|, {verdict}"
            )
    return f"The rule for large dim said of this start: {text}."


def ahead(finding: Diagnosis) -> Iterator[str]:
    """What comes next, from the run itself or from following the exact flow on."""
    if finding.phase == finding.final:
        return
    coming = sequence(finding)
    ends = {
        "collapsed": f"COLLAPSED, both neurons on {direction(finding.final_cosines)}",
        "rest": "healthy, the head at the identity",
        "diverse": "healthy, a neuron on each feature",
        "opposite": "with one feature learnt, by both neurons with opposite signs",
        "alone": "with one feature learnt",
        "stuck": "stuck, nothing moves any more",
    }
    meaning = "; ".join(f"{name}: {MEANT[name]}" for name, time in finding.times.items() if time > finding.now.time)
    how = "the exact flow, followed from the last record" if finding.ahead else "the run, later on"
    text = f"  Next ({how}): {', '.join(coming) + '; ' if coming else ''}it ends "
    yield text + ends.get(finding.final, f"in phase {finding.final}") + (f" ({meaning})." if meaning else ".")
    told = finding.foretold
    if finding.final == "collapsed" and finding.roles is not None and told is not None and told.merged:
        yield "  " + rule(finding)


def sequence(finding: Diagnosis) -> list[str]:
    """The times still to come; what follows soon after another one is told by the difference."""
    coming, before = [], math.nan
    for name, time in finding.times.items():
        if time > finding.now.time:
            gap = time - before
            close = 0.0 < gap < 0.03 * time
            coming.append(f"{name} {gap / finding.run.pace:.2g} later" if close else f"{name} at {when(finding, time)}")
            before = time
    return coming


def leading(at: Moment, j: int, l: int) -> str:
    """The term that pushes a signal most."""
    parts = {name: abs(at.split.own(name)[j, l]) for name in ("learning", "borrowing", "centring")}
    parts["lending"] = abs(at.split.lending[j, l])
    return max(parts, key=lambda name: parts[name])
