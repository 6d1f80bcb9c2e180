"""Any training: that the compiled gradient is right, what it costs from m = 2 to 64, and ensembles of many neurons."""

from __future__ import annotations

import os
import time

import numpy as np

from benchmarks.machine import spread
from dynlab import Model, Training, ensemble
from dynlab.population import switched_run, switches
from dynlab.population.gradient import noise_geometry
from dynlab.population.order_parameters import draw

SIZES = ((2, 2), (4, 2), (8, 2), (16, 2), (32, 2), (64, 2), (16, 4), (16, 8), (16, 16), (64, 16))
GOAL = 300.0  # seconds for 16 neurons, 8 features, 256 seeds


def check(model, training) -> None:
    """Refuse to time a wrong gradient: the kernel against the same formulas with twice the digits."""
    weights = np.random.default_rng(0).standard_normal((model.neurons, model.features + model.neurons))
    signal, geometry = weights[:, : model.features], noise_geometry(weights[:, model.features :])
    head = switches.start_head(model, training)
    right = switches.evaluate(model, training, signal, *geometry, signal, geometry[0], head)
    found = switches.evaluate_float(model, training, signal, *geometry, signal, geometry[0], head)
    for got, want in zip(found, right, strict=True):
        if not np.allclose(got, want, rtol=1e-8, atol=1e-11):
            raise AssertionError(f"{model.activation}, m = {model.neurons}: the gradient is wrong, not timed")


def cost(activation: str, m: int, features: int, repeats: int = 7) -> dict:
    """Microseconds a call of the rates with a dense head."""
    model = Model(activation=activation, neurons=m, strengths=tuple(0.9**k for k in range(features)))
    training = Training()
    if m <= 4:
        check(model, training)
    signal, gram = draw(model, 1000, np.random.default_rng(0))
    z, side = switched_run.encode(model, training, signal[None], gram[None])
    entries = m * (m - 1)
    z[0, -1 - entries : -1] = 0.1 * np.random.default_rng(1).standard_normal(entries)
    system, scratch = switched_run.system_of(model, training), switched_run.scratch_for(m, features)
    scratch[9][...] = np.eye(m)
    rates = np.zeros(z.shape[1])
    calls = max(3, int(2e5 / (m * m * (m + features))))
    seconds = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        for _ in range(calls):
            switched_run.rates_kernel(system, z[0], side[0], scratch, rates)
        seconds.append((time.perf_counter() - start) / calls * 1e6)
    return {"neurons": m, "features": features, "microseconds": spread(seconds[1:])}


def many_neurons(m: int, features: int, seeds: int) -> dict:
    """Seconds of an ensemble of m neurons and features in a ladder from 1 to 0.3, to 1e9, all threads."""
    model = Model(neurons=m, strengths=tuple(float(x) for x in np.geomspace(1.0, 0.3, features)))
    start = time.perf_counter()
    frame = ensemble(model, 1000, seeds, until=1e9).frame
    seconds = time.perf_counter() - start
    return {
        "neurons": m, "features": features, "seeds": seeds, "seconds": seconds, "steps": float(frame["steps"].median()),
        "failed": float((frame["outcome"] == "failed").mean()), "threads": len(os.sched_getaffinity(0)),
    }  # fmt: skip


def run(quick: bool) -> dict:
    """The table of costs with the exponents of m and K, then ensembles of 4, 8 and 16 neurons."""
    result = {}
    for activation in ("cubic", "relu"):
        rows = [cost(activation, m, k, 3 if quick else 7) for m, k in SIZES]
        for row in rows:
            one = row["microseconds"]
            print(f"{activation}: m {row['neurons']:>2}, K {row['features']:>2}: {one['median']:8.1f} us", flush=True)
        ladder = [row for row in rows if row["features"] == 2 and row["neurons"] >= 8]
        slope = np.polyfit(*np.log([[r["neurons"], r["microseconds"]["median"]] for r in ladder]).T, 1)[0]
        wide = [row for row in rows if row["neurons"] == 16]
        in_k = np.polyfit(*np.log([[r["features"], r["microseconds"]["median"]] for r in wide]).T, 1)[0]
        print(f"{activation}: grows like m^{slope:.2f} (m 8 to 64, K 2) and K^{in_k:.2f} (K 2 to 16, m 16)", flush=True)
        result[activation] = {"cost": rows, "exponent_m": float(slope), "exponent_features": float(in_k)}
    result["ensembles"] = []
    for m, features, seeds in ((4, 4, 64), (8, 8, 4)) if quick else ((4, 4, 256), (8, 8, 32), (16, 8, 4)):
        found = many_neurons(m, features, seeds)
        result["ensembles"].append(found)
        print("m {neurons}, K {features}: {seeds} seeds in {seconds:.0f} s, {steps:.0f} steps, failed {failed:.0%}".format(
            **found), flush=True)  # fmt: skip
    return result
