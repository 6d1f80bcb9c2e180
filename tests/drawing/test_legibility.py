"""Every figure that objects and commands draw can be read in print, in grey; the check itself sees each fault."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.patches import Patch

import figures
from dynlab.claims.claim import Curve, Panel
from dynlab.drawing import head_comparison, portrait, style
from dynlab.drawing import pretraining as curves
from dynlab.drawing.overlay import overlay_figure
from dynlab.drawing.phases import phases_figure
from dynlab.drawing.theorem import theorem_figure
from dynlab.images.settings import pretraining
from dynlab.population.pair.phases import END_STATES
from dynlab.samples.overlay import Overlay
from tests.drawing.legibility import APART, caption, dash, entries, faults, luminance, marker, panels
from tests.drawing.test_plots import PLOTS
from tests.population.synthetic import four_phases

PICTURES = Path(figures.__file__).parent / "pictures"
FIVE = ("loss", "rank", "correlation", "head_norm", "head_asymmetry")  # leave a place of the grid empty
FACTS = curves.settings_caption(pretraining("cpu-small").plain(), without=head_comparison.COMMON)


def contest() -> pd.DataFrame:
    """The runs of README's table."""
    return pd.read_csv(PICTURES / "heads.csv", keep_default_na=False)


def one_seed() -> pd.DataFrame:
    """One seed of each head, under both normalisations."""
    table = contest()
    table = table[table["seed"] == 0]
    other = table[table["head"] != "random encoder"].assign(normalisation="batch")
    return pd.concat([table, other], ignore_index=True)


def long_runs() -> dict:
    """README's curves of the head's norm."""
    return dict(list(pd.read_csv(PICTURES / "head_norm.csv").groupby("run", sort=False)))


def contest_curves(heads=("off-diagonal", "linear"), seeds=3) -> dict:
    """Curves of several heads and seeds, under both normalisations."""
    table = next(iter(long_runs().values()))
    keys = itertools.product(("length", "batch"), heads, range(seeds))
    return {key: table.assign(head_norm=table["head_norm"] * (1.0 + 0.1 * n)) for n, key in enumerate(keys)}


def overlays() -> Figure:
    """Two activations with and without head, two batch sizes, two seeds."""
    runs = {a: {head: four_phases(head, activation=a) for head in ("off-diagonal", "none")} for a in ("relu", "cubic")}
    each = [(f"{a}, head {head}", run) for a, some in runs.items() for head, run in some.items()]
    return overlay_figure({title: Overlay(run, {64: [run, run], 256: [run]}) for title, run in each})


def theorem() -> Figure:
    """As many panels as claims, each with as many sets of points and lines as the fullest."""
    x = np.geomspace(1e2, 1e6, 5)
    points = [Curve(f"measured {n}", list(x), list(x ** (0.1 * n)), list(0.9 * x ** (0.1 * n)), list(1.1 * x ** (0.1 * n)))
              for n in range(5)]  # fmt: skip
    lines = [Curve(f"law {n}", list(x), list(x ** (0.1 * n)), line=True) for n in range(3)]
    panel = Panel("a claim", "dimension d", "share", [*lines, *points], spread=0.1)
    return theorem_figure(dict.fromkeys(range(1, 12), panel), "9 seeds")


DRAWN = {name: (lambda make=make: make().plot()) for name, make in PLOTS.items()}
DRAWN |= {
    f"phases of {n}": lambda n=n: phases_figure(
        {a: (four_phases(activation=a), four_phases("none", activation=a)) for a in ("relu", "cubic", "relu3", "linear")[:n]}
    )
    for n in (1, 2, 3, 4)
}
DRAWN |= {
    "contest": lambda: head_comparison.accuracy(contest(), FACTS),
    "contest of one seed": lambda: head_comparison.accuracy(one_seed(), FACTS),
    "curves of the heads": lambda: head_comparison.head_curves(contest_curves(), FACTS),
    "curves of one head": lambda: head_comparison.head_curves(contest_curves(("linear",), 1), FACTS),
    "curves of 200 epochs": lambda: curves.curves(long_runs(), ("rank", "head_norm", "head_asymmetry"), "one seed each"),
    "curves of five quantities": lambda: curves.curves({"": long_runs()["batch norm"].assign(loss=1.0)}, FIVE, "one seed"),
    "overlays": overlays,
    "overlay without theory": lambda: Overlay(None, {64: [four_phases(), four_phases(peak=1.1e4)]}).plot(),
}


@pytest.mark.parametrize("name", DRAWN)
def test_figures_are_legible_in_grey_and_say_what_they_show(name):
    assert faults(DRAWN[name]()) == []


def test_a_theorem_s_panels_are_legible_each():
    bad = [fault for fault in faults(theorem(), apart=True) if "covers points" not in fault]  # made to fill the panels
    assert bad == []


CAPTIONS = {
    "trajectory": ("cubic", "weak 0.3", "off-diagonal head", "rate 0.01", "one start"),
    "ensemble": ("cubic", "weak 0.37", "dim 1000", "off-diagonal head", "7 seeds", "95 %"),
    "ensemble without head": ("cubic", "no head", "7 seeds"),
    "phase map": ("cubic", "strong 1", "dim 1000", "64 seeds"),
    "overlay": ("cubic", "weak 0.3", "batches of 64", "2 seeds", "standard deviation"),
    "overlays": ("weak 0.3", "batches of 64", "smallest of 64, 256", "2 seeds"),
    "phases of 2": ("strong 1, weak 0.3", "off-diagonal head", "one start"),
    "pretraining": ("cifar10", "encoder convnet", "off-diagonal head", "unit length", "batch 128", "seed 0"),
    "contest": ("cifar10", "encoder convnet", "20 epochs", "batch 128", "3 seeds", "95 %"),
    "contest of one seed": ("one seed: no intervals",),
    "curves of the heads": ("3 seeds", "batch 128"),
    "curves of one head": ("one seed",),
    "linear trajectory": ("3 inputs", "2 outputs", "decay 0.01"),
    "appraisal": ("95 %", "20 test pictures"),
}


