"""What features look like: spectrum, ranks, correlations."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynlab.images.worth.accuracy import _checked
from dynlab.images.worth.ranks import entropy_rank, varying
from dynlab.population import moments
from dynlab.tools import show

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Shape:
    """What a cloud of features looks like; see the module for rank, covariance_rank, singular_rank.

    mean_abs_correlation: over pairs of features. dead: how many features are constant. spectrum: eigenvalues of the
    covariances, largest first. protocol: how it was found, in words.
    """

    rank: float
    covariance_rank: float
    singular_rank: float
    mean_abs_correlation: float
    dead: int
    spectrum: tuple[float, ...]
    protocol: str

    def __repr__(self) -> str:
        ranks = f"rank {self.rank:.4g} of {len(self.spectrum)}, singular {self.singular_rank:.4g}"
        return f"Shape({ranks}, mean |correlation| {self.mean_abs_correlation:.4g}, {self.dead} dead)"

    def _repr_html_(self) -> str:
        names = ("rank", "covariance_rank", "singular_rank", "mean_abs_correlation", "dead", "protocol")
        return show.pairs_table({name: getattr(self, name) for name in names}, f"Shape of {len(self.spectrum)} features")

    def as_json(self) -> dict:
        """Plain values; a correlation that there is none of (fewer than two features vary) is None."""
        correlation = None if np.isnan(self.mean_abs_correlation) else self.mean_abs_correlation
        return asdict(self) | {"mean_abs_correlation": correlation, "spectrum": list(self.spectrum)}


def shape(features: ArrayLike) -> Shape:
    """Spectrum, ranks and correlations of features (n, d)."""
    features = _checked("features", features)
    alive = varying(features)
    centred = features.astype(np.float64)
    centred -= centred.mean(0)
    centred[:, ~alive] = 0.0  # not what rounding leaves of a constant
    covariance = centred.T @ centred / len(centred)
    spectrum = np.zeros(len(alive))
    spectrum[: alive.sum()] = np.linalg.eigvalsh(covariance[np.ix_(alive, alive)])[::-1]
    # What is left of an eigenvalue 0 is of the size of rounding in n products and d rotations, of either sign.
    spectrum[spectrum <= max(features.shape) * np.finfo(np.float64).eps * spectrum[0]] = 0.0
    sd = np.sqrt(np.diagonal(covariance)[alive])
    correlation = np.abs(covariance[np.ix_(alive, alive)] / np.outer(sd, sd))
    pairs = len(sd) * (len(sd) - 1)
    return Shape(
        rank=float(moments.correlation_rank(covariance)),
        covariance_rank=entropy_rank(spectrum),
        singular_rank=entropy_rank(np.sqrt(spectrum)),
        mean_abs_correlation=float((correlation.sum() - np.trace(correlation)) / pairs) if pairs else float("nan"),
        dead=int((~alive).sum()),
        spectrum=tuple(float(x) for x in spectrum),
        protocol=(
            f"of {features.shape[0]} pictures and {features.shape[1]} features: rank = exp(entropy of the eigenvalues of "
            "the correlation matrix over their number), covariance_rank the same of the covariance matrix's over their sum, "
            "singular_rank of their square roots (Roy & Vetterli 2007); "
            "mean absolute correlation over pairs of features that vary"
        ),
    )
