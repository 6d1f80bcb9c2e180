r"""What the population loss is made of: raw components, their determinants, noise covariances.

Neuron j is described by a vector X_j of *raw components*: its response f_j in every feature state (the K
states f_jl = phi(alpha_l A_jl) for odd activations, the N = 2K states (l, s) otherwise) and, for a non-odd
activation, the noise mean mu_j behind them; and by its noise part w~_j, which enters through the covariances
C_jr of one patch. They are kept raw, never centred first: centring would lose the difference of nearly
parallel vectors.

With t_j the mean of the feature responses and the count moments of `masks`, the fluctuation of the patch
counts moves output j by y_j = s1 t_j + s2 mu_j and by s3 mu_j; half the derivative of the sum of their squares
by mu_j is

    g_j = s2 y_j + s3^2 mu_j.

In terms of a = E[N1^2]/N, b = E[N1 N2]/N the moments of `dynlab.formulas.objective` are bilinear forms,
Var_jr = X_j^T P X_r + E[n1] C_jr in one view and Cov_jr = X_j^T R X_r across views, with

    (P X)_i = a (X_i - t) + s1 y/N,     (P X)_mu = g,
    (R X)_i = b (X_i - t) - s1 y/N,     (R X)_mu = -g.

For odd activations t = y = g = 0 and there is no component mu.

**Features of unequal frequency.** If feature l has probability p_l, a state has the weight p_l/2 (p_l for odd phi) in place
of 1/N. With c_i^2 = N times the weight of state i (the square of c_l = sqrt(K p_l)) all averages of products are plain
sums again of components that are taken times c: X_i stands for c_i f_ji, which is phi at the *effective strength*
alpha_l c_l^(1/q) (phi is homogeneous of degree q), so that no formula sees it. Only where a state is averaged alone does c
remain, in place of the vector of ones that belongs to the mean:

    t = (1/N) sum_i c_i X_i,    (P X)_i = a (X_i - c_i t) + s1 c_i y/N,    (R X)_i = b (X_i - c_i t) - s1 c_i y/N,

with sum_i c_i^2 = N. For odd phi t = y = 0: the frequencies are strengths, and nothing else. With all p_l alike c = 1, and
multiplying by it changes no bit.
"""

from math import atan, pi, sqrt

from dynlab.formulas.activations import (
    LINEAR,
    antiparallel_gap,
    is_odd,
    mean_factor,
    pair_covariance,
    parallel_gap,
    power,
    self_covariance,
)

# Layout of the parameter vector that compiled code receives: six count moments, sigma, the head's rate, K effective
# strengths, then c of the N states.
SAME, ACROSS, NOISE_PATCHES, S1, S2, S3, SIGMA, HEAD_RATE, STRENGTHS = 0, 1, 2, 3, 4, 5, 6, 7, 8


def responses(kind, m, features, par, signal, side, norm, raw, mean, spread, pull, target, across):
    """Fill raw (m, N + 1) with X, mu last, across (m, N) with R X, and four vectors (m,).

    mean, spread, pull: t, y, g of the module's head; target: X^T P X, the variance without that of noise
    patches. side (m, K): which half-line a rectified response lies on (+1, -1; 0 for neither), so that its
    smooth continuation across the kink can be followed inside one step of a solver. Returns N.
    """
    odd = is_odd(kind)
    count = features if odd else 2 * features
    roots = STRENGTHS + features
    b = par[ACROSS] / count
    square = 0.5 * (par[SAME] + par[ACROSS])
    mean_unit = mean_factor(kind, par[SIGMA])
    for j in range(m):
        total = 0.0 * signal[j, 0]
        for f in range(features):
            u = par[STRENGTHS + f] * signal[j, f]
            value = power(kind, u)
            if odd:
                raw[j, f] = value
            else:
                raw[j, 2 * f] = value if side[j, f] > 0 else 0.0 * value
                raw[j, 2 * f + 1] = -value if side[j, f] < 0 else 0.0 * value
                total = total + par[roots + 2 * f] * raw[j, 2 * f] + par[roots + 2 * f + 1] * raw[j, 2 * f + 1]
        mu = mean_unit * power(kind, norm[j])
        raw[j, count] = mu
        mean[j] = total / count
        spread[j] = par[S1] * mean[j] + par[S2] * mu
        pull[j] = par[S2] * spread[j] + par[S3] * par[S3] * mu
        if odd:
            spread[j] = 0.0 * mu
            pull[j] = 0.0 * mu
        # b t + s1 y/N with b + s1^2/N = (E N1)^2/N as one number: for n = 2 it can cancel against b exactly.
        shared = (square * mean[j] + par[S1] * par[S2] * mu) / count
        value = 0.0 * mu
        for i in range(count):
            apart = raw[j, i] - par[roots + i] * mean[j]
            value = value + apart * apart
            across[j, i] = b * raw[j, i] - par[roots + i] * shared
        target[j] = par[SAME] / count * value + spread[j] * spread[j] + par[S3] * par[S3] * mu * mu
    return count


