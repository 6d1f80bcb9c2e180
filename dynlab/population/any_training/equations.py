"""Dense linear equations by columns: what a step of many coordinates spends most of its time on.

A matrix is kept as its columns, array[k] the k-th, so that every inner loop runs along memory and none is a sum: the
compiler vectorises them all without changing an order of operations (of slices: it must know that no index is negative).
"""

BLOCK = 4  # columns that are factorised before they are taken out of the rest, which is then read and written once


def factor(columns, order):
    """LU factorisation with partial pivoting, in place: L below the diagonal (its own diagonal is 1), U on and above it.

    The diagonal holds the inverse of U's. order (n,): which row was exchanged with row k when it was column k's turn.
    """
    n = len(order)
    for first in range(0, n, BLOCK):
        stop = min(first + BLOCK, n)
        for k in range(first, stop):
            pivot(columns, order, k)
            for j in range(k + 1, stop):
                take_out(columns[j, k], columns[k, k + 1 : n], columns[j, k + 1 : n])
        for j in range(stop, n):
            for k in range(first, stop - 1):
                factor_k = columns[j, k]
                for i in range(k + 1, stop):
                    columns[j, i] -= factor_k * columns[k, i]
            if stop < n:
                take_out_block(columns, j, first)


def pivot(columns, order, k):
    """Exchange rows such that column k has its largest entry on the diagonal, and divide what is below by it."""
    n = len(order)
    best = k
    largest = abs(columns[k, k])
    for i in range(k + 1, n):
        if abs(columns[k, i]) > largest:
            largest = abs(columns[k, i])
            best = i
    order[k] = best
    if best != k:
        for j in range(n):
            value = columns[j, k]
            columns[j, k] = columns[j, best]
            columns[j, best] = value
    inverse = 1.0 / columns[k, k]
    columns[k, k] = inverse
    below = columns[k, k + 1 : n]
    for i in range(len(below)):
        below[i] *= inverse


def take_out(share, own, rest):
    """rest - share own, in place: vectors of one length."""
    for i in range(len(rest)):
        rest[i] -= share * own[i]


def take_out_block(columns, j, k):
    """Subtract from column j, below the BLOCK rows from k on, its shares of the BLOCK columns of L from k on."""
    n = len(columns)
    rest, first, second = columns[j, k + BLOCK : n], columns[k, k + BLOCK : n], columns[k + 1, k + BLOCK : n]
    third, fourth = columns[k + 2, k + BLOCK : n], columns[k + 3, k + BLOCK : n]
    s1, s2, s3, s4 = columns[j, k], columns[j, k + 1], columns[j, k + 2], columns[j, k + 3]
    for i in range(len(rest)):
        rest[i] = rest[i] - s1 * first[i] - s2 * second[i] - s3 * third[i] - s4 * fourth[i]


def substitute(columns, order, b, out):
    """Solve for out with the factors of `factor`; b: the right-hand side."""
    n = len(b)
    for i in range(n):
        out[i] = b[i]
    for k in range(n):
        value = out[order[k]]
        out[order[k]] = out[k]
        out[k] = value
    for k in range(n - 1):
        take_out(out[k], columns[k, k + 1 : n], out[k + 1 : n])
    for k in range(n - 1, -1, -1):
        out[k] = out[k] * columns[k, k]
        take_out(out[k], columns[k, :k], out[:k])
