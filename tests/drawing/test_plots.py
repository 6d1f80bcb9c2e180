"""The figures of `.plot()`: labelled axes, lines that are the object's arrays, and no window or list of windows."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

import dynlab
from dynlab import Model, Trajectory
from tests.population.synthetic import four_phases
from tests.tools import objects
from tests.waiting import HANGS


def embeddings(steps=1):
    """A diagnosis of drawn embeddings, with a head."""
    rng = np.random.default_rng(5)
    z = rng.standard_normal((steps, 200, 6)) @ rng.standard_normal((6, 6))
    return dynlab.diagnose(z if steps > 1 else z[0], np.eye(6) + 0.2 * rng.standard_normal((6, 6)))


def crowd(neurons, features):
    """A run of as many neurons and features, too many for a legend or too few for a head."""
    times, strengths = np.linspace(0.0, 9.0, 10), (1.0,) * features
    grown = times[:, None, None] * np.arange(1.0, neurons * features + 1.0).reshape(neurons, features)
    heads = np.tile(np.eye(neurons), (10, 1, 1)) + 0.01 * grown[:, :1, :1] * (1.0 - np.eye(neurons))
    events = dict.fromkeys(("first", "second", "peak", "stationary"), np.nan)
    model = Model(neurons=neurons, strengths=strengths)
    return Trajectory(model, {"head": "off-diagonal"}, times, grown, heads, heads, times, events, "until", 9, 0)


PLOTS = {
    "trajectory": four_phases,
    "trajectory without head": lambda: four_phases("none"),
    "ensemble": objects.ensemble,
    "ensemble without head": lambda: objects.ensemble("none"),
    "phase map": objects.phase_map,
    "map of medians": lambda: objects.phase_map("peak"),
    "portrait": objects.portrait,
    "linear trajectory": objects.linear_run,
    "linear trajectory with average": lambda: objects.linear_run(0.5),
    "appraisal": objects.appraisal,
    "pretraining": objects.recorded,
    "finding": objects.finding,
    "overlay": objects.overlay,
    "one neuron": lambda: crowd(1, 1),
    "embeddings": lambda: embeddings(),
    "embeddings of steps": lambda: embeddings(3),
    "many neurons": lambda: crowd(9, 3),
}


def seen(figure: Figure) -> list:
    """The panels that are visible, without colour bars."""
    return [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]


def lines(axes) -> list:
    """(x, y) of every line with more than one point."""
    return [line.get_data() for line in axes.lines if len(line.get_xdata()) > 1]


def has_line(axes, x, y) -> bool:
    """Whether a line of the panel begins with exactly these points (a run at rest is drawn on to the end of the axis)."""
    n = len(x)
    return any(len(a) >= n and np.array_equal(a[:n], x) and np.array_equal(b[:n], y) for a, b in lines(axes))


@pytest.mark.parametrize("name", PLOTS)
def test_figures_are_labelled_and_show_themselves(name):
    figure = PLOTS[name]().plot()
    assert isinstance(figure, Figure)
    panels = seen(figure)
    assert panels
    figure.draw_without_rendering()
    columns = {axes.get_subplotspec().colspan.start for axes in panels}
    for column in columns:  # panels that share an axis are labelled once
        mine = [axes for axes in panels if axes.get_subplotspec().colspan.start == column]
        assert any(axes.get_xlabel() for axes in mine)
    rows = {axes.get_subplotspec().rowspan.start for axes in panels}
    for row in rows:
        assert any(axes.get_ylabel() for axes in panels if axes.get_subplotspec().rowspan.start == row)
    assert figure._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize("head", ["off-diagonal", "none"])
def test_a_trajectory_is_drawn_from_its_arrays(head):
    run = four_phases(head)
    panels = seen(run.plot())
    assert len(panels) == (3 if head == "off-diagonal" else 2)
    for j in range(2):
        for l in range(2):
            assert has_line(panels[0], run.time, np.abs(run.signal[:, j, l]))
    assert has_line(panels[-1], run.time, run.loss)
    if head == "off-diagonal":
        assert has_line(panels[1], run.time, np.abs(run.head[:, 1, 0])) and has_line(panels[1], run.time, run.head[:, 0, 1])
        assert {text.get_text() for text in panels[0].texts} >= {"I", "II", "III", "IV"}
    else:
        assert not panels[0].texts, "phases of a head where there is none"


def test_a_flat_loss_is_drawn_flat():
    run = four_phases()
    object.__setattr__(run, "loss", 4.0 + 1e-12 * np.arange(len(run.time)))
    low, high = seen(run.plot())[-1].get_ylim()
    assert high - low > 0.01


def test_an_ensemble_is_drawn_from_its_frame():
    found = objects.ensemble()
    bars, first, peaks = seen(found.plot())
    assert [bar.get_height() for bar in bars.patches] == [4 / 7, 1 / 7, 0.0, 1 / 7, 1 / 7]
    times = np.sort(found.frame["time_first"].dropna())
    assert len(times) == 6 and has_line(first, times, np.arange(1, 7) / 7)  # one of the seven learnt nothing
    assert has_line(peaks, np.sort(found.frame["head_peak"] / found.frame["head_bound"]), np.arange(1, 8) / 7)


def test_a_map_is_drawn_from_its_field():
    found = objects.phase_map()
    for axes, head in zip(seen(found.plot()), found.grid.heads, strict=True):
        assert np.array_equal(axes.collections[0].get_array().reshape(2, 3), found.field(head))


def test_a_portrait_is_drawn_from_its_tables():
    found = objects.portrait()
    (axes,) = seen(found.plot())
    assert has_line(axes, found.nullclines["x"].to_numpy(), found.nullclines["y"].to_numpy())
    assert has_line(axes, found.paths["w21"].to_numpy(), found.paths["w22"].to_numpy())
    marks = [line.get_data() for line in axes.lines if len(line.get_xdata()) == 1]
    assert any(x[0] == 0.3141 and y[0] == 0.2718 for x, y in marks)


@pytest.mark.parametrize("beta", [None, 0.5])
def test_a_linear_run_is_drawn_from_its_frame(beta):
    run = objects.linear_run(beta)
    table = run.frame()
    norms, loss, drifts = seen(run.plot())
    for name in ("encoder", "predictor", *(["target"] if beta else [])):
        assert has_line(norms, table["time"].to_numpy(), table[name].to_numpy())
    assert len(norms.lines) == (3 if beta else 2)
    assert has_line(loss, table["time"].to_numpy(), table["loss"].to_numpy())
    assert has_line(drifts, table["time"].to_numpy(), table["misalignment"].to_numpy())


def test_an_appraisal_is_drawn_and_tabulated_from_its_rows():
    found = objects.appraisal()
    accuracy, spectra = seen(found.plot())
    drawn = [line.get_ydata() for line in accuracy.lines]
    assert any(np.array_equal(y, [row["knn"].share for row in found]) for y in drawn)
    assert any(np.array_equal(y, [row["probe"].share for row in found]) for y in drawn)
    assert has_line(spectra, np.arange(1, 6), np.array(found[0]["shape"].spectrum))
    assert list(found.frame["probe"]) == [row["probe"].share for row in found]
    assert list(found.frame["knn_low"]) == [row["knn"].interval[0] for row in found]


def test_a_pretraining_run_is_drawn_from_its_metrics():
    found = objects.recorded()
    assert has_line(seen(found.plot())[0], found.metrics["epoch"].to_numpy(), found.metrics["loss"].to_numpy())


def test_how_far_outputs_spread_is_drawn_where_it_was_recorded():
    """Deviations of z and of z at unit length in panels of their own; metrics of earlier versions have neither."""
    found = objects.recorded()
    epoch, place = found.metrics["epoch"].to_numpy(), np.linspace(1.0, 2.0, len(found.metrics))
    before = dataclasses.replace(found, metrics=found.metrics.drop(columns=["sd", "unit_sd"], errors="ignore"))
    now = dataclasses.replace(found, metrics=before.metrics.assign(sd=place, unit_sd=0.1 * place))
    panels = {axes.get_ylabel(): axes for axes in seen(now.plot())}
    assert has_line(panels["deviation of $z$"], epoch, place)
    assert has_line(panels["deviation of $z/|z|$"], epoch, 0.1 * place)
    assert len(seen(before.plot())) == len(panels) - 2


def test_plots_leave_pyplot_alone():
    code = (
        "import sys; from tests.drawing import test_plots as t\n"
        "for make in t.PLOTS.values(): make().plot()._repr_png_()\n"
        "assert 'matplotlib.pyplot' not in sys.modules, 'pyplot keeps a list of open windows'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=HANGS)
    assert done.returncode == 0, done.stderr


def test_a_run_is_read_from_its_folder(tmp_path):
    from dynlab.images.training import run_folder
    from dynlab.tools.files import FolderError

    found = objects.recorded()
    kept = {"kind": "pretraining", "status": "running", "data": "", "settings": found.settings.plain()}
    (tmp_path / run_folder.RUN).write_text(json.dumps(kept))
    with pytest.raises(FolderError, match=r"metrics\.csv.*cannot be read"):
        run_folder.read(tmp_path)
    found.metrics.to_csv(tmp_path / run_folder.METRICS, index=False)
    again = run_folder.read(tmp_path)
    assert again.settings == found.settings and again.metrics.equals(found.metrics) and "running" in repr(again)
    found.metrics[:0].to_csv(tmp_path / run_folder.METRICS, index=False)
    assert "no step recorded" in repr(run_folder.read(tmp_path))
    with pytest.raises(FolderError, match="not finished"):
        again.weights()
