"""The results of the main run as files, as a table to read, and in words drawn from its numbers."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from dynlab.population.moments import LEARNT, MERGED
from dynlab.population.status import remedy
from dynlab.tools import show
from dynlab.tools.files import write_csv, write_json
from dynlab.tools.intervals import Pairs
from dynlab.tools.parquet import write_beside
from dynlab.tools.provenance import provenance
from dynlab.tools.show import feature_words, percent

if TYPE_CHECKING:
    from dynlab.ensembles.ensemble import Ensemble
    from dynlab.ensembles.main_run import ActivationRuns, Settings
    from dynlab.tools.provenance import Call

OUTCOMES = {
    "both": "both features learnt",
    "only_strong": "only the strong one",
    "only_weak": "only the weak one",
    "neither": "neither",
}
WITH_WAITING = OUTCOMES | {"waiting": "waiting at the end"}  # shown where any are
COLLAPSED = (
    f"learnt: the feature carries more than {100 * LEARNT:g} % of some output's variance. collapsed: the outputs are one "
    f"number up to factors and a little noise (effective rank of their correlations below {MERGED:g})."
)
NAMED = 20  # failed seeds that are named on the screen; ensemble.csv and run.json have them all


def summary_table(results: Sequence[ActivationRuns]) -> pd.DataFrame:
    """One row an activation and head, as in summary.csv."""
    ensembles = [ensemble for result in results for ensemble in result.ensembles.values()]
    return pd.concat([ensemble.summary_row() for ensemble in ensembles], ignore_index=True)


def write_files(folder: Path, settings: Settings, results: Sequence[ActivationRuns], call: Call) -> None:
    """Write summary.csv, ensemble.csv, trajectory.csv, also as Parquet where wanted, figures unless not, run.json last."""
    tables = {
        "summary.csv": summary_table(results),
        "ensemble.csv": stacked_frames({r.model.activation: r.ensembles for r in results}),
        "trajectory.csv": stacked_frames({r.model.activation: r.trajectories for r in results}),
    }
    for name, table_of in tables.items():
        write_csv(folder / name, table_of)
        write_beside(folder / name, table_of, settings.parquet)
    if settings.plots:
        from dynlab.drawing import style
        from dynlab.drawing.phases import phases_figure

        pairs = {r.model.activation: tuple(r.trajectories.values()) for r in results}
        numbers = ", ".join(f"{result.seed} ({result.model.activation})" for result in results)
        starts = f"dim {settings.dim:g}, start {numbers} of {settings.seeds}"
        figure = phases_figure({name: (runs[0], runs[-1]) for name, runs in pairs.items()}, starts)
        style.save(figure, folder / "phases", "Training with and without a prediction head")
    write_json(folder / "run.json", _record(settings, results, call))


def print_report(settings: Settings, results: Sequence[ActivationRuns], place: Path) -> None:
    """Print the table, the verdicts and where the files are; with --quiet the failed trajectories alone."""
    failed = [
        line
        for result in results
        for head, ensemble in result.ensembles.items()
        for line in failures(ensemble.frame, f"{result.model.activation}, head {head}")
    ]
    if settings.quiet:
        for line in failed:
            print(line, file=sys.stderr)
        return
    summary = summary_table(results)
    lines = [*_heading(settings), "", *table(summary), *show.paragraph(COLLAPSED, 100), ""]
    for result in results:
        heads = [head for head in result.ensembles if head != "none"]
        if heads and "none" in result.ensembles:
            words = head_verdict(result.model.activation, result.ensembles[heads[0]], result.ensembles["none"])
            lines += show.paragraph(words, 100, subsequent_indent="  ")
        for head, ensemble in result.ensembles.items():
            for line in restless(ensemble, f"{result.model.activation}, head {head}"):
                lines += show.paragraph(line, 100, subsequent_indent="  ")
    shown = ", ".join(f"{result.model.activation} {result.seed}" for result in results)
    files = ", ".join(sorted(path.name for path in place.iterdir()))
    lines += [*failed, "", f"seed followed in time: {shown}", f"files in {place}: {files}"]
    print("\n".join(lines), flush=True)


def table(summary: pd.DataFrame) -> list[str]:
    """The lines of the table: a block an activation, a column a head, shares with their 95 % intervals."""
    lines = []
    for activation, rows in summary.groupby("activation", sort=False):
        columns = [_column(row) for _, row in rows.iterrows()]
        lines.append(_line(str(activation), [f"head {head}" for head in rows["head"]]))
        lines += [_line("  " + label, [column[label] for column in columns]) for label in columns[0]]
        lines.append("")
    return lines


def head_verdict(name: str, with_head: Ensemble, without: Ensemble) -> str:
    """What the head did, in words, from the starts that both trainings brought to an end.

    with_head, without: ensembles of the same starts. The difference is that of pairs (`dynlab.tools.intervals.Pairs`): told
    where it is beyond chance, called none where it is surely small, else said to be unknown. Starts that failed or still
    wait with either head are judged by no sentence, only counted.
    """
    left_out, (after, before) = _both_ended(with_head, without)
    if not len(after.frame):
        return f"{name}: nothing can be said of the head: {left_out}."
    pairs = Pairs.of(_learnt_both(before), _learnt_both(after))
    text = f"{name}: {effect(pairs)}: {shares_of(pairs, _learnt_both(after))}. {_peak_or_direction(after)}"
    return text + (f" Not judged: {left_out}." if left_out else "")


def effect(pairs: Pairs) -> str:
    """The head's effect on how many starts learn both features, in words."""
    words = {
        "more": "the head rescues the weak feature",
        "fewer": "the head harms the weak feature",
        "alike": f"the head makes no difference above {percent(pairs.most)} of the seeds",
        "unknown": f"{seeds(pairs.pairs)} cannot tell whether the head makes a difference "
        f"(between {100 * pairs.low:+.1f} and {percent(pairs.high, sign='+')})",
    }
    return words[pairs.verdict]


