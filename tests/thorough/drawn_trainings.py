"""Draws good settings of `Training` from all over the allowed range and runs an ensemble on each, in a process of its own.

    python -m tests.thorough.drawn_trainings SEED N [--starts 8] [--seconds 30]

prints a line for each draw that crashed, took too long, lost a trajectory or returned an impossible loss, then the counts. A
loss is impossible below 0, or above what the objective allows: 4 m for a similarity of normalised outputs and m(m - 1) for
each unit of the decorrelation. Exit status 1 if more than 2 % are not well.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys

ONE = """
import json, sys, time, numpy as np, dynlab
given = json.loads(sys.argv[1])
model, training = dynlab.Model(**given["model"]), dynlab.Training(**given["training"])
start = time.perf_counter()
frame = dynlab.ensemble(model, dim=given["dim"], seeds=given["starts"], training=training, threads=1).frame
loss, m = frame["loss_end"].to_numpy(), model.neurons
bounded = training.objective == "similarity" and training.normalisation != "none"
top = (4 * m + training.decorrelation * m * (m - 1)) * (1 + 1e-6) if bounded else np.inf
failed = frame["outcome"] == "failed"
impossible = ~failed & ~((loss >= -1e-9) & (loss <= top))
print(json.dumps({"seconds": round(time.perf_counter() - start, 1), "failed": int(failed.sum()),
                  "impossible": int(impossible.sum()), "ended": frame["status"].value_counts().to_dict(),
                  "steps": int(frame["steps"].max())}))
"""


def log(rng: random.Random, low: float, high: float) -> float:
    """A number whose logarithm to base 10 is uniform."""
    return 10 ** rng.uniform(low, high)


def draw_model(rng: random.Random) -> dict:
    """Settings of a Model with up to three neurons and features."""
    patches, features, strong = rng.choice((4, 8, 16, 32)), rng.choice((1, 2, 2, 3)), log(rng, -0.5, 0.5)
    return {
        "strengths": sorted((strong * log(rng, -1, 0) for _ in range(features)), reverse=True),
        "neurons": rng.choice((1, 2, 2, 3)), "patches": patches, "feature_patches": rng.randrange(1, patches - 1),
        "noise": log(rng, -1, 0.5), "activation": rng.choice(("cubic", "relu", "relu3", "linear")),
        "mask": rng.choice(("half", "independent")),
    }  # fmt: skip


def draw_training(rng: random.Random) -> dict:
    """Settings of a Training that have a meaning together."""
    decays = {"weight_decay": log(rng, -8, -2)} if rng.random() < 0.25 else {}
    if rng.random() < 0.15:
        decays["decorrelation"] = log(rng, -2, 0)
    if rng.random() < 0.3:
        objective = rng.choice(("barlow-twins", "vicreg"))
        chosen = {"objective": objective, "head": "none", "stop_gradient": "none"}
        if objective == "vicreg":
            chosen["vicreg_weights"] = [25.0 * log(rng, -0.5, 0.5), 25.0, log(rng, -1, 1)]
        return chosen | decays
    chosen = {
        "head": rng.choice(("none", "off-diagonal", "off-diagonal", "linear", "symmetric", "directpred", "directcopy")),
        "eta_head": log(rng, -3, 1), "normalisation": rng.choice(("batch", "batch", "scale", "none")),
        "stop_gradient": rng.choice(("target", "target", "online", "none")),
    }  # fmt: skip
    if chosen["stop_gradient"] == "target" and rng.random() < 0.4:
        chosen |= {"target": "average", "target_rate": log(rng, -6, 1)}
    if rng.random() < 0.15:
        chosen["head_decay"] = log(rng, -3, 0)
    return chosen | decays


def outcome(given: dict, seconds: float) -> tuple[str, str]:
    """(kind, what to tell) of one draw."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", ONE, json.dumps(given)], capture_output=True, text=True, timeout=seconds
        )
    except subprocess.TimeoutExpired:
        return "slow", f"more than {seconds:g} s"
    if done.returncode:
        return "crash", (done.stderr.strip().splitlines() or ["?"])[-1][:200]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return next((kind for kind in ("failed", "impossible") if found[kind]), "well"), json.dumps(found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("draws", type=int)
    parser.add_argument("--starts", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30.0)
    asked = parser.parse_args()
    rng, counts = random.Random(asked.seed), {}
    for _ in range(asked.draws):
        given = {"model": draw_model(rng), "training": draw_training(rng), "starts": asked.starts}
        given["dim"] = int(log(rng, 1, 6)) + 6
        kind, told = outcome(given, asked.seconds)
        counts[kind] = counts.get(kind, 0) + 1
        if kind != "well":
            print(kind, told, json.dumps(given), flush=True)
    print(json.dumps(counts))
    return int(sum(count for kind, count in counts.items() if kind != "well") > 0.02 * asked.draws)


if __name__ == "__main__":
    sys.exit(main())
