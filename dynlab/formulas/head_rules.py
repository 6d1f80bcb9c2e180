r"""The rules of the prediction head E, for the population, finite samples and images alike.

Online output F = E f with f the encoder's outputs, E (m, m).

    none           E = I
    fixed          E given, never changed
    off-diagonal   E(0) = I; the entries off the diagonal train (Wen & Li, NeurIPS 2022)
    linear         all entries train (the linear predictor of Tian, Chen & Ganguli, ICML 2021)
    symmetric      all entries train on the projection (G + G^T)/2 of the gradient (the symmetric W_p of their theory)
    directpred     E = U diag(p) U^T, p_j = sqrt(s_j/s_max) + eps, S = U diag(s) U^T the correlation E f f^T
                   (Tian et al. 2021, DirectPred)
    directcopy     E = S/s_max + eps I (Wang, Chen, Du & Tian 2021, DirectCopy)

No gradient flows through the last two. In practice S is a moving average, S <- rho S + (1 - rho) E_batch f f^T with
rho = 0.3 (`moving_correlation`); on the population E f f^T itself is known and S is exactly that.

Functions named with a trailing matrix argument fill it; they are plain loops over numbers of any kind (float, complex,
extended), so that the solver can compile them and differentiate through them.
"""

from __future__ import annotations

from math import sqrt

HEADS: tuple[str, ...] = ("none", "off-diagonal", "linear", "symmetric", "directpred", "directcopy", "fixed")
MATRIX_HEADS = tuple(name for name in HEADS if name != "fixed")  # what a command takes: a matrix does not fit an option
TRAINED = ("off-diagonal", "linear", "symmetric")
NONE, OFF_DIAGONAL, LINEAR_HEAD, SYMMETRIC, DIRECTPRED, DIRECTCOPY, FIXED = range(7)
RHO = 0.3
SWEEPS = 30
RESOLVED = 1e-13  # a share of the largest eigenvalue below this is, in float64, the rounding of zero


def rule_number(head: str) -> int:
    """The number by which compiled code tells the rule."""
    return HEADS.index(head)


def project_gradient(rule, m, d_head):
    """Turn dL/dE (m, m) into what the rule's entries follow, in place."""
    for j in range(m):
        for r in range(m):
            if rule == OFF_DIAGONAL and j == r:
                d_head[j, r] = 0.0 * d_head[j, r]
            elif rule != OFF_DIAGONAL and rule != LINEAR_HEAD and rule != SYMMETRIC:
                d_head[j, r] = 0.0 * d_head[j, r]
            elif rule == SYMMETRIC and r < j:
                middle = 0.5 * (d_head[j, r] + d_head[r, j])
                d_head[j, r] = middle
                d_head[r, j] = middle


def trains(rule, j, r):
    """Whether entry (j, r) follows a gradient under the rule."""
    return rule == LINEAR_HEAD or rule == SYMMETRIC or (rule == OFF_DIAGONAL and j != r)


def decay_gradient(rule, m, decay, head, d_head):
    """Add decay * E to the gradient of the entries that train."""
    for j in range(m):
        for r in range(m):
            if trains(rule, j, r):
                d_head[j, r] = d_head[j, r] + decay * head[j, r]


def jacobi_spectrum(m, matrix, vectors):
    """Eigenvalues (on the diagonal of matrix) and eigenvectors (columns of vectors) of a real symmetric matrix, in place.

    Cyclic Jacobi rotations: accurate for small eigenvalues too, and analytic, so that derivatives go through them. They
    need a sweep of their own, turning what has come to rest; the one after it sees that all has.
    """
    for i in range(m):
        for k in range(m):
            vectors[i, k] = 0.0 * matrix[i, k]
        vectors[i, i] = 1.0 + vectors[i, i]
    calm = 0
    for _ in range(SWEEPS):
        calm += 1
        for p in range(m):
            for q in range(p + 1, m):
                scale = sqrt(abs(matrix[p, p].real)) * sqrt(abs(matrix[q, q].real))
                if abs(matrix[p, q].real) > 1e-70 * scale:
                    calm = 0
                rotate(m, p, q, matrix, vectors)
        if calm == 2:
            break


def rotate(m, p, q, matrix, vectors):
    """One Jacobi rotation that removes matrix[p, q]."""
    off = matrix[p, q]
    gap = matrix[q, q] - matrix[p, p]
    root = (gap * gap + 4.0 * off * off) ** 0.5
    total = gap + root if gap.real >= 0.0 else gap - root
    if total.real == 0.0:
        return
    t = 2.0 * off / total
    c = 1.0 / (1.0 + t * t) ** 0.5
    s = t * c
    for k in range(m):
        x = matrix[k, p]
        y = matrix[k, q]
        matrix[k, p] = c * x - s * y
        matrix[k, q] = s * x + c * y
    for k in range(m):
        x = matrix[p, k]
        y = matrix[q, k]
        matrix[p, k] = c * x - s * y
        matrix[q, k] = s * x + c * y
    matrix[p, q] = 0.0 * off
    matrix[q, p] = 0.0 * off
    for k in range(m):
        x = vectors[k, p]
        y = vectors[k, q]
        vectors[k, p] = c * x - s * y
        vectors[k, q] = s * x + c * y


def head_of_correlation(rule, m, eps, resolved, correlation, vectors, head):
    """Fill head (m, m) with DirectPred's or DirectCopy's E; correlation (m, m) is overwritten, vectors (m, m) scratch.

    resolved: the share of the largest eigenvalue below which one is zero but for rounding.
    """
    if rule == DIRECTCOPY:
        for j in range(m):
            for r in range(m):
                head[j, r] = correlation[j, r]
    jacobi_spectrum(m, correlation, vectors)
    largest = correlation[0, 0]
    for j in range(m):
        if correlation[j, j].real > largest.real:
            largest = correlation[j, j]
    for j in range(m):
        for r in range(m):
            if rule == DIRECTCOPY:
                head[j, r] = head[j, r] / largest
            else:
                head[j, r] = 0.0 * largest
                for k in range(m):
                    share = correlation[k, k] / largest
                    if share.real > resolved:
                        head[j, r] = head[j, r] + share**0.5 * vectors[j, k] * vectors[r, k]
        head[j, j] = head[j, j] + eps