def roots_of(odd, count):
    """Where c of the states begins in the parameter vector."""
    return STRENGTHS + (count if odd else count // 2)


def determinants(m, width, raw, det):
    """Fill det[j, r, i, k], i < k < width, with X_ji X_rk - X_jk X_ri for every j != r."""
    for j in range(m):
        for r in range(j + 1, m):
            for i in range(width):
                for k in range(i + 1, width):
                    value = raw[j, i] * raw[r, k] - raw[j, k] * raw[r, i]
                    det[j, r, i, k] = value
                    det[r, j, i, k] = -value


def noise_covariances(kind, m, par, norm, dot, wedge, eps, cov, cross):
    """Fill cov (m, m) with C and, off the diagonal, cross with dC_jr/dQ_jr.

    dot, wedge, eps (m, m): see `pair_covariance`. A vanishing noise part has no direction; it is taken for orthogonal to
    all.
    """
    sigma = par[SIGMA]
    unit = self_covariance(kind, sigma)
    for j in range(m):
        size = power(kind, norm[j])
        cov[j, j] = unit * size * size
        for r in range(j):
            k = norm[j] * norm[r]
            c = 0.0 * k
            x = 0.0 * k
            if k.real > 0.0:
                c, x = pair_covariance(kind, sigma, k, dot[j, r], wedge[j, r], eps[j, r])
            elif kind == LINEAR:
                x = sigma * sigma + 0.0 * k
            cov[j, r] = c
            cov[r, j] = c
            cross[j, r] = x
            cross[r, j] = x


def noise_moments(kind, m, par, norm, dot, wedge, eps, cov, cross, gap, rise, deviation):
    """As `noise_covariances`, and fill deviation (m,) with sqrt(C_jj), gap and rise (m, m) off the diagonal.

    gap, rise: `parallel_gap` and `antiparallel_gap` of `activations`, rise for m > 2 only; 1 where a part vanishes.
    """
    noise_covariances(kind, m, par, norm, dot, wedge, eps, cov, cross)
    root = sqrt(self_covariance(kind, par[SIGMA]))
    for j in range(m):
        deviation[j] = root * power(kind, norm[j])
        for r in range(j):
            k = norm[j] * norm[r]
            near = 1.0 + 0.0 * k
            far = 1.0 + 0.0 * k
            if k.real > 0.0:
                cosine = dot[j, r] / k
                sine = wedge[j, r] / k
                near = parallel_gap(kind, small_angle(cosine, sine, eps[j, r]), cosine, sine)
                if m > 2:
                    far = antiparallel_gap(kind, eps[j, r], cosine, sine)
            gap[j, r] = near
            gap[r, j] = near
            rise[j, r] = far
            rise[r, j] = far


def small_angle(c, s, eps):
    """The angle with cosine c and sine s, exact where it is small, which pi - eps is not."""
    return 2.0 * atan(s / (1.0 + c)) if c.real > 0.5 else pi - eps