def shares_of(pairs: Pairs, learnt: np.ndarray) -> str:
    """The numbers that a verdict rests on; learnt (N,): which starts learn both features with the head."""
    after = int(learnt.sum())
    before = after - pairs.gained + pairs.lost
    test = f"; exact McNemar p = {pairs.chance:.1g}" if pairs.gained + pairs.lost else ""
    return (
        f"with it {percent(after / pairs.pairs)} of the seeds learn both, without {percent(before / pairs.pairs)} "
        f"({pairs.gained} of {pairs.pairs} only with it, {pairs.lost} only without{test})"
    )


def _both_ended(with_head: Ensemble, without: Ensemble) -> tuple[str, tuple[Ensemble, Ensemble]]:
    """In words how many starts failed or wait, "" for none, and the ensembles without them."""
    outcomes = [run.frame["outcome"].to_numpy() for run in (with_head, without)]
    failed, waiting = (np.logical_or(*(one == word for one in outcomes)) for word in ("failed", "waiting"))
    counts = [
        f"{seeds(int(which.sum()))} {words}"
        for which, words in (
            (waiting & ~failed, "had learnt nothing at the end and were not at rest (train for longer: --until)"),
            (failed, "failed"),
        )
        if which.any()
    ]
    kept = ~(failed | waiting)
    return ", ".join(counts), (_some(with_head, kept), _some(without, kept))


def _some(run: Ensemble, kept: np.ndarray) -> Ensemble:
    return replace(run, frame=run.frame[kept])


def _learnt_both(run: Ensemble) -> np.ndarray:
    return (run.frame["outcome"] == "both").to_numpy()


def _peak_or_direction(run: Ensemble) -> str:
    """How far the paper's head went where it helped, else how often every neuron holds the strong feature."""
    frame = run.frame
    bounded = np.isfinite(frame["head_bound"]).any()
    if _learnt_both(run).mean() > 0.5 and run.settings["head"] == "off-diagonal" and bounded:
        share = percent(frame["head_peak"].median() / frame["head_bound"].median())
        end = three_digits(frame["head_end"].median())
        return f"At its peak it reaches {share} of its bound, at the end it is {end} away from the identity (medians)."
    return f"With it every output carries mostly the strong feature v_1 in {percent(_all_on_strong(run))} of the seeds."


def seeds(count: int) -> str:
    """A number of seeds."""
    return f"{count} seed" + ("" if count == 1 else "s")


def failures(frame: pd.DataFrame, which: str) -> list[str]:
    """A line naming the seeds whose trajectory failed, and how, then what to do; none where all ended well."""
    failed = frame[frame["outcome"] == "failed"]
    if failed.empty:
        return []
    named = [f"{row.seed} ({row.status})" for row in failed.head(NAMED).itertuples()]
    more = [f"and {len(failed) - NAMED} more"] if len(failed) > NAMED else []
    told = [f"  {status}: {remedy(status)}" for status in dict.fromkeys(failed["status"])]
    return [f"failed: {which}: {len(failed)} of {len(frame)} seeds: {', '.join(named + more)}", *told]


