"""Ensembles: that none fails and that conserved quantities are conserved, everywhere; then trajectories a second."""

from __future__ import annotations

import time
from typing import Any

from benchmarks.machine import shown, spread, timed_if_right, verified
from dynlab import Model, ensemble

DIMS, WEAK, RATES = (64, 1000, 10**6), (0.1, 0.3, 0.8), (0.0, 0.001, 0.01, 0.1, 1.0)
GOAL = 12000.0  # trajectories a second
MOST_DRIFT, MOST_DRIFT_TIGHT, LEAST_SAME = 1e-4, 1e-7, 0.999  # at rtol 1e-6; at 1e-9; share of equal outcomes at both


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
    found = {"trajectories": count, "failed": failed, "drift": drift, "goal_drift": MOST_DRIFT, "failures": corners}
    seconds = time.perf_counter() - start
    print(f"ensembles: {count} trajectories, {failed} failed, drift {drift:.1e}, {seconds:.0f} s", flush=True)
    return found | {"seconds": seconds}


def agreement(seeds: int) -> dict:
    """Share of seeds with the same outcome at rtol 1e-6 and 1e-9, and the drift at the latter."""
    loose, tight = (ensemble(Model(), seeds=seeds, until=1e12, rtol=rtol).frame for rtol in (1e-6, 1e-9))
    same, drift = float((loose["outcome"] == tight["outcome"]).mean()), float(tight["drift"].max())
    print(f"rtol 1e-6 against 1e-9: {same:.4%} same outcome of {seeds}, drift {drift:.1e}", flush=True)
    goals = {"goal_same": LEAST_SAME, "goal_drift": MOST_DRIFT_TIGHT}
    return {"seeds": seeds, "same_outcome": same, "drift_1e-9": drift, **goals}


def check(loose, tight) -> dict:
    """Refuse wrong trajectories: any that fails, drifts, or ends in another outcome at rtol 1e-6 than at 1e-9."""
    return verified(
        "ensembles",
        {
            "failed": (float((loose["outcome"] == "failed").mean()), 0.0),
            "other outcomes than at rtol 1e-9": (float((loose["outcome"] != tight["outcome"]).mean()), 1.0 - LEAST_SAME),
            "drift": (float(loose["drift"].max()), MOST_DRIFT),
            "drift at rtol 1e-9": (float(tight["drift"].max()), MOST_DRIFT_TIGHT),
        },
    )


def speed(seeds: int, repeats: int = 5) -> dict:
    """Trajectories a second: cubic, strong 1, weak 0.3, dim 1000, eta_head 0.01, to 1e12, rtol 1e-6, all threads."""
    few = min(seeds, 500)
    found = check(*(ensemble(Model(), seeds=few, until=1e12, rtol=rtol).frame for rtol in (1e-6, 1e-9)))
    rates = []
    for repeat in range(repeats):
        start = time.perf_counter()
        frame = ensemble(Model(), seeds=seeds, seed=repeat, until=1e12).frame
        rates.append(seeds / (time.perf_counter() - start))
        verified("ensembles", {"failed": (float((frame["outcome"] == "failed").mean()), 0.0)})
    row: dict[str, Any] = {"goal": GOAL, "differences": found, "per_second": spread(rates)}
    row["steps"] = float(frame["steps"].mean())
    print(f"ensembles: {shown(row['per_second'])} trajectories a second (goal {GOAL:.0f})", flush=True)
    return row


def run(quick: bool = False) -> dict:
    """Robustness, agreement, speed; quick: 20 seeds a corner instead of 10000."""
    return {
        "robustness": robustness(20 if quick else 10_000, 20 if quick else 2000),
        "agreement": agreement(100 if quick else 10_000),
        "speed": timed_if_right(speed, 500 if quick else 10_000),
    }
