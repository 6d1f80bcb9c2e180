"""A run explained: numbers, phases, advice and their words."""

from __future__ import annotations

import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dynlab.settings.model import without_correlation
from dynlab.tools.checks import SettingError, real, require
from dynlab.tools.files import expanded

if TYPE_CHECKING:
    from dynlab.explanation.advice import Suggestion, Trial
    from dynlab.explanation.diagnosis import Diagnosis
    from dynlab.explanation.layered import LayeredFinding
    from dynlab.explanation.noise import GradientNoise
    from dynlab.explanation.pictures import PictureFinding
    from dynlab.explanation.recorded import RecordedRun
    from dynlab.explanation.shares import Shares
    from dynlab.explanation.watched import WatchedFinding


@dataclass(frozen=True, eq=False)
class Explained:
    """One trajectory: the numbers, and `lines` made from them."""

    finding: Diagnosis | LayeredFinding | PictureFinding | WatchedFinding
    shares: Shares | None
    noise: GradientNoise | None
    suggestions: list[Suggestion]
    trials: list[Trial]
    lines: list[str] = field(repr=False)

    def __repr__(self) -> str:
        return f"Explained({self.lines[0]})"


@dataclass(frozen=True, eq=False)
class Explanation:
    """What `explain` found: `runs`, one for each trajectory, and their `text`."""

    place: Path
    runs: list[Explained]

    @property
    def text(self) -> str:
        """All lines, an empty one between runs."""
        return "\n\n".join("\n".join(run.lines) for run in self.runs)

    def __repr__(self) -> str:
        return f"Explanation({str(self.place)!r}, {len(self.runs)} runs)"

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.text)}</pre>"


def explain(
    place: Path | str, *, at: float | None = None, activation: str | None = None, head: str | None = None,
    trial: bool = False, workers: int | None = None,
) -> Explanation:  # fmt: skip
    """Explain the run in a folder.

    Parameters
    ----------
    place : folder of a run of dynlab.run, dynlab.compare, dynlab.pretrain or dynlab.Monitor (the last two finished or not).
    at : time of the flow, step of a run on finite samples or of a monitor, or epoch of one on pictures (None: the end).
    activation, head : of the trajectories to explain (None: all).
    trial : try every suggestion on `advice.STARTS` starts of the exact flow; the theory's runs only.
    workers : threads for that (None: all).

    Raises FolderError of one line where the folder holds no such run or is damaged, SettingError for a choice that it lacks.
    """
    from dynlab.explanation import recorded

    place = expanded(place)
    record = recorded.record_of(place)
    kind = recorded.kind_of(place, record)
    at = None if at is None else real("at", at, at_least=0.0)
    if kind in ("pictures", "watched"):
        what = "a run on pictures" if kind == "pictures" else "a folder of dynlab.Monitor"
        for name, asked in (("activation", activation), ("head", head)):
            require(asked is None, name, asked, f"left out for {what}")
        require(not trial, "try", True, f"left out for {what}")
        return Explanation(place, [_of_embeddings(kind, place, record, at)])
    if any(_layered(given) for given in (record["models"] if kind == "samples" else [record["settings"]])):
        from dynlab.explanation import layered, layered_samples

        require(not trial, "try", True, "left out for a run with hidden units")
        find = layered_samples.sampled_findings if kind == "samples" else layered.findings
        told = find(place, record, activation, head, at)
        return Explanation(place, [Explained(finding, None, None, [], [], lines) for finding, lines in told])
    reader = recorded.main_runs if kind == "main" else recorded.sample_runs
    return Explanation(place, [_explained(run, at, trial, workers) for run in reader(place, record, activation, head)])


def _layered(given: dict) -> bool:
    """Whether neurons have hidden units, by the recorded settings of a model."""
    return given.get("hidden", 1) != 1 or given.get("readout", "fixed") != "fixed"


def _of_embeddings(kind: str, place: Path, record: dict, at: float | None) -> Explained:
    """A run of which there are records of z, on pictures or in somebody's own loop."""
    from dynlab.explanation import pictures, watched

    if kind == "pictures":
        of_pictures = pictures.diagnose_pictures(place, record, at)
        return Explained(of_pictures, None, None, [], [], pictures.lines(of_pictures))
    finding = watched.diagnose_watched(place, record, at)
    return Explained(finding, None, None, [], [], watched.lines(finding))


def _explained(run: RecordedRun, at: float | None, trial: bool, workers: int | None) -> Explained:
    """One trajectory of the theory or of finite samples."""
    from dynlab.explanation import advice, diagnosis, noise, shares, story, words

    if at is not None:
        at = at * run.pace
        last = run.time[-1]
        if at > last:
            raise SettingError("at", at / run.pace, f"at most {last / run.pace:.6g}, where {_name(run)} ends")
    without_correlation(run.model, "explain, whose forces on signals are of orthonormal features")
    finding = diagnosis.diagnose(run, at)
    found = shares.shares(run)
    suggested = advice.suggestions(finding)
    trials = [advice.try_out(run, one, workers) for one in suggested] if trial else []
    measured = run.sampled and run.optimiser == "sgd" and finding.phase != "vanished"
    shown = noise.gradient_noise(run, finding.index) if measured else None
    lines = [words.title(finding), words.headline(finding), *story.story(finding)]
    if at is not None or finding.phase not in diagnosis.SETTLED:
        lines += words.force_lines(finding)
    lines += story.ahead(finding)
    if shown is not None:
        lines.append(words.told_noise(finding, shown))
    if found is not None:
        lines += words.told_shares(finding, found)
    lines += [*words.advice(finding, suggested), *(words.tried(one) for one in trials)]
    return Explained(finding, found, shown, suggested, trials, words.wrapped(lines))


def _name(run: RecordedRun) -> str:
    return f"{run.model.activation}, head {run.training.head}"
