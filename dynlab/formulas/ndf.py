r"""NDF: the numerical differentiation formulas of orders 1 to 5, backward differences with a small term of the next order.

L. F. Shampine & M. W. Reichelt, "The MATLAB ODE suite", SIAM J. Sci. Comput. 18 (1997), table 1. With steps of length h and
backward differences D^j of y at the step's beginning, the step of order k from y, whose last differences are given, ends at

    y_new = sum_{j<=k} D^j y + d,      c f(y_new) = psi + d,      c = h/alpha_k,
    psi = (1/alpha_k) sum_{1<=j<=k} gamma_j D^j y,   gamma_j = 1 + 1/2 + ... + 1/j,   alpha_k = (1 - kappa_k) gamma_k,

and errs by (kappa_k gamma_k + 1/(k+1)) D^{k+1}, of which d = D^{k+1} y_new is the estimate. Orders 1 and 2 are L-stable, the
others A(alpha)-stable.
"""

HIGHEST = 5
KAPPA = (0.0, -0.1850, -1.0 / 9.0, -0.0823, -0.0415, 0.0)
HARMONIC = tuple(sum((1.0 / j for j in range(1, k + 1)), 0.0) for k in range(HIGHEST + 2))
ALPHA = tuple((1.0 - kappa) * gamma for kappa, gamma in zip(KAPPA, HARMONIC, strict=False))
# Of orders 0 to 6, the last for the error that the order above the highest would make.
LOCAL_ERROR = tuple(
    kappa * gamma + 1.0 / (k + 1) for k, (kappa, gamma) in enumerate(zip((*KAPPA, 0.0), HARMONIC, strict=True))
)
