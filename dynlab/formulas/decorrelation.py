r"""Objectives that are functions of the outputs' second moments alone: Barlow Twins, VICReg, decorrelation.

Var (m, m) is the covariance of the m outputs in one view, Cov (m, m) that across the two views, which here is symmetric
(the views are exchangeable). With sd_i = sqrt(Var_ii):

    Barlow Twins (Zbontar et al., ICML 2021)     C_ij = Cov_ij/(sd_i sd_j)
        L = sum_i (1 - C_ii)^2 + lambda sum_{i != j} C_ij^2
    VICReg (Bardes, Ponce & LeCun, ICLR 2022, algorithm 1), both views alike, hinge at 1, without epsilon
        L = (1/m) [w_inv sum_i (2 Var_ii - 2 Cov_ii) + w_var 2 sum_i max(0, 1 - sd_i) + w_cov 2 sum_{i != j} Var_ij^2]
    decorrelation (the criterion of Liu et al., NeurIPS 2022, on the encoder's outputs)
        L = weight sum_{i != j} Var_ij^2/(Var_ii Var_jj),  between 0 and weight m(m - 1)

All three terms of VICReg are means over the m outputs: its invariance is E |z - z'|^2/m, up to means, which both views
share. So it is in the paper's algorithm 1 (`mse_loss`) and in its code, for which the weights 25, 25, 1 were chosen; the
paper's equation 5 leaves out the 1/m of the invariance. Hinges and covariances of the two views are added (algorithm 1 and
equation 6; the code halves the sum of the hinges). The paper's sd is sqrt(Var + 1e-4), which keeps the slope finite in
minibatches; the population's variance is never 0, so here it is left out, and the corner lies at sd = 1 exactly.

Each function fills the derivatives as if Var_ij and Var_ji (Cov_ij and
Cov_ji) were separate numbers.
"""

# What an output's hinge is taken for: its formula below or above the corner sd = 1, whatever sd is; held on the corner
# (`dynlab.formulas.sliding`); or what sd says.
BELOW, HELD, ABOVE, BY_VALUE = -1, 0, 1, 2


def barlow_twins(m, weight, var, cov, d_var, d_cov):
    """Loss; fills d_var, d_cov (m, m) with its derivatives by Var and Cov. weight: lambda."""
    loss = 0.0 * var[0, 0]
    for i in range(m):
        for j in range(m):
            d_var[i, j] = 0.0 * loss
    for i in range(m):
        for j in range(m):
            size = (var[i, i] * var[j, j]) ** 0.5
            c = cov[i, j] / size
            if i == j:
                # 1 - C_ii, not from its rounded quotient
                short = (var[i, i] - cov[i, i]) / var[i, i]
                loss = loss + short * short
                slope = -2.0 * short
            else:
                loss = loss + weight * c * c
                slope = 2.0 * weight * c
            d_cov[i, j] = slope / size
            d_var[i, i] = d_var[i, i] - 0.5 * slope * c / var[i, i]
            d_var[j, j] = d_var[j, j] - 0.5 * slope * c / var[j, j]
    return loss


def vicreg(m, weights, hinge, var, cov, d_var, d_cov):
    """Loss; fills d_var, d_cov (m, m). weights: of invariance, variance, covariance. hinge (m,): `BELOW`, ...

    The loss of an output that is held is taken as a function of correlations: of f_i/sd_i, which is f_i there. d_cov[i, i]
    is then what its invariance adds by Cov_ii, and d_var leaves out what that adds by Var_ii, -(Cov_ii/Var_ii) d_cov[i, i].
    """
    invariance, variance, covariance = weights
    loss = 0.0 * var[0, 0]
    for i in range(m):
        for j in range(m):
            d_cov[i, j] = 0.0 * loss
            d_var[i, j] = 0.0 * loss
    for i in range(m):
        deviation = var[i, i] ** 0.5
        if hinge[i] == HELD:
            loss = loss + invariance * 2.0 / m * ((var[i, i] - cov[i, i]) / var[i, i])
            d_cov[i, i] = -invariance * 2.0 / m / var[i, i]
        else:
            loss = loss + invariance * 2.0 / m * (var[i, i] - cov[i, i])
            d_cov[i, i] = -invariance * 2.0 / m + 0.0 * deviation
            d_var[i, i] = d_var[i, i] + invariance * 2.0 / m
            if is_below(hinge[i], deviation):
                loss = loss + variance * 2.0 / m * (1.0 - deviation)
                d_var[i, i] = d_var[i, i] - variance / (m * deviation)
        for j in range(m):
            if j != i:
                slope = covariance * 2.0 / m * var[i, j]
                if hinge[i] == HELD:
                    slope = slope / var[i, i]
                if hinge[j] == HELD:
                    slope = slope / var[j, j]
                square = slope * var[i, j]
                loss = loss + square
                d_var[i, j] = d_var[i, j] + 2.0 * slope
                if hinge[i] == HELD:
                    d_var[i, i] = d_var[i, i] - square / var[i, i]
                if hinge[j] == HELD:
                    d_var[j, j] = d_var[j, j] - square / var[j, j]
    return loss


def is_below(hinge, deviation):
    """Whether the hinge of an output is taken by the formula below its corner, 1 - sd."""
    return hinge == BELOW or (hinge == BY_VALUE and deviation.real < 1.0 and deviation.real > 0.0)


def add_decorrelation(m, weight, var, d_var):
    """weight * sum_{i != j} corr_ij^2; fills d_var (m, m)."""
    loss = 0.0 * var[0, 0]
    for i in range(m):
        for j in range(m):
            d_var[i, j] = 0.0 * loss
    for i in range(m):
        for j in range(m):
            if i != j:
                slope = weight * var[i, j] / (var[i, i] * var[j, j])
                square = slope * var[i, j]
                loss = loss + square
                d_var[i, j] = 2.0 * slope
                d_var[i, i] = d_var[i, i] - square / var[i, i]
                d_var[j, j] = d_var[j, j] - square / var[j, j]
    return loss
