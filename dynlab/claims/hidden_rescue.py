"""Claim 12: relu outputs of several hidden units, which the theorem leaves out: the head rescues them, and returns.

An output is sum_h a_h relu(<w_h, .>), a_h trained with the weights (`dynlab.formulas.hidden_units`). A feature is learnt
when the sign of it carries more than `LEARNT` of some output's variance (`dynlab.population.hidden.moments`); of a start
that goes round what it carries on average counts (`dynlab.ensembles.hidden.told_of`).
"""

from __future__ import annotations

import numpy as np

from dynlab.claims.claim import Finding, Panel, Record, Runs, Scale, ScanPoint, agrees, share, share_curve, within
from dynlab.population.hidden.moments import signed_answers
from dynlab.population.moments import LEARNT
from dynlab.settings.model import Model
from dynlab.tools.fits import median_interval
from dynlab.tools.intervals import Pairs, wilson

NUMBER, NAME = 12, "hidden units"
DIM = 1000
CELLS = {0.3: (1, 2, 4), 0.6: (4, 8)}  # numbers of hidden units by weak/strong
RATES = (None, 0.1, 1.0)  # of the head; None: no head
WEAK, SLOW, MOST = 0.3, 0.1, 4  # weak/strong, rate and number of units of the statements about one cell
MORE = 0.01  # of the starts: less than that is no rescue
DIVERSE = 1.5  # effective rank of two outputs above which they are not one
HOME = 1e-3  # ||E - I||_F below which the head is back
SIDED = 0.15  # smaller of two answers beside the larger: below that an output answers one of them only
NONE = 0.02  # of the starts that should not be rescued: fewer than that are
KEPT = 1e-3  # of what a conserved quantity is a difference of
FEW_SEEDS = 1000  # fewer starts a point than that: the strengths and rates of `WEAK` and `SLOW` alone


def cells(scale: Scale) -> list[tuple[float, int, float | None]]:
    """(weak/strong, hidden units, rate) of all ensembles."""
    every = [(weak, hidden, rate) for weak, units in CELLS.items() for hidden in units for rate in RATES]
    few = scale.slow_seeds < FEW_SEEDS
    return [cell for cell in every if not few or (cell[0] == WEAK and cell[2] in (None, SLOW))]


def _point(scale: Scale, weak: float, hidden: int, rate: float | None) -> ScanPoint:
    model = Model(weak=weak, activation="relu", hidden=hidden, readout="own")
    if rate is None:
        return ScanPoint(model, DIM, scale.slow_seeds, head="none", seed=scale.seed)
    return ScanPoint(model, DIM, scale.slow_seeds, eta_head=rate, seed=scale.seed)


def points(scale: Scale) -> list[ScanPoint]:
    """Ensembles over weak/strong, hidden units and head rates."""
    return [_point(scale, *cell) for cell in cells(scale)]


def weak_learnt(run):
    """(N,) whether some output carries the weak feature."""
    return (run.frame[["carried_1_2", "carried_2_2"]].max(axis=1) > LEARNT).to_numpy()


def diverse(run):
    """(N,) whether the outputs are not one."""
    return (run.frame["rank"] > DIVERSE).to_numpy()


def one_sided(run):
    """(N, m) whether an output answers one sign of the strong feature only, at the end."""
    signal, _, _, readout = run.ends
    answers = np.abs(signed_answers(run.model, signal, readout)[:, :, 0])
    return answers.min(-1) < SIDED * answers.max(-1)


def one_sign(run):
    """(N, m) whether all readouts of an output start with one sign."""
    model, readout = run.model, run.starts[3]
    own = readout.reshape(len(readout), model.neurons, model.neurons, model.hidden)
    signs = np.sign(np.diagonal(own, axis1=1, axis2=2))  # (N, H, m)
    return np.abs(signs.sum(1)) == model.hidden


def judge(scale: Scale, runs: Runs) -> Finding:
    """Whether the head rescues, how that grows with the units, how far the head goes, and what is conserved."""
    records = [*_rescues(scale, runs), *_growth(scale, runs), *_outputs(scale, runs), *_alone(scale, runs)]
    records += _heads(scale, runs)
    drift = max(float(run.frame["drift"].max()) for run in (runs[point] for point in points(scale)))
    statement = (
        "the largest change of |w_h|^2 - a_h^2 of a unit and of |a_j|^2 + (E_jr^2 - E_rj^2)/r of an output, of all starts, "
        "beside |w_h(0)|^2 + a_h(0)^2 and |a_j(0)|^2"
    )
    records.append(Record(12, "conserved", statement, 0.0, drift, drift, drift, within(drift, drift, most=KEPT)))
    return Finding(records, _panel(scale, runs))


def _rescues(scale: Scale, runs: Runs) -> list[Record]:
    """With the head less without, of the same starts, for every cell."""
    records = []
    for weak, hidden, rate in cells(scale):
        if rate is None:
            continue
        first, second = (weak_learnt(runs[_point(scale, weak, hidden, some)]) for some in (None, rate))
        pairs = Pairs.of(first, second)
        one = hidden == 1
        what = f"at most {MORE:g}" if one else f"at least {MORE:g}"
        bounds = {"most": MORE} if one else {"least": MORE}
        units = "one unit" if one else f"{hidden} units"
        records.append(
            Record(
                12,
                f"{'no rescue' if one else 'rescue'}, {units}, weak {weak:g}, r = {rate:g}",
                f"{units} an output, d = {DIM:.0e}: with the head {what} more of the starts learn the weak feature (share "
                "with it less share without, of the same starts)",
                0.0 if one else None,
                pairs.difference,
                pairs.low,
                pairs.high,
                within(pairs.low, pairs.high, **bounds),
            )
        )
    return records


