"""Heads as matrices of NumPy: from a correlation, its moving average, size and asymmetry."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dynlab.formulas.head_rules import RESOLVED, RHO, head_of_correlation, rule_number

if TYPE_CHECKING:
    import numpy as np

FROM_CORRELATION = ("directpred", "directcopy")  # the rules that make the head of the outputs' correlation


def from_correlation(head: str, correlation, eps: float = 0.1) -> np.ndarray:
    """E (m, m) of DirectPred or DirectCopy for a correlation E f f^T (m, m), symmetric and positive semidefinite."""
    import numpy as np

    work = np.array(correlation, dtype=np.float64)
    m = len(work)
    made = np.empty((m, m))
    head_of_correlation(rule_number(head), m, eps, RESOLVED, work, np.empty((m, m)), made)
    return made


def moving_correlation(before, batch_correlation, rho: float = RHO) -> np.ndarray:
    """The moving average S <- rho S + (1 - rho) E_batch f f^T (before None: the first batch)."""
    import numpy as np

    now = np.asarray(batch_correlation, dtype=np.float64)
    return now.copy() if before is None else rho * np.asarray(before) + (1.0 - rho) * now


def norm_and_asymmetry(head) -> tuple[float, float]:
    """||off-diag(E)||_F and ||E - E^T||_F / ||off-diag(E)||_F (nan for a diagonal head), as the paper plots them."""
    import numpy as np

    head = np.asarray(head, dtype=np.float64)
    off = head - np.diag(np.diagonal(head))
    norm = float(np.linalg.norm(off))
    return norm, float(np.linalg.norm(head - head.T)) / norm if norm > 0.0 else float("nan")
