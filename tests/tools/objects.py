"""One of each object that a user holds, made by hand: no kernel runs here. Each comes with numbers that it must show."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pandas as pd

import dynlab
from dynlab.claims.claim import Curve, Finding, Panel, Record
from dynlab.ensembles.ensemble import Ensemble
from dynlab.images.settings import Pretraining
from dynlab.images.training.run_folder import METRIC_COLUMNS, Recorded
from dynlab.images.worth import accuracy as evaluation
from dynlab.images.worth.representations import Appraisal
from dynlab.images.worth.spectrum import Shape
from dynlab.linear import modes
from dynlab.maps.axes import Axis
from dynlab.maps.grid import Grid
from dynlab.maps.measures import Measure
from dynlab.maps.phase_map import PhaseMap
from dynlab.planes.plane import Plane, PlanePoint, Side
from dynlab.planes.portrait import Portrait
from dynlab.population.any_training.stability import FixedPoint
from dynlab.population.gradient import Gradient
from dynlab.population.pair.limit import Fate
from dynlab.samples.generator import Samples
from dynlab.samples.overlay import Overlay
from dynlab.tools.fits import PowerLaw
from dynlab.tools.intervals import wilson
from tests.population.synthetic import four_phases

RNG = np.random.default_rng(9)
MODEL = dynlab.Model(weak=0.37)
HOSTILE = "<script>alert('&')</script>"


def ensemble(head="off-diagonal", seeds=7):
    """An ensemble of made-up numbers, one of its seeds failed."""
    rng = np.random.default_rng(3)
    outcome = ["both", "both", "only_strong", "both", "neither", "failed", "both"][:seeds]
    frame = pd.DataFrame({"seed": np.arange(seeds), "outcome": outcome})
    for name in ("time_first", "time_second", "head_end", "rank"):
        frame[name] = rng.uniform(1.0, 2.0, seeds)
    frame.loc[4, "time_first"] = np.nan
    frame["head_peak"] = rng.uniform(0.01, 0.05, seeds) if head != "none" else 0.0
    frame["head_bound"], frame["steps"] = 0.0577, 200
    settings = {"head": head, "dim": 1000, "seeds": seeds, "eta_head": 0.01, "until": 1e12}
    states = (np.zeros((seeds, 2, 2)), np.tile(np.eye(2), (seeds, 1, 1)), np.tile(np.eye(2), (seeds, 1, 1)))
    return Ensemble(MODEL, settings, frame, states, states, np.zeros((seeds, 3)), states)


def phase_map(measure="both"):
    """A map of made-up shares on three by two points."""
    grid = Grid(Axis("weak", (0.2, 0.4, 0.6)), Axis("eta_head", (0.01, 0.1), True), {})
    rng, rows = np.random.default_rng(4), []
    for y in grid.y.values:
        for x in grid.x.values:
            for head in grid.heads:
                share = rng.uniform()
                low, high = wilson(round(64 * share), 64)
                rows.append({"weak": x, "eta_head": y, "head": head, "value": share, "low": low, "high": high})
    frame = pd.DataFrame(rows).assign(predicted=np.nan, seeds=64)
    frame = frame.assign(pooled=frame["value"], pooled_low=frame["low"], pooled_high=frame["high"], crossed=True)
    frame["copied"] = (frame["head"] == "none") & (frame["eta_head"] > 0.01)
    return PhaseMap(grid, Measure.named(measure), 0.5, frame, 768, ())


def portrait():
    """A portrait of four cells, a nullcline, a fixed point and a path."""
    x, y = (part.ravel() for part in np.meshgrid([0.25, 0.75], [0.25, 0.75]))
    states = ["diverse", "diverse", "collapsed on strong", "diverse"]
    field = pd.DataFrame({"x": x, "y": y, "rate_x": y, "rate_y": -x, "end_state": states})
    nullclines = pd.DataFrame({"branch": 0, "at_rest": "w21", "x": [0.1, 0.9], "y": [0.5, 0.4]})
    point = {"x": 0.3141, "y": 0.2718, "stability": "saddle", "told_by": "eigenvalues", "real_1": 1.618, "real_2": -0.577}
    fixed = pd.DataFrame([point | {"imag_1": 0.0, "imag_2": 0.0, "residual": 0.0}])
    paths = pd.DataFrame({"trajectory": 0, "time": [0.0, 1.0, 2.0], "w21": [0.2, 0.3, 0.8], "w22": [0.3, 0.35, 0.5]})
    return Portrait(("w21", "w22"), "held: nothing", field, nullclines, fixed, paths)


def linear_run(beta=None):
    """A short run of the linear theory."""
    model = dynlab.LinearModel(3, beta=beta)
    W = np.random.default_rng(5).normal(size=(2, 3))
    return dynlab.simulate_linear(model, W, np.array([[0.5, 0.2], [0.0, 0.4]]), until=3.0)


def appraisal():
    """What two representations are worth, and the shape of their five features."""
    rows = []
    for name, right, spectrum in (("encoder", 15, (4.5, 1.25, 0.75, 0.5, 0.25)), ("z", 6, (1.5, 1.25, 1.0, 0.75, 0.0))):
        near = evaluation.Accuracy(right, 20, "weighted kNN: 5 neighbours", {"neighbours": 5})
        probe = evaluation.Accuracy(right + 2, 20, "linear probe: C = 1", {"C": 1.0})
        shape = Shape(2.125, 1.875, 3.0625, 0.3125, 0 if spectrum[-1] else 1, spectrum, "of 20 pictures")
        rows.append({"representation": name, "dimensions": 5, "knn": near, "probe": probe, "shape": shape})
    return Appraisal(rows)


def recorded(place="runs/x"):
    """A run of pretraining with two lines of metrics."""
    rows = [{name: i + 0.125 * n for n, name in enumerate(METRIC_COLUMNS)} for i in range(2)]
    return Recorded(place, Pretraining(lr=0.0123), "running", pd.DataFrame(rows))


def finding():
    """A claim of two statements."""
    records = [
        Record(3, "substitution", f"E_21 f_1 < f_2 & more {HOSTILE}", 0.5, 0.4321, 0.41, 0.45, "fails"),
        Record(3, "no number", "nothing to compare", None, None, None, None, "out of reach"),
    ]
    curve = Curve("measured", [1.0, 10.0], [2.0, 3.0], [1.5, 2.5], [2.5, 3.5])
    return Finding(records, Panel("substitution", "$d$", "share", [curve]))


def overlay():
    """Two runs of one batch size, and a theory."""
    return Overlay(four_phases(), {64: [four_phases(), four_phases(peak=1.1e4)]})


def fixed_point():
    """A fixed point of the reduced system."""
    values = np.array([0.0321, -0.5 + 0.25j, -0.5 - 0.25j, -1.0])
    return FixedPoint(np.zeros(6), np.eye(2), np.eye(2), 1.3333, 1e-16, values, np.zeros(2), "diverse", 1, 0, 2, 4)


def objects() -> dict:
    """name: (object, numbers or words that its table must hold)."""
    start = dynlab.OrderParameters(RNG.normal(size=(2, 2)), [[1.25, 0.5], [0.5, 2.0]], [[1.0, 0.0625], [0.0, 1.0]])
    run, many, shares, linear = four_phases(), ensemble(), phase_map(), linear_run()
    plane = Plane(MODEL, 0.01, Side("w21", -1.0, 1.0), Side("w22", -0.5, 0.5), {"w11": 0.875}, ("E21",))
    slope = Gradient(3.25, RNG.normal(size=(2, 5)), np.array([[0.0, 0.75], [-0.5, 0.0]]))
    measured, pretraining, fate = appraisal(), recorded(), Fate(*(np.arange(9.0),) * len(fields(Fate)))
    accuracy, shape = measured[0]["knn"], measured[0]["shape"]
    samples = Samples(np.zeros((8, 16, 5)), np.zeros((8, 16)), np.zeros(8), np.ones(8))
    return {
        "Model": (MODEL, ["0.37", "0.3", "cubic"]),
        "Optimisation": (dynlab.Optimisation("adam", schedule="cosine"), ["adam", "cosine", "constant"]),
        "Training": (dynlab.Training(head="linear", weight_decay=0.125), ["linear", "0.125", "off-diagonal"]),
        "OrderParameters": (start, [*start.signal.ravel(), 1.25, 0.0625]),
        "Trajectory": (run, [run.loss[0], run.loss[-1], run.time[-1], run.signal[-1, 1, 1], 1.2e4, "stationary"]),
        "Ensemble": (many, [4, 4 / 7, *wilson(4, 7), many.frame["time_second"][many.frame["outcome"] != "failed"].median()]),
        "PhaseMap": (shares, [*shares.frame.groupby("head")["value"].max(), *shares.frame.groupby("head")["value"].min()]),
        "Grid": (shares.grid, None),
        "Axis": (shares.grid.x, None),
        "Portrait": (portrait(), [0.75, 0.25, 0.3141, 0.2718, 1.618]),
        "Plane": (plane, ["w21", "held at 0.875", "slaved"]),
        "Side": (plane.x, None),
        "Point": (PlanePoint(np.array([0.5, 0.25]), "saddle", np.array([1.0, -2.0 + 0j]), "eigenvalues", 1e-17), ["saddle"]),
        "LinearModel": (linear.model, [1.0, 0.01]),
        "LinearTrajectory": (linear, [linear.frame()["loss"].iloc[-1], linear.evaluations]),
        "Spectrum": (modes.joint_spectrum(linear.model), [1.0]),
        "linear FixedPoint": (modes.FixedPoint(0.5, 0.25, -0.125, "stable"), [0.5, 0.25, -0.125]),
        "FixedPoint": (fixed_point(), ["diverse", 1.3333, 0.0321, "-0.5+0.25i"]),
        "Gradient": (slope, [3.25, *slope.d_weights.ravel(), 0.75]),
        "Fate": (fate, ["9"]),
        "Samples": (samples, ["8 x 16 x 5"]),
        "Overlay": (overlay(), [overlay().distances()[64][1]]),
        "PowerLaw": (PowerLaw(1.0 / 3.0, 0.3, 0.4, np.log(7.0)), None),
        "Accuracy": (accuracy, [accuracy.share, *accuracy.interval, "weighted kNN"]),
        "Shape": (shape, [shape.rank, shape.singular_rank, shape.mean_abs_correlation]),
        "Appraisal": (measured, [accuracy.share, measured[1]["probe"].share, shape.rank]),
        "Recorded": (pretraining, [0.125, 1.125, 0.0123]),
        "Pretraining": (Pretraining(lr=0.0123), [0.0123]),
        "Record": (finding().records[0], [0.4321]),
        "Finding": (finding(), [0.4321, "out of reach", HOSTILE]),
        "Curve": (finding().panel.curves[0], None),
        "Panel": (finding().panel, None),
        "evaluation of nothing": (evaluation.Accuracy(0, 1, HOSTILE, {}), [HOSTILE]),
    }