def _growth(scale: Scale, runs: Runs) -> list[Record]:
    """The share that learns the weak feature with the head, of more units less of fewer."""
    records = []
    for weak, units in CELLS.items():
        for rate in RATES[1:]:
            for few, more in zip(units[:-1], units[1:], strict=True):
                if few == 1 or (weak, more, rate) not in cells(scale):
                    continue
                (low, least, most), (high, at_least, at_most) = (
                    share(weak_learnt(runs[_point(scale, weak, hidden, rate)])) for hidden in (few, more)
                )
                ends = at_least - most, at_most - least
                statement = (
                    f"share that learns the weak feature with {more} units less that with {few} (interval: of both shares)"
                )
                name = f"rescue grows with the units, weak {weak:g}, r = {rate:g}"
                records.append(Record(12, name, statement, None, high - low, *ends, within(*ends, 0.0)))
    return records


def _outputs(scale: Scale, runs: Runs) -> list[Record]:
    """How often the two outputs are not one number."""
    free, headed = (diverse(runs[_point(scale, WEAK, MOST, rate)]) for rate in (None, SLOW))
    pairs = Pairs.of(free, headed)
    return [
        Record(
            12,
            "outputs differ",
            f"{MOST} units, weak {WEAK:g}, r = {SLOW:g}: more of the starts end with outputs of rank above {DIVERSE:g} with "
            "the head (share with it less share without, of the same starts)",
            None,
            pairs.difference,
            pairs.low,
            pairs.high,
            within(pairs.low, pairs.high, MORE),
        ),
    ]


def _alone(scale: Scale, runs: Runs) -> list[Record]:
    """Without a head: what an output answers follows from the signs of its readouts, and whether two differ from that.

    Readouts of one sign make an output that answers with that sign whatever it sees. Then the two signs of v_1 compete: the
    smaller answer falls below the mean over all states, and is pushed back, until one is left. Readouts of both signs can
    answer +v_1 and -v_1 with opposite signs. Two outputs that both know the sign of v_1 correlate, and so do one of either
    kind; what differs are one-sided answers to opposite signs: half of the pairs of two one-sided outputs.
    """
    records = []
    for hidden in CELLS[WEAK]:
        run = runs[_point(scale, WEAK, hidden, None)]
        sided, differ = one_sided(run), diverse(run)
        part = sided.mean()
        if hidden > 1:
            known = share(sided[one_sign(run)])
            statement = (
                f"{hidden} units, no head: outputs whose readouts all start with one sign, 2^(1-H) of them, answer one sign "
                "of v_1 only (share)"
            )
            name = f"readouts of one sign, {hidden} units"
            records.append(Record(12, name, statement, 1.0, *known, within(*known[1:], 0.95)))
        predicted = part * part / 2.0
        statement = (
            f"{hidden} unit{'s' if hidden > 1 else ''}, no head: share with outputs of rank above {DIVERSE:g}; predicted: "
            f"p^2/2 from the share p = {part:.3g} of outputs that answer one sign of v_1 only (interval: 3 sd)"
        )
        ends = wilson(int(differ.sum()), len(differ), 3.0)
        name = f"which outputs differ without a head, H = {hidden}"
        records.append(Record(12, name, statement, predicted, differ.mean(), *ends, agrees(predicted, *ends, 0.1)))
        if hidden > 1:
            headed = weak_learnt(runs[_point(scale, WEAK, hidden, SLOW)])[sided.all(axis=1)]
            statement = (
                f"{hidden} units, r = {SLOW:g}: share that learns the weak feature among the {len(headed)} starts whose two "
                "outputs answer one sign of v_1 only without a head"
            )
            rescued = share(headed)
            records.append(
                Record(12, f"who is not rescued, {hidden} units", statement, 0.0, *rescued, within(*rescued[1:], most=NONE))
            )
    return records


def _heads(scale: Scale, runs: Runs) -> list[Record]:
    """How far the head goes, and where it ends."""
    run = runs[_point(scale, WEAK, MOST, SLOW)]
    ratio = (run.frame["head_peak"] / run.frame["head_bound"]).to_numpy()
    top = float(np.nanmax(ratio))
    cell = f"{MOST} units, weak {WEAK:g}, r = {SLOW:g}"
    return [
        Record(
            12,
            "the bound holds",
            f"{cell}: largest peak of the head over sqrt(r) |a_j(0)| of all starts",
            1.0,
            top,
            top,
            top,
            within(top, top, most=1.0 + KEPT),
        ),
        Record(
            12,
            "the head returns",
            f"{cell}: median ||E - I||_F at the end",
            0.0,
            *(end := median_interval(run.frame["head_end"].to_numpy())),
            within(*end[1:], most=HOME),
        ),
    ]


def _panel(scale: Scale, runs: Runs) -> Panel:
    curves = []
    for weak, units in CELLS.items():
        for rate in RATES:
            known = [hidden for hidden in units if (weak, hidden, rate) in cells(scale)]
            if known:
                label = f"{'no head' if rate is None else f'r = {rate:g}'}, weak {weak:g}"
                curves.append(
                    share_curve(label, known, [weak_learnt(runs[_point(scale, weak, hidden, rate)]) for hidden in known])
                )
    return Panel("relu outputs of hidden units", "hidden units H", "share that learns weak", curves, True, False, 0.03)
