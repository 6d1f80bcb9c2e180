"""What the solvers of the flow share: events, control of the step, solving with factors, interpolation."""

from __future__ import annotations

import numpy as np

from dynlab.formulas import rodas5p


def method_table() -> tuple:
    """The coefficients of Rodas5P as arrays: A (8, 8), C (8, 8), H (3, 8), gamma."""
    a, c = np.zeros((8, 8)), np.zeros((8, 8))
    for i in range(8):
        a[i, :i] = rodas5p.A[i]
        c[i, :i] = rodas5p.C[i]
    return a, c, np.array(rodas5p.H), rodas5p.GAMMA


# Squared cosine above which events count a feature as learnt: a neuron can then count for one feature only.
DOMINANT = 0.5

# Rows of marks and snapshots.
FIRST, SECOND, PEAK = 0, 1, 2
SAFETY, SHRINK, GROW = 0.9, 0.15, 2.5
HEAD_FLOOR = 0.1
