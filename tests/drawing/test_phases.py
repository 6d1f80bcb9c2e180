"""The figure of the phases: right panels, curves, shades and words, legible, the same bytes each time."""

import dataclasses
import re

import numpy as np
import pytest
from matplotlib.figure import Figure

from dynlab.drawing import style
from dynlab.drawing.phases import PHASE_NAMES, phase_windows, phases_figure
from tests.drawing.legibility import overlapping_words
from tests.population.synthetic import four_phases


def pair(**changes):
    return four_phases(**changes), four_phases("none", **changes)


def legend_words(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_one_column_an_activation_with_head_above_without_below():
    figure = phases_figure({"relu": pair(activation="relu"), "cubic": pair()})
    assert len(figure.axes) == 6
    assert [axes.get_title() for axes in figure.axes] == ["relu", "cubic", "", "", "", ""]
    labels = [axes.get_ylabel() for axes in figure.axes]
    assert labels == ["signals, with head"] * 2 + ["head entries"] * 2 + ["signals, without head"] * 2
    assert all("time" in axes.get_xlabel() for axes in figure.axes[4:])
    assert figure.get_size_inches()[0] == pytest.approx(6.9)


def test_the_curves_are_the_runs():
    with_head, without = pair()
    top, head, bottom = phases_figure({"cubic": (with_head, without)}).axes
    for axes, run in ((top, with_head), (bottom, without)):
        drawn = [line.get_ydata() for line in axes.lines if len(line.get_xdata()) == len(run.time)]
        wanted = [abs(run.signal[:, j, l]) for l in range(2) for j in range(2)]
        assert len(drawn) == 4
        assert all(np.array_equal(a, b) for a, b in zip(drawn, wanted, strict=True))
    drawn = [line.get_ydata() for line in head.lines if len(line.get_xdata()) == len(with_head.time)]
    assert [np.array_equal(d, with_head.head[:, 1, 0]) for d in drawn] == [True, False]


def test_a_run_at_rest_is_continued_to_the_edge_and_another_is_not():
    with_head, without = four_phases(), four_phases("none", end=1e6)
    for status, continued in (("stationary", True), ("steps", False)):
        run = dataclasses.replace(without, status=status)
        bottom = phases_figure({"cubic": (with_head, run)}).axes[2]
        last = bottom.lines[0].get_xdata()[-1]
        assert (last == bottom.get_xlim()[1]) == continued
        assert (last == run.time[-1]) != continued


def test_curves_can_be_told_apart_without_colour():
    top = phases_figure({"cubic": pair()}).axes[0]
    n = len(four_phases().time)
    curves = [line for line in top.lines if len(line.get_xdata()) == n]
    assert len({(line.get_linewidth(), str(line._dash_pattern)) for line in curves}) == 4


def test_all_four_phases_are_shaded_named_and_wide_enough():
    slivers = pair(peak=1e4 * (1 + 1e-6), second=1e4 * (1 + 2e-6))
    top, head, bottom = phases_figure({"cubic": slivers}).axes
    words = [text.get_text() for text in top.texts]
    assert [word for word in words if word in PHASE_NAMES] == ["I", "II", "III", "IV"]
    assert [word for word in words if word.startswith("$T")] == ["$T_1$", "$T_2$", "$T_3$"]
    assert len(top.patches) == len(head.patches) == 4
    assert len(bottom.patches) == 0
    to_page = top.xaxis.get_transform().transform
    for patch in top.patches:
        low, high = to_page([patch.get_x(), patch.get_x() + patch.get_width()])
        assert high - low > 0.05


def test_the_time_axis_is_logarithmic_between_events():
    top = phases_figure({"cubic": pair(end=1e14)}).axes[0]
    place = top.xaxis.get_transform().transform
    steps = np.diff(place(np.geomspace(500.0, 8000.0, 5)))
    assert np.allclose(steps, steps[0])
    assert np.all(np.diff(place(np.geomspace(*top.get_xlim(), 1000))) > 0)


@pytest.mark.parametrize(
    ("events", "names"),
    [
        ({}, ["I", "II", "III", "IV"]),
        ({"second": np.nan}, ["I", "II"]),
        ({"second": np.nan, "peak": np.nan}, ["I"]),
        ({"first": np.nan, "second": np.nan, "peak": np.nan}, []),
        ({"peak": 1e5}, ["I", "II", "IV"]),
        ({"peak": 5e3}, ["I", "III", "IV"]),
    ],
)
def test_only_phases_that_took_place_are_drawn(events, names):
    run = four_phases()
    run.events.update(events)
    assert list(phase_windows(run)) == names
    figure = phases_figure({"cubic": (run, four_phases("none"))})
    shown = [text.get_text() for text in figure.axes[0].texts]
    assert [name for name in shown if not name.startswith("$")] == names
    assert overlapping_words(figure) == []


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_no_words_overlap_and_none_is_too_small(count):
    names = ("relu", "cubic", "relu3", "linear")[:count]
    figure = phases_figure({name: pair(activation=name) for name in names})
    assert overlapping_words(figure) == []
    sizes = [text.get_fontsize() for text in figure.findobj(lambda o: hasattr(o, "get_fontsize"))]
    assert min(sizes) >= 7.0


def test_the_legend_names_every_curve_and_phase():
    words = legend_words(phases_figure({"cubic": pair()}))
    curves = ("w_1, v_1", "w_1, v_2", "w_2, v_1", "w_2, v_2", "E_{12}", "E_{21}")
    for name in (*curves, *PHASE_NAMES.values()):
        assert any(name in word for word in words), name


def test_the_check_notices_overlapping_words():
    figure = phases_figure({"cubic": pair()})
    figure.axes[0].text(0.5, 1.0, "a stray remark on top of the title", transform=figure.axes[0].transAxes)
    assert overlapping_words(figure)


def test_a_run_in_which_nothing_moves_is_drawn_too():
    run = four_phases()
    still = {name: np.repeat(getattr(run, name)[:1], len(run.time), axis=0) for name in ("signal", "head")}
    run = type(run)(**{**vars(run), **still, "events": dict.fromkeys(run.events, np.nan)})
    assert isinstance(phases_figure({"cubic": (run, run)}), Figure)


def test_png_and_pdf_have_the_same_bytes_each_time(tmp_path):
    for name in ("one", "two"):
        style.save(phases_figure({"cubic": pair()}), tmp_path / name, "Phases")
    for ending in ("png", "pdf"):
        one, two = ((tmp_path / f"{name}.{ending}").read_bytes() for name in ("one", "two"))
        assert one == two
        assert len(one) > 10_000


def test_the_pdf_is_vector_with_fonts_inside_and_no_date(tmp_path):
    style.save(phases_figure({"cubic": pair()}), tmp_path / "one", "Phases")
    pdf = (tmp_path / "one.pdf").read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/FontFile2" in pdf
    assert b"/Type3" not in pdf
    assert b"CreationDate" not in pdf
    assert not re.search(rb"/Subtype\s*/Image", pdf)
