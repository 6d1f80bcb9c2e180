r"""Moments of the patch counts under the two mask laws.

One sample has `patches` P patches, `feature_patches` n of which carry the feature; view 1 keeps a mask M of them, view 2
the complement (Wen & Li, NeurIPS 2022).

Let N1, N2 be the numbers of feature patches in the two views and n1, n2 those of noise patches, so that
N2 = n - N1 and n2 = (P - n) - n1 always.

* ``half``: M is uniform over the subsets of exactly P/2 patches. N1 is hypergeometric and n1 = P/2 - N1:
  Var N1 = Var n1 = -Cov(N1, n1) = n (P - n) / (4 (P - 1)).
* ``independent``: each patch is kept with probability 1/2. N1 ~ Bin(n, 1/2) and n1 ~ Bin(P - n, 1/2) are
  independent: Var N1 = n/4, Var n1 = (P - n)/4, Cov = 0.

The population covariances only need six numbers. With S the covariance of the feature parts of the outputs
(per patch), C that of the noise parts, and y_j = (s1 t_j + s2 mu_j, s3 mu_j) the fluctuation of the counts,

    Var  = E[N1^2] S + E[n1] C + sum y y^T          (same view)
    Cov  = E[N1 N2] S          - sum y y^T          (across views)

because the conditional mean given the counts, N1 t + n1 mu, fluctuates by (N1 - E N1) t + (n1 - E n1) mu in
view 1 and by exactly the opposite in view 2. (s1, s2, s3) is the Cholesky factor of Cov(N1, n1):
y y^T summed = Var N1 t t^T + Cov(N1, n1) (t mu^T + mu t^T) + Var n1 mu mu^T. No difference of nearly equal
numbers is left, unlike in the textbook form E[N1^2] T + ... - M M^T.
"""

MASKS = ("half", "independent")


def count_moments(patches, feature_patches, half):
    """Return (E[N1^2], E[N1 N2], E[n1], s1, s2, s3); `half` tells the mask law. Pure numbers, no units."""
    n = 1.0 * feature_patches
    rest = 1.0 * (patches - feature_patches)
    if half:
        variance = n * rest / (4.0 * (patches - 1.0))
        spread = variance**0.5
        factors = (spread, -spread, 0.0)
    else:
        variance = n / 4.0
        factors = (variance**0.5, 0.0, (rest / 4.0) ** 0.5)
    same = variance + n * n / 4.0
    across = n * n / 4.0 - variance
    return (same, across, rest / 2.0, *factors)
