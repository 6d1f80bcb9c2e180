"""Methods of pictures on speech: their recipes, what is measured of a run, and the gate of each.

A method's recipe says what its objective, head and target are; encoder, views, optimiser and budget are those of
`speech-small`, the same for all. Its **gate**: of a method that must gain on pictures (`least_gain`) no run diverged or
collapsed (`dynlab.images.verdict`), and the equal error rate of the encoder, as a mean over seeds, is below the random
encoder's; of one that must not (`most_gain`), which is training without a head, every run collapsed.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from dynlab.images.comparison.measured_runs import OtherData
from dynlab.images.recipes.recipe_files import KNOWN_RECIPES, Recipe
from dynlab.images.settings import SPEECH, Pretraining, pretraining
from dynlab.sounds.speech_set import SpeechSet, load_speech
from dynlab.sounds.speech_worth import appraise_speech
from dynlab.sounds.verification import trials_of

COMMON = "speech-small"  # the recipe whose settings all methods share


def recipe_on_speech(recipe: Recipe) -> Recipe:
    """A method's recipe on speech; one that is on speech already stays as it is."""
    if recipe.settings.get("dataset") == SPEECH:
        return recipe
    return replace(recipe, settings={**recipe.settings, **KNOWN_RECIPES[COMMON].settings})


def speech_to_compare_on(base: Pretraining, folder: Path) -> tuple[SpeechSet]:
    """(The recordings,) of runs with the settings `base`, read once."""
    return (_loaded(folder, base.pattern, base.held_out, base.rate, base.bands, base.joined),)


@cache
def _loaded(
    folder: Path, pattern: str | None, held_out: str | None, rate: int | None, bands: int | None, joined: float | None
) -> SpeechSet:
    heard: dict[str, Any] = {"pattern": pattern, "held_out": held_out, "rate": rate, "bands": bands, "joined": joined}
    return load_speech(pretraining(dataset=SPEECH, **heard), folder)


def measured_on_speech(settings: Pretraining, weights: dict, data: tuple[SpeechSet], which: tuple[str, str]) -> list[dict]:
    """Rows of `appraise_speech` without curves; probe and knn are at telling speakers."""
    from dynlab.images import layers

    rows = appraise_speech(settings, weights, data[0], trials_of(data[0].test), which, layers)
    return [
        {name: value for name, value in row.items() if name != "curve"}
        | {"probe": row["speaker_probe"], "knn": row["speaker_knn"]}
        for row in rows
    ]


def gate_on_speech(recipe: Recipe, method: str, reference: str, by: pd.DataFrame, seen: pd.DataFrame) -> tuple[bool, str]:
    """(Whether the gate is passed, the number and its bound in words).

    method, reference: as the table calls the recipe and the random encoder. by: means, by method and representation. seen:
    verdicts, a row a run.
    """
    own = seen[seen["method"] == method]
    if recipe.least_gain is None:
        others = [f"seed {row.seed} {row.verdict}" for row in own.itertuples() if row.verdict != "collapsed"]
        return (False, f"must collapse: {', '.join(others)}") if others else (True, "collapsed, as it must")
    bad = [f"seed {row.seed} {row.verdict}" for row in own.itertuples() if row.verdict in ("diverged", "collapsed")]
    if bad:
        return False, ", ".join(bad)
    rate, bound = by.loc[(method, "encoder"), "eer"], by.loc[(reference, "encoder"), "eer"]
    return bool(rate < bound), f"equal error rate {rate:.3f}, must be below {bound:.3f}, the random encoder's"


ON_SPEECH = OtherData(speech_to_compare_on, measured_on_speech, gate_on_speech, __name__)
