"""What embeddings look like, and a verdict with its bounds: `dynlab.diagnose`.

**Ranks.** exp(entropy) of eigenvalues over their sum: of the correlation matrix (`rank`, the theory's), of the covariance
matrix (`covariance_rank`), and of its square roots, the singular values (`singular_rank`, Roy & Vetterli 2007).
**Directions.** With u = z/|z|, the deviation of u, mean over outputs (1/sqrt(m) where u is spread over the sphere, 0 at one
direction; Chen & He 2021), alignment <|u - u'|^2> with a target and uniformity log <exp(-2 |u_a - u_b|^2)> over pairs of
rows (Wang & Isola 2020). **Offset of rows.** A softmax does not see the mean of a row: the share of the energy that is in
it, rank and correlation without it.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.embeddings import passes, remarks
from dynlab.embeddings.findings import EmbeddingDiagnosis
from dynlab.embeddings.given import Embeddings, embeddings
from dynlab.embeddings.head_phase import head_state
from dynlab.embeddings.standing import verdict_on
from dynlab.images.worth.ranks import entropy_rank
from dynlab.population import moments
from dynlab.tools.checks import SettingError

if TYPE_CHECKING:
    from dynlab.embeddings.arrays import OnDisk
    from dynlab.images.worth.accuracy import Accuracy
    from dynlab.tools.types import Array

BANK, ASKED = 10_000, 2_500  # rows of the nearest neighbours, and rows that are asked
VOTERS = 50  # one row in so many votes, at most 200


def diagnose(z: Any, head: Any = None, target: Any = None, labels: Any = None) -> EmbeddingDiagnosis:
    """Look at embeddings: ranks, spectrum, correlations, directions, the head, and whether they have collapsed.

    Parameters
    ----------
    z : (n, m) array or tensor, a row for each input, n >= 2, or (T, n, m), a stack of steps, of which the last one is
        diagnosed and all are followed. Integers or floats of any size. Or the name of a file: npy (read in blocks, never as
        a whole), npz, csv, parquet, safetensors.
    head : (m, m) array, the matrix E of a linear head F = E z (in PyTorch the `weight` of nn.Linear), or a stack (T, m, m);
        or the name of a file.
    target : (n, m) array, what z is compared with, row by row (the other view's z); or the name of a file.
    labels : (n,) integers or words; or the name of a file. Then nearest neighbours are asked: every fifth row, among the
        others.

    Returns
    -------
    EmbeddingDiagnosis : numbers, `text` and `plot()`.

    Raises SettingError of one line for what is no such array, holds nan or infinity (counted), or does not fit z;
    FolderError for a file that cannot be read.
    """
    try:
        return _diagnosed(embeddings(z, head, target, labels))
    except SettingError as error:
        path = {"z": z, "head": head, "target": target, "labels": labels}.get(error.name)
        if isinstance(path, str | os.PathLike) and os.fspath(path) != error.value:  # a file is named, and what it holds
            raise SettingError(error.name, os.fspath(path), f"{error.allowed}; found: {error.value}") from None
        raise


def _diagnosed(given: Embeddings) -> EmbeddingDiagnosis:
    """Of checked input."""
    found = passes.cloud("z", given.last)
    n, m = found.rows, len(found.covariance)
    matrix, rank, correlation = look(found.covariance)
    spectrum = eigenvalues(found)
    centred, share = passes.without_row_means("z", given.last, found)
    _, row_rank, row_correlation = look(centred)
    uniform, pairs = passes.uniformity(given.last)
    past = [_followed(step) for step in given.steps[:-1]] + [(rank, correlation)]
    verdict, why = verdict_on(rank, correlation, found.unit_sd, n, m)
    made = EmbeddingDiagnosis(
        rows=n, outputs=m, steps=len(given.steps), verdict=verdict, why=why, rank=rank,
        covariance_rank=entropy_rank(spectrum), singular_rank=entropy_rank(np.sqrt(spectrum)), spectrum=spectrum,
        mean_abs_correlation=correlation, dead=int((~found.alive).sum()), unit_sd=found.unit_sd,
        alignment=math.nan if given.target is None else passes.alignment(given.last, given.target), uniformity=uniform,
        pairs=pairs, row_share=share, row_rank=row_rank, row_correlation=row_correlation,
        head=None if given.head is None else head_state(given.head), knn=_knn(given),
        ranks=tuple(one for one, _ in past), correlations=tuple(one for _, one in past), correlation_matrix=matrix,
        head_matrix=None if given.head is None else given.head[-1],
    )  # fmt: skip
    return replace(made, lines=tuple(remarks.lines(made)))


def look(covariance: Array) -> tuple[Array, float, float]:
    """(Correlations (m, m), their effective rank, mean |correlation| over pairs that vary) of a covariance (m, m)."""
    matrix = moments.correlations(covariance)
    alive = np.diagonal(covariance) > 0.0
    pairs = int(alive.sum()) * (int(alive.sum()) - 1)
    mean = float((np.abs(matrix).sum() - np.abs(np.diagonal(matrix)).sum()) / pairs) if pairs else math.nan
    return matrix, float(moments.spectral_rank(matrix)), mean


def eigenvalues(found: passes.Cloud) -> Array:
    """Eigenvalues (m,) of the covariances over their sum, largest first; what is of the size of rounding is 0."""
    m, alive = len(found.alive), found.alive
    values = np.zeros(m)
    if alive.any():
        some = np.linalg.eigvalsh(found.covariance[np.ix_(alive, alive)])[::-1]
        some[some <= found.resolved * some[0]] = 0.0
        values[: len(some)] = some / some.sum()
    return values


def _followed(z: Array | OnDisk) -> tuple[float, float]:
    """Rank and mean |correlation| of one step."""
    return look(passes.cloud("z", z).covariance)[1:]


def _knn(given: Embeddings) -> Accuracy | None:
    """Nearest neighbours: every fifth row, among the others, of at most so many rows spread evenly."""
    if given.labels is None:
        return None
    from dynlab.images.worth.knn import knn

    n = given.last.shape[0]
    most = BANK + ASKED
    places = np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.int64)
    asked = np.arange(len(places)) % 5 == 4 if len(places) >= 5 else np.arange(len(places)) == len(places) - 1
    rows = passes.unit_rows(np.asarray(given.last[places], dtype=np.float64)).astype(np.float32)
    labels = given.labels[places]
    bank = rows[~asked]
    return knn(bank, labels[~asked], rows[asked], labels[asked], k=min(200, max(1, len(bank) // VOTERS)))
