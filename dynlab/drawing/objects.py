"""The figures behind `.plot()` of a trajectory, an ensemble and a linear trajectory. They draw what they are given."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dynlab.drawing.phases import (
    draw_head,
    draw_phases,
    draw_signals,
    line_handles,
    phase_key,
    phase_windows,
    set_time_axis,
    shown_times,
)
from dynlab.drawing.style import CAPTION, COLOURS, PAGE_WIDTH, TIME, Picture, series, style
from dynlab.ensembles.ensemble import Ensemble
from dynlab.population.outcomes import outcome_names
from dynlab.population.trajectory import Trajectory
from dynlab.tools.intervals import wilson
from dynlab.tools.show import head_words, model_words

if TYPE_CHECKING:
    from dynlab.linear.gradient_flow import LinearTrajectory

FLAT = 0.01  # a loss that changes by less than this part is drawn as a flat line
OUTCOME_WORDS = {"only_strong": "only strong", "only_weak": "only weak"}
NORMS = {"encoder": r"$\|W\|_F$", "predictor": r"$\|W_p\|_F$", "target": r"$\|W_a\|_F$"}
DRIFTS = {"misalignment": "misalignment", "asymmetry": "asymmetry of $W_p$"}


def trajectory_figure(run: Trajectory) -> Figure:
    """Signals, head entries (where there is a head) and loss against time, one above the other.

    Phases are shaded where they have a meaning: with a head, for two neurons and two features.
    """
    headed = run.settings.get("head") != "none" and run.model.neurons > 1
    windows = phase_windows(run) if headed and run.answers.shape[1:] == (2, 2) else {}
    shown = shown_times([run])
    with style():
        figure = Picture(figsize=(PAGE_WIDTH, 4.8 if headed else 3.6), layout="constrained")
        heights = (1.0, 0.6, 0.6) if headed else (1.0, 0.6)
        panels = list(figure.subplots(len(heights), 1, sharex=True, height_ratios=heights))
        draw_signals(panels[0], run, shown[1])
        panels[0].set_ylabel(r"signals $|\langle w_j, v_l\rangle|$" if run.readout is None else "answers of outputs")
        if headed:
            draw_head(panels[1], run, shown[1])
            panels[1].set_ylabel("head $|E_{jr}|$")
        _draw_loss(panels[-1], run)
        set_time_axis(panels[0], shown, windows, PAGE_WIDTH - 0.7)  # shared
        for axes in panels:
            draw_phases(axes, windows, named=axes is panels[0])
        panels[-1].set_xlabel(f"{TIME}; log scale" + (", short phases widened" if windows else ""))
        figure.align_ylabels(panels)
        lines = [line for line in line_handles([run]) if headed or "E_" not in str(line.get_label())]
        figure.legend(handles=lines, loc="outside lower center", ncols=6 if len(lines) < 7 else 5)
        phase_key(figure, list(windows), _caption(run))
    return figure


def _caption(run: Trajectory) -> str:
    """Model, head and method of a trajectory."""
    given = run.settings
    words = [model_words(run.model), head_words(given), "one start"]
    if given.get("method") == "sgd":
        words += [f"batches of {given['batch']}, dim {given['dim']}", f"$\\eta$ = {given['eta']:g}"]
    elif given.get("method") == "descent":
        by = given.get("optimisation", {}).get("optimiser", "")
        words += [f"exact descent{f' by {by}' if by else ''}, $\\eta$ = {given['eta']:g}"]
    else:
        words += ["exact flow"]
    return ", ".join(words)


def _draw_loss(axes: Axes, run: Trajectory) -> None:
    axes.plot(run.time, run.loss, color="black")
    known = run.loss[np.isfinite(run.loss)]
    if len(known) and np.ptp(known) < FLAT * np.abs(known).max():  # rounding would fill the panel
        axes.set_ylim(known.mean() - FLAT * np.abs(known).max(), known.mean() + FLAT * np.abs(known).max())
    axes.set_ylabel("loss")
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.ticklabel_format(axis="y", useOffset=False)


def ensemble_figure(found: Ensemble) -> Figure:
    """Shares of the outcomes found with 95 % intervals; distributions of T_1 and, where a head trained, of its peak.

    The peak is drawn as a part of its bound sqrt(eta_head/(q eta)) |w_j(0)|: the two themselves nearly coincide.
    """
    frame = found.frame
    peaks = bool((frame["head_peak"] > 0.0).any())
    with style():
        figure = Picture(figsize=(PAGE_WIDTH, 2.7), layout="constrained")
        panels = figure.subplots(1, 3 if peaks else 2, width_ratios=(1.35, 1.0, 1.0) if peaks else (1.0, 1.0))
        _draw_outcomes(panels[0], found)
        distribution(panels[1], frame["time_first"].to_numpy())
        panels[1].set_xlabel("time $T_1$ of the first feature")
        if peaks:
            distribution(panels[2], (frame["head_peak"] / frame["head_bound"]).to_numpy(), log=False)
            panels[2].set_xlabel("peak of the head / its bound")
        for axes in panels[1:]:
            axes.set_ylabel("share of seeds at or below")
        words = [model_words(found.model), f"dim {found.settings['dim']:g}", head_words(found.settings)]
        words += [f"{len(frame)} seeds", "bars: 95 % intervals"]
        figure.suptitle(", ".join(words), fontsize=CAPTION)
    return figure


def _draw_outcomes(axes: Axes, found: Ensemble) -> None:
    """A bar for each outcome."""
    outcome, total = found.frame["outcome"], len(found.frame)
    names = [name for name in outcome_names(found.model) if name != "waiting" or (outcome == name).any()]
    counts = [int((outcome == name).sum()) for name in names]
    shares = np.array(counts) / total
    low, high = np.array([wilson(count, total) for count in counts]).T
    reach = np.abs(np.stack([shares - low, high - shares]))
    axes.bar(range(len(names)), shares, yerr=reach, color=COLOURS[0], error_kw={"elinewidth": 0.8, "capsize": 2.0})
    axes.set_xticks(range(len(names)), [OUTCOME_WORDS.get(name, name).replace(" ", "\n") for name in names], fontsize=7.0)
    axes.set_xlabel("features learnt")
    axes.set_ylabel("share of seeds")
    axes.set_ylim(0.0, 1.0)


def distribution(axes: Axes, values: np.ndarray, log: bool = True) -> None:
    """The share of all seeds (values, nan where there is none) that is at or below x, as a step for each seed.

    log: whether the axis of x is logarithmic where the values span more than a decade.
    """
    known = np.sort(values[np.isfinite(values) & (values > 0.0)])
    share = np.arange(1, len(known) + 1) / max(len(values), 1)
    axes.plot(known, share, drawstyle="steps-post", color=COLOURS[0], linewidth=1.0)
    if len(known) and log and known[-1] > 10.0 * known[0]:
        axes.set_xscale("log")
    axes.set_ylim(0.0, 1.02)


def linear_figure(run: LinearTrajectory) -> Figure:
    """Norms of encoder, predictor and target; loss; misalignment and asymmetry: against time."""
    table = run.frame()
    with style():
        figure = Picture(figsize=(PAGE_WIDTH, 2.7), layout="constrained")
        panels = figure.subplots(1, 3, sharex=True)
        wanted = dict(NORMS)
        if run.model.beta is None:
            del wanted["target"]  # it is the encoder
        for place, (name, label) in enumerate(wanted.items()):
            panels[0].plot(table["time"], table[name], label=label, **series(place))
        panels[0].set_ylabel("norm")
        panels[1].plot(table["time"], table["loss"], color="black")
        panels[1].set_ylabel("loss")
        for place, (name, label) in enumerate(DRIFTS.items()):
            panels[2].plot(table["time"], table[name], label=label, **series(len(NORMS) + place))
        panels[2].set_ylabel("misalignment, asymmetry")
        for axes in panels:
            axes.set_xlabel(r"time $t$ (steps $\times$ rate $\eta$)")
            axes.set_ylim(bottom=min(0.0, axes.get_ylim()[0]))
        for axes in (panels[0], panels[2]):
            axes.legend(fontsize=7.0)
        figure.suptitle(_linear_caption(run), fontsize=CAPTION)
    return figure


def _linear_caption(run: LinearTrajectory) -> str:
    """Sizes and settings of the linear model."""
    model = run.model
    words = ["linear theory", f"{run.W.shape[2]} inputs, {run.W.shape[1]} outputs"]
    words += [] if model.sigma is None else [rf"$\sigma$ = {model.sigma:g}"]
    words += [rf"$\alpha_p$ = {model.alpha_p:g}, decay {model.eta:g}"] if model.predictor else ["no predictor"]
    words += ["target: the encoder" if model.beta is None else rf"target: moving average, $\beta$ = {model.beta:g}"]
    words += [] if model.stop_gradient == "target" else ["no stop-gradient"]
    return ", ".join([*words, "one start"])
