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
from dynlab.formulas import masks

WIDTH = 100
ALIKE = 10.0  # signals whose rates differ by less than this grow alike: nothing runs away
MEANT = {"T_1": "first feature learnt", "T_2": "head at its peak", "T_3": "second feature learnt", "T_4": "head back"}
NAMES = ("strong", "weak")
EXPLAINED = {
    "learning": "its own answer grows while its output is noisy",
    "borrowing": "its output has borrowed one feature, so the other one is next (acceleration)",
    "centring": "from the mean that the normalisation takes off",
    "lending": "the other output borrows from it and asks the same of it",
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
    how = {"flow": "exact flow", "descent": "exact descent", "sgd": "samples"}[run.method]
    parts = [f"strong {model.strong:g}", f"weak {model.weak:g}", f"dim {run.dim:g}"]
    if run.training.head != "none":
        parts.append(f"eta_head {run.training.eta_head:g}")
    if run.sampled:
        parts += [f"batch {run.batch}", f"lr {run.eta:g}"] + ([run.optimiser] if run.optimiser != "sgd" else [])
    changed = run.training.changed()
    parts += [f"{name.replace('_', '-')} {value}" for name, value in changed.items() if name not in ("eta_head", "head")]
    return f"{model.activation}, head {run.training.head}: {how} of start {run.number} ({', '.join(parts)})"


def headline(finding: Finding) -> str:
    """The most important sentence: where the run is."""
    phase, at = finding.phase, when(finding, finding.now.time)
    who = finding.roles
    if phase == "collapsed":
        return (
            f"COLLAPSED at {at}: both neurons point along {direction(finding.cosines)}, so both outputs say the same "
            f"(effective rank {finding.rank:.2f} of 2).{loss(finding)}"
        )
    if phase in ("rest", "diverse"):
        head = ", and the head has returned to the identity: phase IV is over" if phase == "rest" else ""
        return f"HEALTHY at {at}: each feature is learnt by a neuron of its own{head}.{loss(finding)}"
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


def loss(finding: Finding) -> str:
    """That the loss tells nothing, where it is at the minimum that healthy and collapsed runs share (odd activations)."""
    same, across, *_ = masks.count_moments(
        finding.run.model.patches, finding.run.model.feature_patches, finding.run.model.mask == "half"
    )
    value = float(finding.run.loss[finding.index])
    if finding.run.sampled or degree(finding) != 3 or abs(value - (4.0 - 4.0 * across / same)) > 1e-3:
        return ""
    return f" The loss, {value:.3f}, is the lowest there is, for healthy and collapsed runs alike: it does not tell."


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
    """The phases that the run has gone through by the time explained, and what pushed in each."""
    if finding.roles is None or finding.phase == "I":
        return
    yield phase_one(finding)
    if not finding.run.training.head_trains:
        yield alone(finding)
    elif finding.phase == "collapsed":
        yield from failed(finding)
    else:
        yield substitution(finding)
        if finding.phase in ("III", "IV", "rest"):
            yield acceleration(finding)
        if finding.phase in ("IV", "rest"):
            yield returning(finding)


def span(finding: Finding, number: str, end: str) -> str:
    """A phase and when it ended, or that it goes on; ends close to each other are told by how far they are apart."""
    names = list(finding.times)
    time, before = finding.times[end], finding.times.get(f"T_{names.index(end)}", math.nan)
    front = f"  {number:<4} "
    if not math.isfinite(time) or time > finding.now.time:
        return f"{front}since {when(finding, before)}" if math.isfinite(before) else front + "now"
    if 0.0 < time - before < 0.03 * time and not finding.run.sampled:
        return f"{front}ended {time - before:.2g} later"
    return f"{front}to {when(finding, time)}"


def seen(finding: Finding, name: str) -> Moment:
    """The representative state of a phase, or the one explained where that has not come yet."""
    at = finding.moments.get(name, finding.now)
    return at if at.time <= finding.now.time else finding.now


def phase_one(finding: Finding) -> str:
    """The race for the first feature."""
    who, told, at = finding.roles, finding.foretold, finding.moments.get("I")
    law = f" (theory for large dim: {told.first / finding.run.pace:.3g})" if told is not None else ""
    text = f"{span(finding, 'I', 'T_1')}{law}: nothing is learnt."
    feature = f"the {NAMES[who.first]} feature"
    if at is None or at.terms is None:
        return f"{text} Neuron {who.lender + 1} is the first, with {feature}."
    rates = np.array([[at.rate(at.terms.signal, j, l) for l in (0, 1)] for j in (0, 1)]) * finding.run.pace
    mine = rates[who.lender, who.first]
    rates[who.lender, who.first] = -np.inf
    j, l = np.unravel_index(int(np.nanargmax(rates)), (2, 2))
    named = f"{signal(who.lender, who.first)} (how far neuron {who.lender + 1} reaches along {feature})"
    both = f"{mine:.2g} and {rates[j, l]:.2g} per {unit(finding)} at {when(finding, at.time)}"
    if mine < ALIKE * rates[j, l]:
        return f"{text} {named} and {signal(j, l)} grow alike ({both}): no signal runs away from the others."
    return (
        f"{text} Only *{leading(at, who.lender, who.first)}* pushes: a signal grows the faster the larger it is, and {named} "
        f"runs away from the next, {signal(j, l)} (relative growth {both})."
    )


def substitution(finding: Finding) -> str:
    """Phase II: what drives the head up, and how far it goes."""
    told, over = finding.foretold, finding.phase != "II"
    law = f" (theory: {told.peak / finding.run.pace:.3g})" if over and told is not None and np.isfinite(told.peak) else ""
    return f"{span(finding, 'II', 'T_2')}{law}: substitution. {borrowing(finding, over)}"


def borrowing(finding: Finding, over: bool) -> str:
    """What drives the head up; with `over`, how far it went."""
    who, at = finding.roles, seen(finding, "II")
    o, i, l = who.borrower, who.lender, who.first
    entry, text = f"E_{o + 1}{i + 1}", ""
    if at.terms is not None:
        drive, held = pushes(at, o, i)
        text = (
            f"Output {o + 1} is noisy, and borrowing neuron {i + 1}'s answer through head entry {entry} makes its two views "
            f"agree: at {when(finding, at.time)} the *drive* on {entry} is {drive:.2g}, what holds it back {held:.1g}. "
        )
    top = seen(finding, "peak")
    f = (np.asarray(finding.run.model.strengths) * top.signal) ** degree(finding)
    share = abs(top.head[o, i] * f[i, l] / f[o, l]) if f[o, l] != 0.0 else math.inf
    size = finding.peak if over else abs(finding.now.head[o, i])
    text += f"|{entry}| {'rose to' if over else 'is now'} {size:.3g}{bounded(finding, size)}"
    if math.isfinite(share):
        text += f"; output {o + 1} then answers to the {NAMES[l]} feature {share:.2g} times as much by borrowing as by itself"
    return text + "."


def bounded(finding: Finding, size: float) -> str:
    """The size of the head beside its bound; samples' noise makes weights longer, so that the start's bound says nothing."""
    if not finding.run.training.is_papers or not np.isfinite(finding.bound) or finding.run.sampled:
        return ""
    share = 100 * size / finding.bound
    if share > 100.5:
        return f" (beyond {finding.bound:.2g}, the bound for one entry alone: the other one is not 0)"
    return f" ({share:.1f} % of its bound sqrt(eta_head/{degree(finding)})|w_{finding.roles.borrower + 1}(0)|)"


def pushes(at: Moment, j: int, r: int) -> tuple[float, float]:
    """Drive on a head entry and what holds it back, positive where they make it larger."""
    sign = math.copysign(1.0, at.head[j, r])
    return sign * at.terms.drive[j, r], sign * (at.terms.noise + at.terms.mismatch)[j, r]


def acceleration(finding: Finding) -> str:
    """Phase III."""
    who, at = finding.roles, seen(finding, "III")
    o, l, k = who.borrower, who.first, who.second
    text = f"{span(finding, 'III', 'T_3')}: acceleration."
    if at.terms is None:
        return text
    borrow, learn = (at.rate(at.terms.own(name), o, k) * finding.run.pace for name in ("borrowing", "learning"))
    return (
        f"{text} Output {o + 1} has the {NAMES[l]} feature already, so the {NAMES[k]} one is next: at {when(finding, at.time)} "
        f"*borrowing* makes {signal(o, k)} grow at the relative rate {borrow:.2g} per {unit(finding)}; by learning alone it "
        f"would grow at {learn:.2g}."
    )


def returning(finding: Finding) -> str:
    """Phase IV."""
    who, at = finding.roles, seen(finding, "IV")
    o, i = who.borrower, who.lender
    text = f"{span(finding, 'IV', 'T_4')}: the head returns."
    if at.terms is None:
        return text
    drive, held = pushes(at, o, i)
    return (
        f"{text} Neuron {o + 1} has a feature of its own, and what E_{o + 1}{i + 1} lends is not in its target: the *mismatch* "
        f"pulls with {held:.2g} against a drive of {drive:.1g}."
    )


def alone(finding: Finding) -> str:
    """What the other neuron does without a head that trains."""
    who, told = finding.roles, finding.foretold
    o = who.borrower
    text = f"  Then nobody lends: neuron {o + 1} learns by itself."
    if finding.alone <= finding.now.time:
        taken = int(finding.cosines[o].argmax())
        text += f" At {when(finding, finding.alone)} it has taken the {NAMES[taken]} feature."
    if told is not None:
        first, second = (when(finding, time) for time in told.times[o])
        text += (
            f" Its own race, by theory: {signal(o, 0)} runs away at {first}, {signal(o, 1)} at {second}; the earlier one wins."
        )
    return text


def failed(finding: Finding) -> Iterator[str]:
    """A head that trains and does not rescue."""
    who, name = finding.roles, finding.run.model.activation
    if name != "cubic":
        yield f"  Both neurons ended on {direction(finding.cosines)}.{too_late(finding)}"
        yield f"  The theorem is about cubic and does not cover {name}; the head did not rescue this start."
        return
    yield f"  II   substitution, without an end. {borrowing(finding, True)}"
    yield from race(finding)


def too_late(finding: Finding) -> str:
    """How far the head was when the second neuron had learnt the first feature."""
    if not finding.alone <= finding.now.time:
        return ""
    run = finding.run
    place = int(np.abs(run.time - finding.alone).argmin())
    size = np.abs(run.head[place] - np.eye(2)).max()
    return (
        f" When neuron {finding.roles.borrower + 1} had learnt something too, at {when(finding, finding.alone)}, the largest head entry was {size:.2g} (its largest "
        f"ever: {finding.peak:.2g}): too late to lend."
    )


def race(finding: Finding) -> Iterator[str]:
    """Why the lender, not the borrower, turned to the second feature."""
    who, at, told = finding.roles, finding.moments.get("lost"), finding.foretold
    o, i, k = who.borrower, who.lender, who.second
    if at is not None and at.terms is not None:
        asked, own = at.rate(at.terms.signal, i, k), at.rate(at.terms.signal, o, k)
        wins = "The lender is faster" if asked > own else "The borrower is too slow"
        yield (
            f"  III  failed. Output {o + 1} asks both neurons it hears for the {NAMES[k]} feature: at {when(finding, at.time)} "
            f"its own {signal(o, k)} grows at {own * finding.run.pace:.2g} per {unit(finding)}, the lender's {signal(i, k)} at "
            f"{asked * finding.run.pace:.2g}. {wins}, the outputs become parallel, borrowing stops to pay, and the head stays."
        )
    if told is not None and told.merged is not None:
        yield "  " + rule(finding)


def rule(finding: Finding) -> str:
    """The law of the race for the second feature, of this start."""
    told, who = finding.foretold, finding.roles
    o, i, k = who.borrower, who.lender, who.second
    if not told.same_sign:
        text = "the product of the four signals is negative, so the lender is driven away from that feature: no collapse"
    else:
        verdict = "below 1, so the lender wins: collapse" if told.merged else "above 1, so the borrower wins: no collapse"
        text = (
            f"the product of the four signals is positive, so there is a race, and |{signal(o, k)}| over sqrt(r/3) "
            f"|w_{o + 1}| |{signal(i, k)}| is {told.lead:.2g} at the end of I, {verdict} (r: eta_head/learning rate)"
        )
    return f"The rule for large dim said of this start: {text}."


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
            cells += [f"{shown(pace * at.rate(part, j, l)):>12}" for part in parts]
            yield f"    {signal(j, l)} {NAMES[l]:<6}" + "".join(cells)
    if finding.run.training.head_trains:
        for j, r in ((0, 1), (1, 0)):
            t = at.terms
            yield (
                f"    E_{j + 1}{r + 1} = {at.head[j, r]:.2g}, times eta_head: drive {shown(t.drive[j, r])}, lender's noise "
                f"{shown(t.noise[j, r])}, mismatch {shown(t.mismatch[j, r])}"
            )
    meaning = "; ".join(f"{name}: {EXPLAINED[name]}" for name in rows[:-1])
    yield f"    (<w_j, v_l>: how far neuron j reaches along feature l; {meaning})"


def ahead(finding: Finding) -> Iterator[str]:
    """What comes next, from the run itself or from following the exact flow on."""
    if finding.phase == finding.final:
        return
    coming = sequence(finding)
    ends = {
        "collapsed": f"COLLAPSED, both neurons on {direction(finding.final_cosines)}", "rest": "healthy, the head at the identity",
        "diverse": "healthy, a neuron on each feature", "alone": "with one feature learnt",
    }  # fmt: skip
    meaning = "; ".join(f"{name}: {MEANT[name]}" for name, time in finding.times.items() if time > finding.now.time)
    how = "the exact flow, followed from the last record" if finding.ahead else "the run, later on"
    text = f"  Next ({how}): {', '.join(coming) + '; ' if coming else ''}it ends "
    yield text + ends.get(finding.final, f"in phase {finding.final}") + (f" ({meaning})." if meaning else ".")
    told = finding.foretold
    if finding.final == "collapsed" and finding.roles is not None and told is not None and told.merged is not None:
        yield "  " + rule(finding)


def sequence(finding: Finding) -> list[str]:
    """The times still to come; what follows soon after another one is told by the difference."""
    coming, before = [], math.nan
    for name, time in finding.times.items():
        if time > finding.now.time:
            gap = time - before
            close = 0.0 < gap < 0.03 * time
            coming.append(f"{name} {gap / finding.run.pace:.2g} later" if close else f"{name} at {when(finding, time)}")
            before = time
    return coming


def told_shares(finding: Finding, found: Shares) -> Iterator[str]:
    """The ensemble beside the theory; nothing for one start alone, of which all else speaks."""
    if found.starts == 1:
        return
    text = (
        f"  Of {found.starts} starts {percent(found.both)} learn both features (95 % interval {100 * found.both_low:.1f} to "
        f"{100 * found.both_high:.1f}), {percent(found.only_strong)} the strong one alone, {percent(found.only_weak)} the weak "
        f"one alone; {percent(found.merged)} end with both outputs the same"
    )
    text += f", and {percent(found.failed)} failed to be computed." if found.failed > 0.0 else "."
    if math.isfinite(found.merged_foretold):
        law = f"(1/pi) arctan sqrt(eta_head/3) = {percent(found.law)} for large dim and small weak/strong"
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
    coming = [time - finding.now.time for time in finding.times.values() if time > finding.now.time]
    text = (
        f"  Noise of the samples: that of one batch of {noise.batch} is {math.sqrt(noise.scale / noise.batch):.2g} times the "
        f"gradient (as large as it at a batch of {noise.scale:.2g}); the force on {signal(j, l)} outgrows it in "
        f"{noise.steps(j, l):.2g} steps."
    )
    if coming and noise.steps(j, l) > min(coming) / finding.run.eta:
        text += " That is later than what comes next: do not rely on its steps, which leave the noise out, at this batch."
    return text


def advice(finding: Finding, found: list[Suggestion]) -> Iterator[str]:
    """Which setting moves it."""
    good = finding.final in ("rest", "diverse")
    for number, one in enumerate(found):
        lead = "What moves it: " if good else "What to change: "
        yield "  " + (lead if number == 0 else "") + one.words + "."
    if good and finding.run.model.activation == "cubic":
        yield "  When: T_1 goes like dim^2 (noise/strong)^6: a smaller dim or less noise is sooner."


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


def shown(rate: float) -> str:
    """A rate with its sign; a dash for a signal that is 0."""
    return "-" if math.isnan(rate) else (f"{rate:+.1e}" if rate != 0.0 else "0")


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