def restless(ensemble: Ensemble, which: str) -> list[str]:
    """A line on the starts with hidden units that were not at rest at the default end; none without any."""
    frame = ensemble.frame
    if (
        "period" not in frame
        or ensemble.settings["method"] != "flow"
        or not (moving := frame["status"].isin(("until", "cycle"))).any()
    ):
        return []
    text = f"{which}: {percent(moving.mean())} of the seeds were not at rest at the end"
    if (rounds := frame["period"].dropna()).size:
        text += f", {percent(len(rounds) / len(frame))} go round (once in {three_digits(rounds.median())}, median)"
    return [text + "; where the end is the default one they are judged by means over the last half of the time, or a cycle."]


def three_digits(value: float) -> str:
    """Three digits; a dash for what did not happen."""
    return "-" if math.isnan(value) else f"{value:.3g}"


def _column(row: pd.Series) -> dict[str, str]:
    cells = {}
    for outcome, label in OUTCOMES.items() if row.waiting == 0.0 else WITH_WAITING.items():
        low, high = 100 * row[f"{outcome}_low"], 100 * row[f"{outcome}_high"]
        cells[label] = f"{percent(row[outcome])} ({low:.1f} to {high:.1f})"
    return cells | {
        "outputs collapsed (to rank 1)": percent(row.merged),
        "failed": f"{round(row.failed * row.seeds)} of {row.seeds}",
        "time to the first feature": three_digits(row.time_first),
        "head peak (one-way bound)": f"{three_digits(row.head_peak)} ({three_digits(row.head_bound)})",
        "head at the end": three_digits(row.head_end),
    }


def _line(label: str, cells: Sequence[str]) -> str:
    return (f"{label:<33}" + "".join(f"{cell:<26}" for cell in cells)).rstrip()


def _heading(settings: Settings) -> list[str]:
    model = settings.models[0]
    return [
        f"strong {model.strong:g}, weak {model.weak:g}{feature_words(model)}, noise {model.noise:g}, feature on "
        f"{model.feature_patches} of {model.patches} patches, dim {settings.dim:g}",
        f"{settings.method}{_steps(settings)}, eta_head {settings.training.eta_head:g}{_switches(settings)}, "
        f"{settings.seeds} seeds "
        "(shares with 95 % intervals, otherwise medians)",
    ]


def _steps(settings: Settings) -> str:
    """How the steps of descent are taken, in words."""
    if settings.method != "descent":
        return ""
    changed = settings.optimisation.changed()
    by = f" by {changed.pop('optimiser')}" if "optimiser" in changed else ""
    return f"{by}, eta {settings.eta:g}" + "".join(f", {name.replace('_', '-')} {value}" for name, value in changed.items())


def _switches(settings: Settings) -> str:
    """The switches that are not the paper's, in words."""
    changed = settings.training.changed()
    return "".join(f", {name.replace('_', '-')} {value}" for name, value in changed.items() if name != "eta_head")


def _all_on_strong(ensemble: Ensemble) -> float:
    from dynlab.population.stepping import DOMINANT

    columns = [f"carried_{j + 1}_1" for j in range(ensemble.model.neurons)]
    return float((ensemble.frame[columns] > DOMINANT).all(axis=1).mean())


def stacked_frames(runs: dict[str, dict[str, Any]]) -> pd.DataFrame:
    """The frames of all activations and heads below each other, activation and head in front."""
    frames = []
    for activation, by_head in runs.items():
        for head, run in by_head.items():
            frame = run.frame.copy()
            frame.insert(0, "activation", activation)
            frame.insert(1, "head", head)
            frames.append(frame)
    return pd.concat(frames, ignore_index=True)


def _record(settings: Settings, results: Sequence[ActivationRuns], call: Call) -> dict[str, Any]:
    """What run.json holds: all that is needed to repeat the run, and where and when it ran."""
    plain = asdict(settings)
    training, plain["device"] = plain.pop("training"), settings.device.asked
    plain["eta_head"] = training["eta_head"]
    eta = plain.pop("eta")
    del plain["optimisation"], plain["parquet"]
    if settings.method == "descent":
        plain |= {"eta": eta, "head_rate": settings.training.eta_head * eta}
        plain |= {} if settings.optimisation.is_plain else {"optimisation": settings.optimisation.changed()}
    if not settings.training.is_papers:
        plain["training"] = settings.training.changed()
    model = plain.pop("models")[0] | {"activation": [model.activation for model in settings.models]}
    ensembles = {f"{r.model.activation}, {head}": ensemble for r in results for head, ensemble in r.ensembles.items()}
    return {
        **call.record(),
        "settings": model | plain,
        "seed_followed": {r.model.activation: r.seed for r in results},
        "failed": {name: _failed(ensemble) for name, ensemble in ensembles.items()},
    } | provenance(call.started)


def _failed(ensemble: Ensemble) -> list[int]:
    return ensemble.frame.loc[ensemble.frame["outcome"] == "failed", "seed"].tolist()
