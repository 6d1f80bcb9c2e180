"""Good models from all over the allowed range, and what must hold of whatever a command makes of them.

    python -m tests.faults.good_models SEED COUNT FOLDER [ACTIVATIONS]

runs `run`, `explain`, `phase` and `portrait` on so many drawn models, in this process, in new folders below FOLDER, and
prints a line for every answer that is not as it must be, then the counts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import io
import math
import random
import sys
import traceback
from pathlib import Path

import numpy as np
import pandas as pd

# Status words of the solver that are good, and those that are failures told as such.
GOOD, FAILED = {"until", "stationary", "waiting", "vanished", "singular", "cycle"}, {"steps", "underflow", "not finite"}
OUTCOMES = ("both", "only_strong", "only_weak", "neither", "waiting", "failed")
SEEDS = 6
# Settings that crashed or misled once: much noise, none, little of either, hardly any patches.
EDGES = (
    {"noise": 5.0}, {"noise": 3.0}, {"noise": 2.0, "dim": 100}, {"noise": 4.0, "weak": 0.9}, {"strong": 0.1, "weak": 0.03},
    {"noise": 0.0}, {"noise": 20.0}, {"strong": 0.01, "weak": 0.003}, {"patches": 2, "feature_patches": 1},
    {"feature_patches": 1}, {"feature_patches": 15}, {"weak": 1.0}, {"strong": 1e6, "weak": 3e5, "noise": 5e5},
)  # fmt: skip


@dataclasses.dataclass
class Drawn:
    """A model, the dimension, the head's rate: as words of a command."""

    settings: dict

    def __post_init__(self):
        self.settings.setdefault("probabilities", "0.5,0.5")

    def words(self, *names: str) -> list[str]:
        """--name value for these settings."""
        return [word for name in names for word in (f"--{name.replace('_', '-')}", f"{self.settings[name]!r}".strip("'"))]


def draw(rng: random.Random, activations: tuple[str, ...]) -> Drawn:
    """A model of two features: every number uniform in its logarithm or over what is allowed, or one of `EDGES`."""

    def size(low: float, high: float) -> float:
        return float(f"{10 ** rng.uniform(low, high):.4g}")

    strong, patches = size(-2.0, 2.0), rng.choice((4, 8, 16, 32))
    found = {
        "strong": strong, "weak": float(f"{strong * 10 ** rng.uniform(-1.3, 0.0):.4g}"), "noise": size(-2.0, 1.3),
        "patches": patches, "feature_patches": rng.randrange(1, patches), "mask": rng.choice(("half", "independent")),
        "activation": rng.choice(activations), "dim": int(size(1.0, 9.0)) + 4, "eta_head": size(-4.0, 1.0),
    }  # fmt: skip
    found["weak"] = min(found["weak"], strong)
    rare = float(f"{10 ** random.Random(repr(found)).uniform(-3.0, 0.0):.4g}") / 2.0  # from numbers of its own
    found["probabilities"] = f"{1.0 - rare!r},{rare!r}" if found["patches"] > 4 else "0.5,0.5"
    if rng.random() < 0.5:
        usual = {"strong": 1.0, "weak": 0.3, "noise": 0.5, "patches": 16, "feature_patches": 4, "mask": "half", "dim": 1000}
        found |= usual | rng.choice(EDGES)
    return Drawn(found)


def call(command: str, words: list[str]) -> tuple[int | None, str, str, str]:
    """Exit status, standard output, standard error, and an exception's text."""
    out, errors, trouble, status = io.StringIO(), io.StringIO(), "", None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(errors):
        try:
            status = importlib.import_module(f"dynlab.{command}").main(words)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        except Exception:
            trouble = traceback.format_exc(limit=-2)
    return status, out.getvalue(), errors.getvalue(), trouble


def wrong_frame(frame: pd.DataFrame) -> list[str]:
    """What does not hold of ensemble.csv."""
    found = []
    good = frame[frame["outcome"] != "failed"]
    if not set(frame["status"]) <= GOOD | FAILED:
        found.append(f"unknown status {set(frame['status']) - GOOD - FAILED}")
    if not set(frame["outcome"]) <= set(OUTCOMES):
        found.append(f"unknown outcome {set(frame['outcome']) - set(OUTCOMES)}")
    if ((frame["outcome"] == "failed") != frame["status"].isin(FAILED)).any():
        found.append("a failure that is not counted as one")
    loss = good["loss_end"].to_numpy()
    if not (np.isfinite(loss) & (loss >= -1e-9) & (loss <= 8.0 + 1e-6)).all():
        found.append(f"loss beyond [0, 8]: {loss}")
    if not (good["time_end"] > 0.0).all() or not np.isfinite(good["time_end"]).all():
        found.append("an end that is no time")
    if ((good["outcome"] == "neither") & (good["status"] == "stationary")).any():
        found.append("at rest by its status, though nothing is learnt")
    rank = good["rank"].to_numpy()
    if not ((rank >= 1.0 - 1e-9) & (rank <= 2.0 + 1e-9)).all():
        found.append(f"rank beyond [1, 2]: {rank}")
    return found


