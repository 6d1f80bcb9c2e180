"""The points of a phase diagram: what is drawn there and what is run, by whoever computes it.

**Starts.** Start number i of a point is drawn from a generator keyed by the seed, by the VALUES of all the point's
settings and by i (in blocks of `BLOCK`): it is the same with and without the head (so the two are compared on equal
starts), whoever computes it, in whichever grid the point occurs, however many seeds are asked for; two points share
nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.ensembles import hidden
from dynlab.ensembles.ensemble import flow_frame, piece_frame
from dynlab.ensembles.ensemble_store import physics_key
from dynlab.machine import closure
from dynlab.maps.point_store import BLOCK_COLUMNS
from dynlab.population.choices import default_end
from dynlab.population.order_parameters import OrderParameters, draw_order_parameters
from dynlab.population.outcomes import OUTCOMES
from dynlab.population.scaling import horizon
from dynlab.settings.model import LATER, Model
from dynlab.settings.training import Training

if TYPE_CHECKING:
    import pandas as pd

BLOCK = 16  # starts drawn from one generator


@cache
def sources_key() -> str:
    """Hash of the sources that decide the numbers of a point: the physics, and how starts are drawn."""
    return hashlib.sha256(physics_key().encode() + closure.digest_of(__name__)).hexdigest()


@dataclass(frozen=True)
class MapPoint:
    """One point of a grid: a model, the dimension, the head's rate, the end of the training (None: to rest)."""

    model: Model
    dim: int
    eta_head: float
    until: float | None

    def key(self, seed: int, block: int) -> list[int]:
        """What the generator of a block of starts is seeded with.

        Settings that the model has since got count only where they are not the defaults: a map keeps its starts.
        """
        given, plain = asdict(self.model), asdict(Model(strengths=self.model.strengths))
        kept = {name: value for name, value in given.items() if name not in LATER or value != plain[name]}
        text = json.dumps(asdict(self) | {"model": kept}, sort_keys=True)
        return [seed, int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little"), block]


def run_jobs(jobs: Sequence[tuple[MapPoint, str, int, int]], seed: int, rtol: float, where: str = "cpu") -> tuple[str, list]:
    """Run jobs (point, head, first, stop), anywhere: (key of the sources, [(outcomes, columns)] as the store takes them).

    where: "cpu", or "cuda": then all at once.
    """
    if where == "cpu":
        return sources_key(), [_run(*job, seed, rtol) for job in jobs]
    return sources_key(), _run_together(jobs, seed, rtol)


def _run(point: MapPoint, head: str, first: int, stop: int, seed: int, rtol: float) -> tuple[np.ndarray, np.ndarray]:
    training, numbers = Training(head=head, eta_head=point.eta_head), np.arange(first, stop)
    end = default_end(point.model, point.dim, "flow", 1.0) if point.until is None else point.until
    run: dict[str, Any] = {"until": end, "rtol": rtol, "settle": point.until is None}
    if point.model.layered:
        return _kept(hidden.layered_frame(point.model, training, numbers, layered_starts(point, seed, first, stop), **run))
    return _kept(flow_frame(point.model, training, numbers, *starts(point, seed, first, stop), **run))


def _run_together(jobs: Sequence[tuple[MapPoint, str, int, int]], seed: int, rtol: float) -> list:
    """All jobs, whose points share activation and whether they run to rest, in one launch on the device."""
    from dynlab.population.pair import cuda, flow

    groups, pieces = [], []
    for point, head, first, stop in jobs:
        signal, gram = starts(point, seed, first, stop)
        model, training = point.model, Training(head=head, eta_head=point.eta_head)
        z, side = flow.encode_arrays(model, signal, gram, np.tile(np.eye(model.neurons), (len(signal), 1, 1)))
        end = horizon(model, point.dim) if point.until is None else point.until
        groups.append(cuda.Group(model, z, side, training.head_rate, end))
        pieces.append((model, training, np.arange(first, stop)))
    settle = jobs[0][0].until is None
    result = cuda.run_groups(groups, rtol=rtol, settle=settle)
    made, begun = [], 0
    for group, piece in zip(groups, pieces, strict=True):
        stop = begun + len(group.starts)
        made.append(_kept(piece_frame(*piece, (group.starts, group.sides, result.part(begun, stop)), settle)))
        begun = stop
    return made


def _kept(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """What the store keeps of a table."""
    codes = {name: code for code, name in enumerate(OUTCOMES)}
    outcomes = np.array([codes[name] for name in frame["outcome"]], np.uint8)
    return outcomes, np.array([frame[name].to_numpy(dtype=float) for name in BLOCK_COLUMNS])


def starts(point: MapPoint, seed: int, first: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    """Starts number first ... stop - 1 of a point: signal (N, m, K), noise Gram matrices (N, m, m)."""
    blocks = [_block(point, seed, number) for number in range(first // BLOCK, (stop - 1) // BLOCK + 1)]
    inside = slice(first % BLOCK, first % BLOCK + stop - first)
    signal, gram = (np.concatenate(part)[inside] for part in zip(*blocks, strict=True))
    return signal, gram


def layered_starts(point: MapPoint, seed: int, first: int, stop: int) -> list[OrderParameters]:
    """The same of a point whose neurons have hidden units, readouts among them."""
    blocks = [_layered_block(point, seed, number) for number in range(first // BLOCK, (stop - 1) // BLOCK + 1)]
    return [start for block in blocks for start in block][first % BLOCK :][: stop - first]


@lru_cache(maxsize=256)
def _layered_block(point: MapPoint, seed: int, number: int) -> list[OrderParameters]:
    rng = np.random.default_rng(point.key(seed, number))
    return [OrderParameters.sample(point.model, point.dim, rng) for _ in range(BLOCK)]


@lru_cache(maxsize=256)
def _block(point: MapPoint, seed: int, number: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(point.key(seed, number))
    signal, gram = zip(*(draw_order_parameters(point.model, point.dim, rng) for _ in range(BLOCK)), strict=True)
    return np.array(signal), np.array(gram)
