"""All methods under one budget on CIFAR-10: what the features are worth, and what shape z has."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from dynlab.drawing import method_comparison

from .parts import read, save, settings_of, write

NAME = "methods"
TITLE = "What the features are worth under one budget, by method"
RECORDED = Path(__file__).parent / "pictures" / "methods.csv"  # runs.csv of `dynlab methods --data DIR`
RANDOM = "random encoder"
GAINS = {"DINO": 0.06}  # at least, of the probe on the encoder over the random encoder's
GAIN = 0.08  # of the other methods
ALONE, ASKED = "decorrelation alone", 0.03  # which it does not reach


def settings(fast: bool) -> dict:
    return {"dataset": "cifar10", "encoder": "demo", "steps": 1501, "batch": 128, "lr": 0.003, "seeds": 3}


def compute(settings: dict, folder: Path) -> None:
    """The recorded runs: to make them takes an hour."""
    write(NAME, folder, pd.read_csv(RECORDED, keep_default_na=False, na_values=["nan"]))


def claim(data: pd.DataFrame) -> None:
    """Every method but one gains on the random encoder by its gate, with z of rank above 4 and no collapse; decorrelation
    alone gains less than its gate asks; without a head the encoder is worse than it was at random, and z is collapsed."""
    means = data.groupby(["method", "representation"])[["probe", "singular_rank"]].mean()
    floor = means.loc[(RANDOM, "encoder"), "probe"]
    methods = [name for name in dict.fromkeys(data["method"]) if name not in (RANDOM, "no head")]
    assert len(methods) == 10, "all methods"
    assert (data.groupby(["method", "representation"])["seed"].nunique() == 3).all(), "three seeds of each"
    for name in methods:
        gain = means.loc[(name, "encoder"), "probe"] - floor
        enough = gain >= GAINS.get(name, GAIN) if name != ALONE else 0.0 < gain < ASKED
        assert enough, f"{name}: probe {gain:+.3f} against the random encoder"
        assert means.loc[(name, "z"), "singular_rank"] > 4.0, f"{name}: rank of z"
        assert set(data.loc[data["method"] == name, "verdict"]) <= {"healthy", "unclear"}, f"{name}: collapsed"
    assert means.loc[("no head", "encoder"), "probe"] < floor, "without a head: worse than at random"
    assert means.loc[("no head", "z"), "singular_rank"] < 2.0, "without a head: collapsed"
    assert set(data.loc[data["method"] == "no head", "verdict"]) == {"collapsed"}


def draw(folder: Path) -> None:
    runs, given = read(NAME, folder), settings_of(NAME, folder)
    said = f"CIFAR-10, encoder {given['encoder']}, {given['steps']} steps of {given['batch']} pictures, Adam {given['lr']:g}"
    save(method_comparison.methods(runs, said), NAME, folder)
