"""A diagnosis in words: the verdict first, then the numbers it comes from, then what to change first."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dynlab.embeddings.head_phase import LENDS_NOTHING
from dynlab.embeddings.standing import RIGHT, WORDS, standing
from dynlab.images.verdict import POINT
from dynlab.tools import show
from dynlab.tools.intervals import wilson

if TYPE_CHECKING:
    from dynlab.embeddings.findings import EmbeddingDiagnosis

WIDTH = 100  # characters of a line
MOST_OF_IT = 0.9  # share of the spectrum that is counted in eigenvalues
UNSEEN = 0.1  # share of the energy in rows' means from which on it is told


@dataclass(frozen=True)
class Change:
    """What to change first: why, as options of dynlab pretrain, and as a setting of PyTorch in words."""

    why: str
    options: str
    torch: str


STOP = Change(
    "no gradient may flow into the target's side, and a head is needed as well: in the example of the page neither alone "
    "kept z from collapsing, both did (three seeds of three)",
    "--stop-gradient target", "compare with z2.detach(), or compute z2 under torch.no_grad()",
)  # fmt: skip
HEAD = Change(
    "a loss that only pulls two views together needs a prediction head on the online side alone (without one every seed "
    "of the table of heads collapsed, with one none did); losses that push apart by themselves need none",
    "--head off-diagonal --head-start identity",
    "head = nn.Linear(m, m, bias=False), nn.init.eye_(head.weight), and compare head(z1) with z2.detach()",
)  # fmt: skip
FASTER = Change(
    "the head lends nothing: it does not train, or too slowly",
    "--head-lr 1 --head-decay 0",
    "give head.parameters() to the optimiser, at the encoder's rate or above it, with weight_decay=0",
)  # fmt: skip
SLOWER = Change("then the rate", "--lr 0.0003", "a tenth of the learning rate")
CENTRE = Change(
    "an offset that all rows share fills the vectors of unit length",
    "--projector-norm batch", "nn.BatchNorm1d(m, affine=False) after the projector's last layer",
)  # fmt: skip


def changes(found: EmbeddingDiagnosis) -> list[Change]:
    """What to change, the first thing first; nothing for embeddings that are healthy or of which nothing can be told."""
    if found.verdict == "one direction":
        return [CENTRE]
    if found.verdict != "collapsed":
        return []
    if found.head is None:
        return [HEAD, STOP]
    return [FASTER, STOP] if found.head.lent < LENDS_NOTHING else [STOP, SLOWER]


def lines(found: EmbeddingDiagnosis) -> list[str]:
    """All there is to say."""
    steps = f", the last of {found.steps} steps" if found.steps > 1 else ""
    out = [f"z: {found.rows} rows of {found.outputs} outputs{steps}", f"{WORDS[found.verdict]}: {found.why}."]
    numbers = [*_worth(found), *_shape(found), *_directions(found), *_offset(found), *_head(found), *_past(found)]
    if found.knn is not None:
        low, high = found.knn.interval
        numbers.append(
            f"Nearest neighbours: {found.knn.share:.3f} right (95 %: {low:.3f} to {high:.3f}); every fifth row is asked, "
            f"the others vote: {found.knn.protocol.partition(': ')[2].replace('pictures', 'rows')}."
        )
    out += numbers
    first = changes(found)
    if not first and found.verdict == "healthy":
        out.append("Nothing needs changing by these numbers.")
    for word, change in zip(("Change first", "Then", "Then"), first, strict=False):
        out.append(f"{word}: {change.why}. In dynlab pretrain: {change.options}. In PyTorch: {change.torch}.")
    return [row for i, text in enumerate(out) for row in show.paragraph(text, WIDTH, **({} if i < 2 else INDENTED))]


INDENTED = {"initial_indent": "  ", "subsequent_indent": "    "}


def _worth(found: EmbeddingDiagnosis) -> list[str]:
    """How often this verdict was right."""
    if found.verdict not in RIGHT:
        return []
    right, total, what = RIGHT[found.verdict]
    low, high = wilson(right, total)
    return [
        f"How far to trust it: of {total} runs on pictures with this verdict, {right} {what} (95 %: {100 * low:.0f} to "
        f"{100 * high:.0f} %); the page on diagnosing has the table."
    ]


def _shape(found: EmbeddingDiagnosis) -> list[str]:
    ranks = f"rank {found.rank:.3g} of the correlations, {found.covariance_rank:.3g} of the covariances, "
    ranks += f"{found.singular_rank:.3g} of the singular values, of {found.outputs}"
    held = np.cumsum(found.spectrum)
    many = int(np.searchsorted(held, MOST_OF_IT) + 1)
    first = (
        f"; the first eigenvalue holds {show.percent(float(found.spectrum[0]))}, {many} hold 90 %" if held[-1] > 0 else ""
    )
    dead = f"{found.dead} outputs are constant" if found.dead != 1 else "1 output is constant"
    mean = "" if math.isnan(found.mean_abs_correlation) else f"mean |correlation| {found.mean_abs_correlation:.3f}; "
    return [f"Spectrum: {ranks}{first}.", f"Outputs: {mean}{dead}."]


def _directions(found: EmbeddingDiagnosis) -> list[str]:
    full = found.outputs**-0.5
    text = f"Directions: at unit length z varies by {found.unit_sd:.3g} (over the whole sphere: {full:.3g}); uniformity "
    text += f"{found.uniformity:.3g} over {found.pairs} pairs"
    text += (
        "" if math.isnan(found.alignment) else f"; alignment with the target {found.alignment:.3g} (0: equal, 2: unrelated)"
    )
    narrow = found.unit_sd < POINT * full and found.verdict in ("collapsed", "one direction")
    return [text + (", so that a loss of directions sees one point." if narrow else ".")]


def _offset(found: EmbeddingDiagnosis) -> list[str]:
    """What a softmax does not see, where it is much or changes the verdict."""
    without = standing(found.row_rank, found.row_correlation, min(found.outputs - 1, found.rows - 1))
    if found.outputs < 3 or not (found.row_share >= UNSEEN or without != found.verdict):
        return []
    text = f"Offset of rows: {show.percent(found.row_share)} of the energy is in the means of rows, which a softmax (DINO) "
    text += f"does not see; without them rank {found.row_rank:.3g}, mean |correlation| {found.row_correlation:.2f}"
    return [text + (", which would be collapsed." if without == "collapsed" != found.verdict else ".")]


def _head(found: EmbeddingDiagnosis) -> list[str]:
    if found.head is None:
        return []
    head = found.head
    lop = "" if math.isnan(head.asymmetry) else f", asymmetry {head.asymmetry:.2f}"
    peak = f" (peak {max(head.norms):.3g})" if len(head.norms) > 1 else ""
    return [
        f"Head: entries off the diagonal have norm {head.norm:.3g}{peak}{lop}, the diagonal departs from 1 by "
        f"{head.diagonal:.2g}; it lends {show.percent(head.lent)} of the outputs' energy. It looks like {head.phase}."
    ]


def _past(found: EmbeddingDiagnosis) -> list[str]:
    if found.steps < 2:
        return []
    least = int(np.argmin(found.ranks))
    return [
        f"Over the steps: rank {found.ranks[0]:.3g} at the first, {found.ranks[least]:.3g} at its least (step {least + 1}), "
        f"{found.rank:.3g} now; mean |correlation| {found.correlations[0]:.2f} at first, {found.correlations[-1]:.2f} now."
    ]