def wrong_summary(summary: pd.DataFrame) -> list[str]:
    """What does not hold of summary.csv."""
    total = summary[list(OUTCOMES)].sum(axis=1)
    found = [] if np.allclose(total, 1.0, atol=1e-12) else [f"shares sum to {total.tolist()}"]
    for name in OUTCOMES:
        if not ((summary[f"{name}_low"] <= summary[name]) & (summary[name] <= summary[f"{name}_high"])).all():
            found.append(f"{name} is outside its interval")
    return found


MODEL = ("strong", "weak", "noise", "patches", "feature_patches", "mask", "eta_head", "activation", "dim", "probabilities")


def check_run(drawn: Drawn, folder: Path, draws: bool) -> list[str]:
    """`run` with its figure, then `explain`."""
    place = str(folder / "run")
    plots = [] if draws else ["--no-plots"]
    status, out, errors, trouble = call("run", [*drawn.words(*MODEL), "--seeds", str(SEEDS), "--out", place, *plots])
    if status != 0:
        return [f"run: status {status}: {trouble or errors}"]
    found = wrong_frame(pd.read_csv(Path(place, "ensemble.csv"))) + wrong_summary(pd.read_csv(Path(place, "summary.csv")))
    for word in ("nan", "inf ", "Traceback", "Warning"):
        if word in out.replace("infinity", ""):
            found.append(f"run prints {word!r}: {out}")
    status, out, errors, trouble = call("explain", [place])
    if status != 0 or len(out) < 50:
        found.append(f"explain: status {status}: {trouble or errors}")
    return found


def check_scaling(drawn: Drawn, folder: Path) -> list[str]:
    """The outcomes of the same starts with strengths and noise eight times as large are the same."""
    from dynlab import Model, ensemble

    names = ("strong", "weak", "noise", "patches", "feature_patches", "mask", "activation")
    one = {name: drawn.settings[name] for name in names}
    one["probabilities"] = tuple(float(word) for word in drawn.settings["probabilities"].split(","))
    two = one | {name: 8.0 * one[name] for name in ("strong", "weak", "noise")}
    how = {"dim": drawn.settings["dim"], "eta_head": drawn.settings["eta_head"], "seeds": SEEDS}
    first, second = (ensemble(Model(**settings), **how) for settings in (one, two))
    same = first.frame["outcome"].tolist() == second.frame["outcome"].tolist()
    # The two horizons agree to rounding only, and with them when a start counts as at rest.
    close = math.isclose(first.settings["until"], second.settings["until"], rel_tol=1e-9)
    early = np.allclose(first.marks[:, 0], second.marks[:, 0], rtol=1e-6, equal_nan=True)
    return [] if same and close and early else ["strengths and noise eight times as large: another result"]


def check_maps(drawn: Drawn, folder: Path) -> list[str]:
    """A map of two by two points and a portrait of six by six cells around the model."""
    found = []
    fixed = ("strong", "noise", "patches", "feature_patches", "mask", "activation", "dim")
    weak = drawn.settings["weak"]
    axes = ["--x", f"weak={0.8 * weak!r}:{weak!r}:2", "--y", "eta-head=0.01:0.1:2:log", "--seeds", "4", "--no-plots"]
    status, out, errors, trouble = call("phase", [*axes, *drawn.words(*fixed), "--out", str(folder / "phase")])
    if status != 0:
        found.append(f"phase: status {status}: {trouble or errors}")
    names = ("strong", "weak", "noise", "patches", "feature_patches", "mask", "activation", "probabilities")
    small = ["--points", "6", "--trajectories", "4", "--no-plots", "--out", str(folder / "portrait")]
    status, out, errors, trouble = call("portrait", [*drawn.words(*names), *small])
    if status != 0:
        found.append(f"portrait: status {status}: {trouble or errors}")
    return found


def check(drawn: Drawn, folder: Path, maps: bool = True, draws: bool = False) -> list[str]:
    """All that does not hold of a model; the folder is made."""
    folder.mkdir(parents=True)
    found = check_run(drawn, folder, draws) + check_scaling(drawn, folder)
    return found + (check_maps(drawn, folder) if maps else [])


def main(words: list[str]) -> int:
    """As the module's head says."""
    seed, count, place = int(words[0]), int(words[1]), Path(words[2])
    activations = tuple(words[3].split(",")) if len(words) > 3 else ("cubic", "relu", "relu3", "linear")
    rng, bad = random.Random(seed), 0
    for number in range(count):
        drawn = draw(rng, activations)
        found = check(drawn, place / str(number))
        bad += bool(found)
        for line in found:
            print(f"{number} {drawn.settings}\n    {line}", flush=True)
    print(f"{count - bad} of {count} well")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
