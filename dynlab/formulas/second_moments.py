r"""Second moments of outputs in terms of their raw components, and the objectives that are functions of those alone.

One output F is a vector of raw components (N responses, then the noise mean for an activation that is not odd; see
`dynlab.formulas.components`). P and R are the bilinear forms of that module, so that F^T P F and F^T R X are covariances but
for the noise, and c . F = M the mean output: c is E[N1]/N for every state and E[n1] for the noise mean. Where features are
of unequal frequency, a root weight of `components` stands beside every mean over states, and beside E[N1]/N.
"""

from dynlab.formulas.components import ACROSS, NOISE_PATCHES, S1, S2, S3, SAME, roots_of
from dynlab.formulas.decorrelation import HELD, add_decorrelation, barlow_twins, is_below, vicreg

SIMILARITY, BARLOW_TWINS, VICREG = 0, 1, 2


def output_of(odd, count, par, values):
    """(t, y, g, M) of one output's raw components: mean response, fluctuations of the counts, mean output."""
    zero = 0.0 * values[0]
    if odd:
        return zero, zero, zero, zero
    roots = roots_of(odd, count)
    average = zero
    for i in range(count):
        average = average + par[roots + i] * values[i]
    average = average / count
    moved = par[S1] * average + par[S2] * values[count]
    pulled = par[S2] * moved + par[S3] * par[S3] * values[count]
    return average, moved, pulled, mean_weight(par) * average + par[NOISE_PATCHES] * values[count]


def mean_weight(par):
    """E[N1], from E[N1^2] + E[N1 N2] = 2 E[N1]^2."""
    return (0.5 * (par[SAME] + par[ACROSS])) ** 0.5


def apply(odd, count, weight, sign, par, values, summary, result):
    """Fill result with P F (weight E[N1^2], sign 1) or R F (weight E[N1 N2], sign -1)."""
    average, moved, pulled, _ = summary
    roots = roots_of(odd, count)
    for i in range(count):
        root = par[roots + i]
        result[i] = weight / count * (values[i] - root * average) + sign * par[S1] / count * moved * root
    if not odd:
        result[count] = sign * pulled


def add_middle(count, par, middle, result):
    """Add c M: from a centred to a raw second moment, for an activation with means."""
    roots = roots_of(False, count)
    for i in range(count):
        result[i] = result[i] + mean_weight(par) / count * middle * par[roots + i]
    result[count] = result[count] + par[NOISE_PATCHES] * middle


def inner(width, x, y):
    """Sum of products of the first `width` entries."""
    total = x[0] * y[0]
    for i in range(1, width):
        total = total + x[i] * y[i]
    return total


def variances(odd, m, count, par, raw, mean, spread, pull, cov, result):
    """Fill result (m, m) with Var, the covariances of the outputs without head in one view."""
    roots = roots_of(odd, count)
    for j in range(m):
        for r in range(j + 1):
            total = 0.0 * cov[j, r]
            for i in range(count):
                root = par[roots + i]
                total = total + (raw[j, i] - root * mean[j]) * (raw[r, i] - root * mean[r])
            total = total * (par[SAME] / count) + par[NOISE_PATCHES] * cov[j, r]
            if not odd:
                apart = par[S3] * par[S3] * raw[j, count] * raw[r, count]
                total = total + spread[j] * spread[r] + apart
            result[j, r] = total
            result[r, j] = total


def correlation(odd, m, count, par, raw, mean, spread, pull, cov, result):
    """Fill result (m, m) with E f_j f_r of one view, means included."""
    variances(odd, m, count, par, raw, mean, spread, pull, cov, result)
    if not odd:
        for j in range(m):
            middle = mean_weight(par) * mean[j] + par[NOISE_PATCHES] * raw[j, count]
            for r in range(m):
                result[j, r] = result[j, r] + middle * (mean_weight(par) * mean[r] + par[NOISE_PATCHES] * raw[r, count])


def across_covariances(odd, m, count, raw, pull, across, result):
    """Fill result (m, m) with Cov, the covariances of the outputs without head across the views."""
    for j in range(m):
        for r in range(j + 1):
            total = 0.0 * raw[j, 0]
            for i in range(count):
                total = total + raw[j, i] * across[r, i]
            if not odd:
                total = total - raw[j, count] * pull[r]
            result[j, r] = total
            result[r, j] = total


