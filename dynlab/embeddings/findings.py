"""The record of a diagnosis."""

from __future__ import annotations

import html
import math
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from dynlab.embeddings.head_phase import HeadState
from dynlab.tools import plots, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dynlab.images.worth.accuracy import Accuracy
    from dynlab.tools.types import Array


@dataclass(frozen=True, eq=False)
class EmbeddingDiagnosis:
    """What was found in z (n, m), of the last step where a stack was given.

    rows, outputs, steps : n, m and the number of steps.
    verdict, why : "collapsed", "one direction", "unclear" or "healthy"; the numbers and bounds that it comes from.
    rank, covariance_rank, singular_rank : effective ranks. spectrum (m,) : eigenvalues of the covariances over their sum,
    largest first. mean_abs_correlation : over pairs of outputs that vary, nan for fewer than two. dead : outputs that are
    constant.
    unit_sd : deviation of rows at unit length, mean over outputs. alignment : nan without a target. uniformity, pairs : and
    the number of pairs that it is over.
    row_share, row_rank, row_correlation : share of the energy in the rows' means; rank and correlation without them.
    head : `HeadState` or None. knn : `Accuracy` or None, with its split in words.
    ranks, correlations (T,) : at each step. correlation_matrix (m, m); head_matrix (m, m) or None.
    lines : of `text`.
    """

    rows: int
    outputs: int
    steps: int
    verdict: str
    why: str
    rank: float
    covariance_rank: float
    singular_rank: float
    spectrum: Array = field(repr=False)
    mean_abs_correlation: float
    dead: int
    unit_sd: float
    alignment: float
    uniformity: float
    pairs: int
    row_share: float
    row_rank: float
    row_correlation: float
    head: HeadState | None
    knn: Accuracy | None
    ranks: tuple[float, ...]
    correlations: tuple[float, ...]
    correlation_matrix: Array = field(repr=False)
    head_matrix: Array | None = field(repr=False)
    lines: tuple[str, ...] = field(repr=False, default=())

    def __repr__(self) -> str:
        numbers = f"rank {self.rank:.4g}, mean |correlation| {self.mean_abs_correlation:.2f}"
        return show.line("EmbeddingDiagnosis", [self.verdict, f"{self.rows} x {self.outputs}", numbers])

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(self.text)}</pre>"

    @property
    def text(self) -> str:
        """The verdict in words, the numbers, and what to change first."""
        return "\n".join(self.lines)

    def plot(self) -> Figure:
        """Spectrum, correlations and head; a matplotlib Figure that belongs to no window."""
        return plots.figure(self)

    def as_json(self) -> dict:
        """Plain values, what is not known as None; without the matrices."""
        left_out = ("correlation_matrix", "head_matrix", "head", "knn", "spectrum", "lines")
        plain = {name: value for name, value in vars(self).items() if name not in left_out}
        plain |= {"spectrum": [float(x) for x in self.spectrum], "head": None if self.head is None else asdict(self.head)}
        plain |= {"knn": None if self.knn is None else self.knn.as_json()}
        known: dict = _known(plain)
        return known


def _known(value: Any) -> Any:
    """The same with None for numbers that are not finite, which JSON cannot hold."""
    if isinstance(value, dict):
        return {name: _known(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_known(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
