r"""Dormand & Prince's explicit Runge-Kutta pair of order 5(4) (J. Comput. Appl. Math. 6, 1980), first same as last.

k_i = f(y + h sum_j A_ij k_j), i = 1 ... 7, with the row of k_7 the step itself, y' = y + h sum_j A_7j k_j; the error of y'
is h sum_j E_j k_j. The fourth-order interpolant within the step is Shampine's (Hairer, Norsett & Wanner, Solving ordinary
differential equations I, II.6): y(theta) = y + theta h sum_j k_j P_j(theta), P_j of degree 3.
"""

A = (
    (),
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
FOURTH = (5179 / 57600, 0.0, 7571 / 16695, 393 / 640, -92097 / 339200, 187 / 2100, 1 / 40)
STAGES = len(A)
ERROR = tuple(b - c for b, c in zip((*A[6], 0.0), FOURTH, strict=True))
# The interpolant's own combination: y(theta) = Hermite's cubic + theta^2 (1 - theta)^2 h sum_j D_j k_j.
DENSE = (
    -12715105075 / 11282082432,
    0.0,
    87487479700 / 32700410799,
    -10690763975 / 1880347072,
    701980252875 / 199316789632,
    -1453857185 / 822651844,
    69997945 / 29380423,
)
