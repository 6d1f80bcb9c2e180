"""Any training: that the compiled gradient is right, what it costs from m = 2 to 64, and ensembles of many neurons."""

from __future__ import annotations

import time

import numpy as np

from benchmarks.machine import difference, number, refusals, shown, spread, timed_if_right, verified
from dynlab import Model, Training, ensemble
from dynlab.population.any_training import flow, gradient
from dynlab.population.order_parameters import draw_order_parameters
from dynlab.settings.activation_records import ACTIVATIONS
from dynlab.tools.checks import available_threads

SIZES = ((2, 2), (4, 2), (8, 2), (16, 2), (32, 2), (64, 2), (16, 4), (16, 8), (16, 16), (64, 16))
MOST_CHECKED = 16  # neurons: beyond, the formulas with twice the digits take minutes


def timed_system(model: Model, training: Training) -> tuple:
    """One drawn state with a dense head: arguments of the kernel that is timed, and (signal, Gram matrix, head)."""
    m = model.neurons
    signal, gram = draw_order_parameters(model, 1000, np.random.default_rng(0))
    z, side = flow.encode(model, training, signal[None], gram[None])
    entries = m * (m - 1)
    z[0, -1 - entries : -1] = 0.1 * np.random.default_rng(1).standard_normal(entries)
    head = np.eye(m)
    head[~np.eye(m, dtype=bool)] = z[0, -1 - entries : -1]
    return (z, side, flow.buffers_for(model, training, z.shape[1])), (signal, gram, head)


def check(model: Model, training: Training, arguments: tuple, state: tuple) -> dict:
    """Refuse to time wrong rates: loss, rates of signals, norms and head against the formulas with twice the digits."""
    signal, gram, head = state
    m, features = signal.shape
    norm = np.sqrt(np.diagonal(gram))
    k = np.outer(norm, norm)
    wedge = np.sqrt(np.maximum((k - gram) * (k + gram), 0.0))
    np.fill_diagonal(wedge, 0.0)
    right, d_signal, d_noise, d_head = gradient._evaluate_extended(
        model, training, signal, norm, gram, wedge, signal, norm, head.copy()
    )
    loss, rates = (found[0] for found in flow.rates_at(model, training, *arguments))
    cut, entries = m * features, m * (m - 1)
    slope = d_signal / signal if ACTIVATIONS[model.activation].degree == 3 else d_signal
    pairs = {
        "loss": (loss, right),
        "signals": (rates[:cut], -slope.ravel()),
        "norms": (rates[cut : cut + m], -np.diagonal(d_noise) / norm**2),
        "head": (rates[-1 - entries : -1], -training.eta_head * d_head[~np.eye(m, dtype=bool)]),
    }
    found = {name: (difference(got, want, 1e-3 * float(np.abs(want).max())), 1e-8) for name, (got, want) in pairs.items()}
    return verified(f"rates under any training, {model.activation}, m = {m}, K = {features}", found)


def cost(activation: str, m: int, features: int, repeats: int = 7) -> dict:
    """Microseconds a call of the rates with a dense head."""
    model = Model(activation=activation, neurons=m, strengths=tuple(0.9**k for k in range(features)))
    training = Training()
    arguments, state = timed_system(model, training)
    row: dict = {"neurons": m, "features": features}
    if m <= MOST_CHECKED:
        row["differences"] = check(model, training, arguments, state)
    calls = max(3, int(2e5 / (m * m * (m + features))))
    z, side, buffers = arguments
    many, sides, seconds = np.repeat(z, calls, axis=0), np.repeat(side, calls, axis=0), []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        flow.rates_at(model, training, many, sides, buffers)
        seconds.append((time.perf_counter() - start) / calls * 1e6)
    row["microseconds"] = spread(seconds[1:])
    print(f"{activation}: m {m:>2}, K {features:>2}: {shown(row['microseconds'])} us", flush=True)
    return row


def many_neurons(m: int, features: int, seeds: int, until: float) -> dict:
    """Seconds of an ensemble of m neurons and features in a ladder from 1 to 0.3, all threads."""
    model = Model(neurons=m, strengths=tuple(float(x) for x in np.geomspace(1.0, 0.3, features)))
    ensemble(model, 1000, 1, until=1.0)  # compiles
    start = time.perf_counter()
    frame = ensemble(model, 1000, seeds, until=until).frame
    seconds = time.perf_counter() - start
    failed, nothing = (frame["outcome"] == "failed").mean(), frame["loss_end"].isna().mean()
    found = {"failed": (float(failed), 0.0), "not a number": (float(nothing), 0.0)}
    threads, steps = available_threads(), int(frame["steps"].sum() + frame["rejected"].sum())
    row = {"neurons": m, "features": features, "seeds": seeds, "until": until, "threads": threads}
    row |= verified(f"ensemble of {m} neurons, {features} features", found)
    row |= {"seconds": seconds, "steps": float(frame["steps"].median())}
    row["ms_a_step"] = 1e3 * seconds * min(threads, seeds) / steps
    text = "m {neurons}, K {features}: {seeds} seeds to {until:g} in {seconds:.1f} s, {steps:.0f} steps"
    print(f"{text.format(**row)}, each {number(row['ms_a_step'])} ms", flush=True)
    return row


def exponents(rows: list[dict]) -> dict:
    """Least-squares exponents of the cost: of m from 8 neurons on with two features, of K with 16 neurons."""
    ladder = [row for row in rows if row["features"] == 2 and row["neurons"] >= 8]
    wide = [row for row in rows if row["neurons"] == 16]
    found = {}
    for name, by, some in (("exponent_m", "neurons", ladder), ("exponent_features", "features", wide)):
        sizes, costs = np.log([[row[by], row["microseconds"]["median"]] for row in some]).T
        found[name] = float(np.polyfit(sizes, costs, 1)[0])
    return found


def run(quick: bool = False) -> dict:
    """The table of costs with the exponents of m and K, then ensembles of 4, 8 and 16 neurons."""
    result: dict = {}
    for activation in ("cubic", "relu"):
        rows = [timed_if_right(cost, activation, m, k, 3 if quick else 7) for m, k in (SIZES[:2] if quick else SIZES)]
        result[activation] = {"cost": rows}
        if not quick and not list(refusals(rows)):
            result[activation] |= exponents(rows)
            text = "{exponent_m:.2f} (m 8 to 64, K 2) and K^{exponent_features:.2f} (K 2 to 16, m 16)"
            print(f"{activation}: grows like m^" + text.format(**result[activation]), flush=True)
    sizes = ((4, 4, 2, 1e3),) if quick else ((4, 4, 256, 1e9), (8, 8, 8, 1e9), (16, 8, 2, 1e4))
    result["ensembles"] = [timed_if_right(many_neurons, *size) for size in sizes]
    return result
