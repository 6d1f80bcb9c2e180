"""Ensembles: that none fails and that conserved quantities are conserved, everywhere; then trajectories a second."""

from __future__ import annotations

import time

from benchmarks.machine import spread
from dynlab import Model, ensemble

DIMS, WEAK, RATES = (64, 1000, 10**6), (0.1, 0.3, 0.8), (0.0, 0.001, 0.01, 0.1, 1.0)
GOAL = 5000.0  # trajectories a second


def robustness(seeds: int, far_seeds: int) -> dict:
    """Failures and the largest relative drift of a conserved quantity over all corners, to the default horizon."""
    failed, drift, count, corners = 0, 0.0, 0, []
    start = time.perf_counter()
    for dim in (*DIMS, 10**12):
        for weak in WEAK:
            for rate in RATES:
                number = far_seeds if dim == 10**12 else seeds
                frame = ensemble(
                    Model(weak=weak), dim=dim, seeds=number, head="off-diagonal" if rate else "none", eta_head=rate
                ).frame
                bad = frame[frame["outcome"] == "failed"]
                corners += [{"dim": dim, "weak": weak, "eta_head": rate, "seed": int(s)} for s in bad["seed"]]
                failed, drift, count = failed + len(bad), max(drift, float(frame["drift"].max())), count + number
    return {"trajectories": count, "failed": failed, "drift": drift, "failures": corners,
            "seconds": time.perf_counter() - start}  # fmt: skip


def agreement(seeds: int) -> dict:
    """Share of seeds with the same outcome at rtol 1e-6 and 1e-9, and the drift at the latter."""
    loose, tight = (ensemble(Model(), seeds=seeds, until=1e12, rtol=rtol).frame for rtol in (1e-6, 1e-9))
    same = float((loose["outcome"] == tight["outcome"]).mean())
    return {"seeds": seeds, "same_outcome": same, "drift_1e-9": float(tight["drift"].max())}


def speed(seeds: int, repeats: int = 5) -> dict:
    """Trajectories a second: cubic, strong 1, weak 0.3, dim 1000, eta_head 0.01, to 1e12, rtol 1e-6, all threads."""
    ensemble(Model(), seeds=64, until=1e12)
    rates = []
    for repeat in range(repeats):
        start = time.perf_counter()
        frame = ensemble(Model(), seeds=seeds, seed=repeat, until=1e12).frame
        if (frame["outcome"] == "failed").any():
            raise AssertionError("a trajectory failed: not timed")
        rates.append(seeds / (time.perf_counter() - start))
    return {"goal": GOAL, "per_second": spread(rates), "steps": float(frame["steps"].mean())}


def run(quick: bool) -> dict:
    """Robustness, agreement, speed; quick: 200 seeds a corner instead of 10000."""
    result = {"robustness": robustness(200 if quick else 10_000, 200 if quick else 2000)}
    print("ensembles: {trajectories} trajectories, {failed} failed, drift {drift:.1e}, {seconds:.0f} s".format(
        **result["robustness"]), flush=True)  # fmt: skip
    result["agreement"] = agreement(500 if quick else 10_000)
    print("rtol 1e-6 against 1e-9: {same_outcome:.4%} same outcome of {seeds}, drift {drift_1e-9:.1e}".format(
        **result["agreement"]), flush=True)  # fmt: skip
    result["speed"] = speed(2000 if quick else 10_000)
    rate = result["speed"]["per_second"]
    print(f"ensembles: {rate['median']:.0f} trajectories a second (goal {GOAL:.0f})", flush=True)
    return result
