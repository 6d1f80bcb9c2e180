"""The numbers on the page of the methods, and what the recipes say is known of them, are those of the recorded runs."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import dynlab
import figures
from dynlab.images.recipes.recipe_files import KNOWN_RECIPES

PAGE = (Path(dynlab.__file__).parent / "docs" / "methods.md").read_text(encoding="utf-8")
RUNS = pd.read_csv(Path(figures.__file__).parent / "pictures" / "methods.csv")
COLUMNS = (("encoder", "probe", 3), None, ("z", "probe", 3), ("encoder", "knn", 3), ("z", "singular_rank", 1),
           ("z", "correlation", 2), ("z", "unit_sd", 3))  # fmt: skip
ROWS = {cells[0]: cells[1:] for line in PAGE.splitlines() if len(cells := line.strip("| ").split(" | ")) == 8}
STUDENT = 4.302652729911275  # 97.5 % of Student's t with two degrees of freedom


def said(method: str, representation: str, column: str, digits: int) -> tuple[str, str]:
    """Mean and half of the interval over the three seeds, as the page writes them."""
    values = RUNS[(RUNS["method"] == method) & (RUNS["representation"] == representation)][column].to_numpy(float)
    assert len(values) == 3
    half = STUDENT * np.sqrt(((values - values.mean()) ** 2).sum() / 2.0 / 3.0)
    shown = [f"{number:.{digits}f}" for number in (values.mean(), half)]
    mean, half = (word.removeprefix("0") for word in shown) if digits == 3 else shown
    return mean, half


@pytest.mark.parametrize("method", dict.fromkeys(RUNS["method"]))
def test_numbers_of_the_page_are_those_of_the_runs(method):
    floor = RUNS[(RUNS["method"] == "random encoder") & (RUNS["representation"] == "encoder")]["probe"].mean()
    gain = RUNS[(RUNS["method"] == method) & (RUNS["representation"] == "encoder")]["probe"].mean() - floor
    for cell, column in zip(ROWS[method], COLUMNS, strict=True):
        if column is not None:
            assert cell == " ± ".join(said(method, *column)), (method, column)
        elif method != "random encoder":
            assert float(re.match(r"[+-]\.\d{3}", cell)[0]) == pytest.approx(gain, abs=5e-4)


@pytest.mark.parametrize("name", [name for name in KNOWN_RECIPES if name.startswith("small-")])
def test_a_recipe_knows_its_result(name):
    recipe = KNOWN_RECIPES[name]
    probe, rank = said(recipe.method, "encoder", "probe", 3), said(recipe.method, "z", "singular_rank", 1)
    assert recipe.known == f"probe {' ± '.join(probe)}, rank of z {rank[0]}"
    gate = ROWS[recipe.method][1].partition(" (")[2].rstrip(")")
    assert gate == ("below 0" if recipe.most_gain is not None else f"{recipe.least_gain:+.2f}".replace("0.", "."))


def test_published_numbers_of_the_page_are_those_of_the_recipes():
    for name, recipe in KNOWN_RECIPES.items():
        if recipe.published and not name.startswith("small-"):
            told = " | ".join(recipe.published[key] for key in ("result", "protocol", "source"))
            assert f"| `{name}` | {told} |" in PAGE, name