@pytest.mark.parametrize("name", CAPTIONS)
def test_captions_say_model_head_seeds_and_batch(name):
    said = caption(DRAWN[name]())
    assert [word for word in CAPTIONS[name] if word not in said] == []


def test_end_states_of_a_portrait_differ_in_lightness_or_hatch():
    for one, two in itertools.combinations(END_STATES, 2):
        apart = abs(luminance(portrait.AREAS[one]) - luminance(portrait.AREAS[two])) >= APART
        assert apart or portrait.HATCHES[one] != portrait.HATCHES[two], (one, two)


def test_the_hatch_of_a_portrait_lies_on_its_cells_and_no_others():
    axes = Figure().subplots()
    cells = np.array([[True, True, False], [False, False, False], [True, False, True]])
    portrait._draw_hatch(axes, cells, np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 2.0]), "//")
    (patch,) = axes.patches
    inside = [[patch.get_path().contains_point((x, y)) for x in (0.0, 1.0, 2.0)] for y in (0.0, 1.0, 2.0)]
    assert inside == cells.tolist()


def test_series_and_marks_differ_without_colour():
    n = len(style.COLOURS)
    axes = Figure().subplots()
    lines = [axes.plot([0, 1], [0, 1], **style.series(place))[0] for place in range(n)]
    points = [axes.plot([0, 1], [0, 1], **style.marks(place))[0] for place in range(n)]
    assert len({dash(line) for line in lines}) == len({marker(line) for line in points}) == n


def test_a_run_that_ends_early_is_said_to():
    words = [text for legend in DRAWN["curves of 200 epochs"]().legends for text, _ in entries(legend)]
    early = [text for text in words if "ends at epoch 103" in text]
    assert len(words) == 6 and len(early) == 3
    assert curves.ends({"one": pd.DataFrame({"epoch": [1.0, 200.0]}), "two": pd.DataFrame({"epoch": [1.0, 199.9]})}) == {}


def test_the_rank_of_z_is_drawn_beside_the_accuracies():
    table = contest()
    axes = panels(DRAWN["contest"]())[-1]
    z = table[table["representation"] == "z"]
    heads = [head for head in dict.fromkeys(z["head"]) if head != "random encoder"]
    drawn = [line.get_ydata()[0] for line in axes.lines if marker(line) == ("o", "full", False)]
    assert drawn == pytest.approx([z.loc[z["head"] == head, "singular_rank"].astype(float).mean() for head in heads])
    assert axes.get_yscale() == "log" and "rank" in axes.get_ylabel()


def test_the_peak_of_the_head_is_one_curve_as_a_part_of_its_bound():
    found = PLOTS["ensemble"]()
    (line,) = panels(found.plot())[2].lines
    assert np.array_equal(line.get_xdata(), np.sort(found.frame["head_peak"] / 0.0577))


# The check itself.


def drawing(**changes) -> Figure:
    """A figure without fault, and changed so that it has one."""
    figure = Figure(figsize=(3.3, 3.0), layout="constrained")
    with style.style():
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], label="one", color="#0072B2", linestyle="-")
        axes.plot([0, 1], [1, 0], label="two", color="#009E73", linestyle=changes.get("linestyle", ":"))
        axes.set_xlabel(changes.get("xlabel", "time"))
        axes.set_ylabel("loss")
        figure.suptitle(changes.get("caption", "cubic"), fontsize=changes.get("size", 7.0))
        if changes.get("key", True):
            axes.legend(loc="center right")
        changes.get("more", lambda axes: None)(axes)
    return figure


WRONG = {
    "alike in grey": {"linestyle": "-"},
    "no x label": {"xlabel": ""},
    "in no key": {"key": False},
    "no key for a line": {"more": lambda axes: axes.plot([0, 1], [0.2, 0.3], color="#D55E00", linestyle="-.")},
    "no key for an area": {"more": lambda axes: axes.fill_between([0, 1], [0, 0.1], [1, 1], color="#D55E00", alpha=0.2)},
    "out here": {"more": lambda axes: axes.text(1.5, 0.5, "out here")},
    "on the axis": {"more": lambda axes: axes.text(0.5, -0.15, "on the axis time", ha="center")},
    "5.0 points": {"size": 5.0},
    "no caption": {"caption": ""},
    "covers points": {"more": lambda axes: axes.plot([0.9], [0.5], "o", color="#0072B2")},
    "inches wide": {"more": lambda axes: axes.figure.set_size_inches(7.5, 3.0)},
    "two looks": {"more": lambda axes: axes.figure.legend(handles=[Patch(color="black", label="one")], loc="lower left")},
}


def test_a_figure_without_fault_has_none():
    assert faults(drawing()) == []


@pytest.mark.parametrize("word", WRONG)
def test_the_check_sees(word):
    assert any(word in str(fault) for fault in faults(drawing(**WRONG[word]))), faults(drawing(**WRONG[word]))


def test_luminance_is_that_of_a_print():
    assert math.isclose(luminance("white"), 1.0) and luminance("black") == 0.0
    assert math.isclose(luminance("#C6DDF3"), (0.299 * 198 + 0.587 * 221 + 0.114 * 243) / 255, rel_tol=1e-9)
    assert math.isclose(luminance("black", 0.25), 0.75)
