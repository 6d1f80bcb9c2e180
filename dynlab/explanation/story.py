"""The phases that a run went through, in words: when each was, what pushed in it, and what comes next."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from dynlab.explanation import sentences
from dynlab.explanation.diagnosis import Diagnosis, Moment, gains
from dynlab.explanation.words import FEATURE_NAMES, degree, direction, signal, unit, when
from dynlab.population.head_matrices import FROM_CORRELATION

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
    who, told, at = finding.who, finding.prediction, finding.moments.get("I")
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
    told_now = sentences.RUNS_AWAY.format(
        term=leading(at, who.lender, who.first), signal=signal(who.lender, who.first), neuron=who.lender + 1,
        feature=FEATURE_NAMES[who.first], other=signal(j, l), both=both,
    )  # fmt: skip
    return f"{text} {told_now}"


def tell_substitution(finding: Diagnosis) -> str:
    """Phase II: what drives the head up, and how far it goes."""
    told, over = finding.prediction, finding.phase not in ("II", "stuck")
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
            sentences.DRIVE.format(
                borrower=o + 1, lender=i + 1, entry=entry, at=when(finding, at.time), drive=drive, held=held
            )
            + " "
        )
    top = moment_of(finding, "peak")
    f = (np.asarray(finding.run.model.effective_strengths) * top.signal) ** degree(finding)
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
        unclean = sentences.NOT_CLEAN.format(
            at=when(finding, at.time), signal=signal(o, k), borrowing=borrow, unit=unit(finding), learning=learn, whole=whole
        )
        return f"{text} {unclean}"
    next_one = sentences.NEXT_ONE.format(
        borrower=o + 1, first=FEATURE_NAMES[l], second=FEATURE_NAMES[k], at=when(finding, at.time), signal=signal(o, k),
        borrowing=borrow, unit=unit(finding), learning=learn,
    )  # fmt: skip
    return f"{text} {next_one}{compared(finding, at)}"


def compared(finding: Diagnosis, at: Moment) -> str:
    """Both comparisons of the acceleration, and whose they are."""
    who, found = finding.who, gains(finding, at)
    if found is None:
        return ""
    second, first = found
    beside = "drives" if first < 0.0 else f"makes {signal(who.borrower, who.first)} grow {first:.2g} times as fast"
    beside += f" {signal(who.borrower, who.first)} back" if first < 0.0 else ""
    return " " + sentences.COMPARED.format(
        second=signal(who.borrower, who.second), without=1.0 / second, beside=beside, feature=FEATURE_NAMES[who.second],
        speeds="speeds it up" if second > 1.0 else "slows it down",
        favours="favours" if second > first else "does not favour",
    )  # fmt: skip


def returning(finding: Diagnosis) -> str:
    """Phase IV."""
    who, at = finding.who, moment_of(finding, "IV")
    o, i = who.borrower, who.lender
    text = f"{span(finding, 'IV', 'T_4')}: the head returns."
    if at.terms is None:
        return text
    drive, held = pushes(at, o, i)
    return f"{text} {sentences.RETURNS.format(borrower=o + 1, entry=f'E_{o + 1}{i + 1}', held=held, drive=drive)}"


def alone(finding: Diagnosis) -> str:
    """What the other neuron does without a head that trains."""
    who, told = finding.who, finding.prediction
    o = who.borrower
    rule = finding.run.training.head
    text = f"  Then nobody lends: neuron {o + 1} learns by itself."
    if rule in FROM_CORRELATION:
        text = f"  The head is set from the outputs' correlations ({rule}), so what it lends follows what is learnt."
    if finding.alone <= finding.now.time:
        taken = int(finding.cosines[o].argmax())
        text += f" At {when(finding, finding.alone)} neuron {o + 1} has taken the {FEATURE_NAMES[taken]} feature."
    if told is not None:
        first, second = (when(finding, time) for time in told.times[o])
        text += " " + sentences.OWN_RACE.format(strong=signal(o, 0), first=first, weak=signal(o, 1), second=second)
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
    at, borrower = when(finding, finding.alone), finding.who.borrower + 1
    return " " + sentences.TOO_LATE.format(borrower=borrower, at=at, size=size, peak=finding.peak)


def race(finding: Diagnosis) -> Iterator[str]:
    """Why the lender, not the borrower, turned to the second feature."""
    who, at, told = finding.who, finding.moments.get("lost"), finding.prediction
    o, i, k = who.borrower, who.lender, who.second
    if at is not None and at.terms is not None:
        asked, own = at.rate(at.terms.signal, i, k), at.rate(at.terms.signal, o, k)
        wins = "The lender is faster" if asked > own else "The borrower is too slow"
        pace = finding.run.pace
        yield "  " + sentences.LOST_RACE.format(
            borrower=o + 1, feature=FEATURE_NAMES[k], at=when(finding, at.time), own=signal(o, k), own_rate=own * pace,
            unit=unit(finding), asked=signal(i, k), asked_rate=asked * pace, wins=wins,
        )  # fmt: skip
    if told is not None and told.merged is not None:
        yield "  " + (rule(finding) if told.merged else unexpected(finding))


def unexpected(finding: Diagnosis) -> str:
    """A collapse that the rule for large dim does not predict."""
    told, who = finding.theory, finding.who
    own = float(told.times[who.borrower, who.first])
    text = f"The rule for large dim predicts no collapse of this start, but dim is {finding.run.dim:g}"
    if own < told.peak:
        sooner = sentences.UNEXPECTED.format(
            borrower=who.borrower + 1,
            feature=FEATURE_NAMES[who.first],
            own=when(finding, own),
            peak=when(finding, told.peak),
        )
        return f"{text}: {sooner}"
    return text + "."


def rule(finding: Diagnosis) -> str:
    """The law of the race for the second feature, of this start."""
    told, who = finding.theory, finding.who
    o, i, k = who.borrower, who.lender, who.second
    if not told.same_sign:
        text = "the product of the four signals is negative, so the lender is driven away from that feature: no collapse"
    else:
        verdict = "below 1, so the lender wins: collapse" if told.merged else "above 1, so the borrower wins: no collapse"
        text = sentences.RACE.format(own=signal(o, k), borrower=o + 1, asked=signal(i, k), lead=told.lead, verdict=verdict)
        if told.slip > 1.0:
            l = who.first
            verdict = "so lending drives both to 0: collapse" if told.merged else "so lending makes it grow: no collapse"
            text = sentences.SECOND_ROUTE.format(
                borrower=o + 1, feature=FEATURE_NAMES[l], own=signal(o, k), own_first=signal(o, l), lead=told.lead,
                asked=signal(i, k), asked_first=signal(i, l), verdict=verdict,
            )  # fmt: skip
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
    told = finding.prediction
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
