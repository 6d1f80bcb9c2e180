"""The words for a `Diagnosis`: short lines a newcomer can read, made from the numbers alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from dynlab.explanation import sentences
from dynlab.explanation.advice import Suggestion, Trial
from dynlab.explanation.diagnosis import GOOD, Diagnosis, follows_on
from dynlab.explanation.noise import GradientNoise
from dynlab.explanation.shares import Shares
from dynlab.formulas import masks
from dynlab.population.moments import carried
from dynlab.population.status import SUCCESS, remedy
from dynlab.population.stepping import DOMINANT
from dynlab.tools import show
from dynlab.tools.show import percent

TEXT_WIDTH = 100
FEATURE_NAMES = ("strong", "weak")
EXPLAINED = {
    "learning": "its own answer grows while its output is noisy",
    "borrowing": "its output has borrowed one feature, so the other one is next (acceleration)",
    "centring": "from the mean that the normalisation takes off",
    "lending": "the other output borrows from it and asks the same of it",
}


def wrapped(lines: list[str]) -> list[str]:
    """The lines at `TEXT_WIDTH` columns, continued under their text."""
    out = []
    for line in lines:
        indent = len(line) - len(line.lstrip())
        out += show.paragraph(line, TEXT_WIDTH, subsequent_indent=" " * (indent + 2 if indent else 0)) if line else [""]
    return out


def medians_of(count: int) -> str:
    """That numbers are medians of so many records, if of more than one."""
    return sentences.MEDIANS.format(count=count) if count > 1 else ""


def title(finding: Diagnosis) -> str:
    """What run it is."""
    run, model = finding.run, finding.run.model
    how = "samples" if run.sampled else f"exact {run.method} of start {run.number}"
    equal = " (as strong: here strong is v_1, weak v_2)" if model.weak == model.strong else ""
    parts = [f"strong {model.strong:g}", f"weak {model.weak:g}{equal}{show.feature_words(model)}", f"dim {run.dim:g}"]
    if run.training.head != "none":
        parts.append(f"eta_head {run.training.eta_head:g}")
    if run.method == "descent" and run.optimiser != "sgd":
        parts += [run.optimiser, f"eta {run.eta:g}"]
    if run.sampled:
        parts += [f"batch {run.batch}", f"lr {run.eta:g}"] + ([run.optimiser] if run.optimiser != "sgd" else [])
    changed = run.training.changed()
    parts += [f"{name.replace('_', '-')} {value}" for name, value in changed.items() if name not in ("eta_head", "head")]
    return f"{model.activation}, head {run.training.head}: {how} ({', '.join(parts)})"


def headline(finding: Diagnosis) -> str:
    """The most important sentences: where the run is, and what stopped it if something did."""
    ended, text = finding.run.ended, _headline(finding)
    if ended in ("", *SUCCESS):
        return text
    if "not finite" in ended or "overflow" in ended:  # what came before says nothing of how it would have ended
        return f"DIVERGED: {ended}. {remedy('not finite')} Before that: {text}"
    return f"{text} The run did not end well: {ended}. {remedy(ended)}".rstrip()


def _headline(finding: Diagnosis) -> str:
    phase, at = finding.phase, when(finding, finding.now.time)
    if phase == "vanished":
        return f"VANISHED at {at}: a neuron has no length left, so its output is 0 and cannot be normalised."
    if phase == "collapsed":
        text = sentences.COLLAPSED.format(at=at, direction=direction(finding.cosines), rank=finding.rank)
        return f"{text}{loss_words(finding)}"
    if phase in GOOD:
        head = ", and the head lends nothing any more (it is the identity): phase IV is over" if phase == "rest" else ""
        return f"HEALTHY at {at}: each feature is learnt by a neuron of its own{head}.{loss_words(finding)}{shrunk(finding)}"
    if phase == "I":
        best = finding.cosines.max()
        where = f"no neuron has learnt a feature (largest squared cosine {best:.3g}; learnt is above 0.5){carrying(finding)}"
        return f"PHASE I at {at}: {where}{turning(finding)}."
    if phase == "opposite":
        taken = FEATURE_NAMES[int(finding.cosines[0].argmax())]
        return sentences.ONE_FEATURE.format(at=at, feature=taken, rank=finding.rank)
    if phase == "stuck":
        return f"STUCK at {at}: nothing moves any more, and {number_learnt(finding)}.{shrunk(finding)}"
    who = finding.who
    learnt = f"neuron {who.lender + 1} has learnt the {FEATURE_NAMES[who.first]} feature"
    if phase == "alone":
        return f"HALF-WAY at {at}: {learnt}, neuron {who.borrower + 1} nothing yet{turning(finding)}."
    entry = f"E_{who.borrower + 1}{who.lender + 1}"
    now = abs(finding.now.head[who.borrower, who.lender])
    doing = {
        "II": sentences.PHASE_2.format(at=at, learnt=learnt, borrower=who.borrower + 1, entry=entry),
        "III": sentences.PHASE_3.format(at=at, borrower=who.borrower + 1, feature=FEATURE_NAMES[who.second]),
        "IV": f"PHASE IV (the head returns) at {at}: both features are learnt",
    }
    return f"{doing[phase]}; |{entry}| = {now:.3g}{turning(finding)}.{shrunk(finding)}"


def number_learnt(finding: Diagnosis) -> str:
    """What the neurons have learnt, each by itself."""
    parts = []
    for j, row in enumerate(finding.cosines):
        taken = f"the {FEATURE_NAMES[int(row.argmax())]} feature" if row.max() > DOMINANT else "no feature"
        parts.append(f"neuron {j + 1} has learnt {taken}")
    return " and ".join(parts)


def shrunk(finding: Diagnosis) -> str:
    """That weights die out, which happens where nothing is normalised."""
    if finding.run.training.normalisation != "none":
        return ""
    run = finding.run
    square = [(run.signal[i] ** 2).sum() + np.trace(run.gram[i]) for i in (0, finding.index)]
    return f" Nothing is normalised: the weights are {math.sqrt(square[1] / square[0]):.2g} times as long as at the start."


def loss_words(finding: Diagnosis) -> str:
    """That the loss tells nothing, where it is at the minimum that healthy and collapsed runs share (odd activations)."""
    same, across, *_ = masks.count_moments(
        finding.run.model.patches, finding.run.model.feature_patches, finding.run.model.mask == "half"
    )
    value = float(finding.run.loss[finding.index])
    if finding.run.sampled or degree(finding) != 3 or abs(value - (4.0 - 4.0 * across / same)) > 1e-3:
        return ""
    return f" The loss, {value:.3f}, is the lowest there is, for healthy and collapsed runs alike: it does not tell."


def turning(finding: Diagnosis) -> str:
    """A warning where both neurons turn to one feature."""
    if finding.turning is None or finding.phase == "IV":
        return ""
    text = f"; both neurons lean to the {FEATURE_NAMES[finding.turning]} feature"
    if finding.final == "collapsed":
        return f"{text}, ON THE WAY TO COLLAPSE"
    if finding.final == finding.phase and not follows_on(finding.run):
        return f"{text}, perhaps on the way to collapse (no exact flow goes on from here under these settings)"
    return text


def carrying(finding: Diagnosis) -> str:
    """That an output carries a feature although no neuron points along it, which little noise allows."""
    shares = carried(finding.run.model, finding.now.signal, finding.now.gram)
    j, l = np.unravel_index(int(shares.argmax()), shares.shape)
    if not shares[j, l] > DOMINANT:
        return ""
    return f", though {percent(shares[j, l])} of the variance of output {j + 1} is the {FEATURE_NAMES[l]} feature"


def direction(cosines: np.ndarray) -> str:
    """Where neurons with these squared cosines (2, 2) point, in words."""
    for l, name in enumerate(FEATURE_NAMES):
        if (cosines[:, l] > 0.95 * cosines.sum(1)).all():
            return f"the {name} feature"
    return f"one mixture of the features ({100 * cosines[0, 1] / cosines[0].sum():.0f} % weak by squared cosine)"


def when(finding: Diagnosis, time: float) -> str:
    """A time, or for finite samples the step."""
    value = time / finding.run.pace
    return f"step {value:.0f}" if finding.run.sampled else f"time {value:.3g}"


def unit(finding: Diagnosis) -> str:
    """What rates are per."""
    return "step" if finding.run.sampled else "unit of time"


def force_lines(finding: Diagnosis) -> Iterator[str]:
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
            yield f"    {signal(j, l)} {FEATURE_NAMES[l]:<6}" + "".join(cells)
    if finding.run.training.head_trains:
        for j, r in ((0, 1), (1, 0)):
            t = at.terms
            parts_told = {"drive": t.drive, "noise": t.noise, "mismatch": t.mismatch}
            told = {name: shown(part[j, r]) for name, part in parts_told.items()}
            yield sentences.HEAD_ENTRY.format(entry=f"E_{j + 1}{r + 1}", value=at.head[j, r], **told)
    meaning = "; ".join(f"{name}: {EXPLAINED[name]}" for name in rows[:-1])
    yield f"    (<w_j, v_l>: how far neuron j reaches along feature l; {meaning})"


def told_shares(finding: Diagnosis, found: Shares) -> Iterator[str]:
    """The ensemble beside the theory; nothing for one start alone, of which all else speaks."""
    if found.starts == 1:
        return
    text = "  " + sentences.SHARES.format(
        starts=found.starts, both=percent(found.both), low=100 * found.both_low, high=100 * found.both_high,
        strong=percent(found.only_strong), weak=percent(found.only_weak), merged=percent(found.merged),
    )  # fmt: skip
    text += f", and {percent(found.failed)} failed to be computed." if found.failed > 0.0 else "."
    if math.isfinite(found.merged_predicted):
        law = f"(1/pi) arctan sqrt(eta_head/3) = {percent(found.law)} for large dim and small weak/strong"
        often = "" if finding.run.model.probabilities is None else " (p_weak/p_strong)^0.25"
        race = f"2p(1-p) = {percent(found.law)} both, p = (2/pi) arctan((weak/strong)^1.5{often}), for large dim"
        theory = (
            f"{percent(found.merged_predicted)} the same ({law})" if finding.run.rate > 0.0
            else f"{percent(found.both_predicted)} both (race law: {race})"
        )  # fmt: skip
        text += f" The theory says of these starts: {theory}."
    yield text


def told_noise(finding: Diagnosis, noise: GradientNoise) -> str:
    """The minibatch against the force."""
    who = finding.roles
    j, l = (who.borrower, who.second) if who is not None else (0, 0)
    coming = [time - finding.now.time for time in finding.times.values() if time > finding.now.time]
    text = "  " + sentences.SAMPLES_NOISE.format(
        batch=noise.batch, ratio=math.sqrt(noise.scale / noise.batch), scale=noise.scale, signal=signal(j, l),
        steps=noise.steps(j, l),
    )  # fmt: skip
    if coming and noise.steps(j, l) > min(coming) / finding.run.eta:
        text += " That is later than what comes next: do not rely on its steps, which leave the noise out, at this batch."
    return text


def advice(finding: Diagnosis, found: list[Suggestion]) -> Iterator[str]:
    """Which setting moves it."""
    good = finding.final in GOOD
    for number, one in enumerate(found):
        lead = "What to change: " if finding.final in ("collapsed", "stuck") else "What moves it: "
        yield "  " + (lead if number == 0 else "") + one.words + "."
    if good and finding.run.model.activation == "cubic":
        yield "  When: T_1 goes like dim^2 (noise/strong)^6: a smaller dim or less noise is sooner."


def tried(trial: Trial) -> str:
    """The outcome of a trial."""
    pairs = trial.pairs
    verdict = {
        "more": "it helps",
        "fewer": "it harms",
        "alike": f"no difference above {percent(pairs.most)}",
        "unknown": sentences.CANNOT_TELL.format(pairs=pairs.pairs, low=100 * pairs.low, high=100 * pairs.high),
    }[pairs.verdict]
    (before, after), (merged_before, merged_after) = (map(percent, two) for two in (trial.both, trial.merged))
    text = "  " + sentences.TRIED.format(
        change=trial.change, starts=trial.starts, before=before, after=after, verdict=verdict, pairs=pairs.pairs,
        gained=pairs.gained, lost=pairs.lost, merged_before=merged_before, merged_after=merged_after,
    )  # fmt: skip
    if pairs.pairs < trial.starts:
        text += f" {trial.starts - pairs.pairs} starts that failed or had learnt nothing yet are not judged."
    if trial.start:
        learnt = {"both": "both features", "only_strong": "the strong feature alone", "only_weak": "the weak one alone"}
        text += f" This very start now learns {learnt.get(trial.start, trial.start)}."
    return text


def shown(rate: float) -> str:
    """A rate with its sign; a dash for a signal that is 0."""
    return "-" if math.isnan(rate) else (f"{rate:+.1e}" if rate != 0.0 else "0")


def signal(j: int, l: int) -> str:
    """<w_j, v_l> as it is written."""
    return f"<w_{j + 1}, v_{l + 1}>"


def degree(finding: Diagnosis) -> int:
    """Of the activation."""
    from dynlab.settings.activation_records import ACTIVATIONS

    return ACTIVATIONS[finding.run.model.activation].degree