def same_of(odd, m, count, par, raw, mean, spread, pull, same_x):
    """Fill same_x (m, N + 1) with P X."""
    roots = roots_of(odd, count)
    for j in range(m):
        for i in range(count):
            same_x[j, i] = par[SAME] / count * (raw[j, i] - par[roots + i] * mean[j])
            if not odd:
                same_x[j, i] = same_x[j, i] + par[S1] / count * spread[j] * par[roots + i]
        if not odd:
            same_x[j, count] = pull[j]


def two_views(odd, m, count, par, objective, numbers, raw, mean, spread, pull, across, cov, var, across_cov, d_cov, d_across,
              same_x, d_raw, corner):  # fmt: skip
    """Barlow Twins or VICReg; adds to d_cov, and for VICReg to d_raw. numbers: lambda, then the three weights of VICReg.

    Fills var, across_cov (m, m) with Var and Cov, d_across (m, m) with dL/dCov of what is a function of the correlations:
    from that `switched.correlation_forces` takes what is left of d_raw. corner: see `dynlab.formulas.sliding`; its
    deviations are filled. same_x: scratch, of VICReg P X.
    """
    variances(odd, m, count, par, raw, mean, spread, pull, cov, var)
    across_covariances(odd, m, count, raw, pull, across, across_cov)
    if objective == BARLOW_TWINS:
        loss = barlow_twins(m, numbers[0], var, across_cov, d_cov, d_across)
    else:
        hinge, share, deviation = corner
        loss = vicreg(m, (numbers[1], numbers[2], numbers[3]), hinge, var, across_cov, d_cov, d_across)
        same_of(odd, m, count, par, raw, mean, spread, pull, same_x)
        for p in range(m):
            deviation[p] = var[p, p] ** 0.5
            share[p] = 0.0 * deviation[p]
            if hinge[p] == HELD:
                share[p] = d_across[p, p]
                d_across[p, p] = 0.0 * share[p]
        moments_to_components(odd, m, count, par, pull, across, same_x, d_cov, d_across, 1.0, d_raw)
        for p in range(m):
            d_across[p, p] = share[p]
            d_cov[p, p] = d_cov[p, p] - share[p] * across_cov[p, p] / var[p, p]
            share[p] = 0.0 * share[p]
            if is_below(hinge[p], deviation[p]):
                share[p] = 1.0 + share[p]
    for p in range(m):
        for r in range(m):
            d_cov[p, r] = par[NOISE_PATCHES] * d_cov[p, r]
    return loss


def decorrelated(odd, m, count, par, weight, raw, mean, spread, pull, cov, var, d_var, d_cov, same_x, d_raw):
    """weight * sum_{i != j} corr(f_i, f_j)^2; adds to d_raw and d_cov. var, d_var, same_x: scratch."""
    variances(odd, m, count, par, raw, mean, spread, pull, cov, var)
    loss = add_decorrelation(m, weight, var, d_var)
    same_of(odd, m, count, par, raw, mean, spread, pull, same_x)
    moments_to_components(odd, m, count, par, pull, same_x, same_x, d_var, d_var, 0.0, d_raw)
    for p in range(m):
        for r in range(m):
            d_cov[p, r] = d_cov[p, r] + par[NOISE_PATCHES] * d_var[p, r]
    return loss


def moments_to_components(odd, m, count, par, pull, across, same_x, d_var, d_across, share, d_raw):
    """Add 2 (dL/dVar) P X + share (dL/dCov + its transpose) R X to d_raw; both derivatives (m, m) symmetric."""
    for p in range(m):
        for r in range(m):
            for i in range(count):
                value = d_var[p, r] * same_x[r, i] + share * d_across[p, r] * across[r, i]
                d_raw[p, i] = d_raw[p, i] + 2.0 * value
            if not odd:
                value = d_var[p, r] * same_x[r, count] - share * d_across[p, r] * pull[r]
                d_raw[p, count] = d_raw[p, count] + 2.0 * value
