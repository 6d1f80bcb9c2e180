"""Where the boundary of a phase diagram is: where a measure passes a level beyond what its few starts a point leave open.

A share of 64 seeds is known to 0.06, so that on a fine grid a contour through single points is mostly noise. The boundary is
that of shares averaged over neighbours (`pooled`), and it is drawn only where the level is *crossed* (`crossed`): a plateau
that only touches it, like the race law's 2p(1 - p), whose largest value is 1/2, has none.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from scipy import ndimage

from dynlab.tools.intervals import Z95, wilson

POOL = 24  # of an axis's points, one to each side is pooled for the boundary
REACH = 4  # of an axis, the part within which both sides of a crossing must be
ERROR = 0.05  # probability that some point of a map is told to lie on the wrong side of the level
EIGHT = np.ones((3, 3), bool)  # neighbours, diagonal ones too


def deviations(points: int) -> float:
    """Half-width, in standard deviations, of intervals that together miss nowhere on a map with probability 1 - `ERROR`."""
    return NormalDist().inv_cdf(1.0 - ERROR / (2.0 * points))


def sides(low: np.ndarray, high: np.ndarray, level: float) -> np.ndarray:
    """1 where the interval lies above the level, -1 below, 0 where it holds it or is not known."""
    return (low > level).astype(int) - (high < level).astype(int)


def crossed(side: np.ndarray) -> np.ndarray:
    """Where (rows, columns) the level is crossed: between points surely on either `side` (rows, columns).

    That is at neighbours on different sides, and at points in between that are not told apart from the level, if connected
    through such points to both sides, with both within 1/`REACH` of either axis; the neighbours of all these belong to it.
    """
    above, below, unknown = side > 0, side < 0, side == 0
    reach = [np.ones(2 * max(1, size // REACH) + 1, bool) for size in side.shape]
    window = reach[0][:, None] & reach[1][None, :]
    close = ndimage.binary_dilation(above, window) & ndimage.binary_dilation(below, window)
    labels, count = ndimage.label(unknown, EIGHT)
    found = (above & ndimage.binary_dilation(below, EIGHT)) | (below & ndimage.binary_dilation(above, EIGHT))
    for number in range(1, count + 1):
        part = labels == number
        around = ndimage.binary_dilation(part, EIGHT)
        if (around & above).any() and (around & below).any():
            found |= ndimage.binary_dilation(part & close, EIGHT)
    return found


def near_level(value: np.ndarray, low: np.ndarray, high: np.ndarray, level: float) -> np.ndarray:
    """Where (..., rows, columns) the interval holds the level, or a neighbour is on the other side of it."""
    near = ~((low > level) | (high < level))
    above = value > level
    for axis in (-2, -1):
        differs = np.diff(above, axis=axis)
        first, last = [(0, 0)] * above.ndim, [(0, 0)] * above.ndim
        first[axis], last[axis] = (0, 1), (1, 0)
        near |= np.pad(differs, first) | np.pad(differs, last)
    return near


def pooled(value: np.ndarray, seeds: np.ndarray, z: float = Z95) -> np.ndarray:
    """Shares (rows, columns) of `seeds` each, averaged over neighbours, and Wilson's interval of z deviations.

    Neighbours are the points at most about 1/`POOL` of each axis away: 3 of 64, 1 of 12 to 35, none of fewer. Returns
    (3, rows, columns): share, low, high.
    """
    result = np.zeros((3, *value.shape))
    rows, columns = ((size + POOL // 2) // POOL for size in value.shape)
    for i, j in np.ndindex(value.shape):
        window = np.s_[max(i - rows, 0) : i + rows + 1, max(j - columns, 0) : j + columns + 1]
        share, known = value[window].mean(), value[window].size ** 2 / (1.0 / seeds[window]).sum()
        result[:, i, j] = share, *wilson(share * known, known, z)
    return result
