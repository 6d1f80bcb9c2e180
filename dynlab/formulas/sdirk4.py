r"""SDIRK4: an L-stable, stiffly accurate, singly diagonally implicit Runge-Kutta method of order 4(3) with 5 stages.

E. Hairer & G. Wanner, "Solving Ordinary Differential Equations II" (2nd edition, Springer 1996), section IV.6, table 6.5.
For an autonomous system y' = f(y)

    k_i = f(y + h sum_{j<i} BELOW_ij k_j + h gamma k_i),  gamma = DIAGONAL,
    y_new = y + h sum_j b_j k_j,  b the last row with gamma behind it,
    error estimate = h sum_j DIFFERENCES_j k_j, the difference from the embedded method of order 3.

Rows of UNDER_DIAGONAL are filled up with zeros.
"""

DIAGONAL = 0.25

UNDER_DIAGONAL = (
    (0.0, 0.0, 0.0, 0.0),
    (1 / 2, 0.0, 0.0, 0.0),
    (17 / 50, -1 / 25, 0.0, 0.0),
    (371 / 1360, -137 / 2720, 15 / 544, 0.0),
    (25 / 24, -49 / 48, 125 / 16, -85 / 12),
)

DIFFERENCES = (-3 / 16, -27 / 32, 25 / 32, 0.0, 1 / 4)
