r"""The population loss and its gradient with every switch of `dynlab.settings.training`, for any m and K.

Raw components X_j (m, N + 1) of the outputs f_j and the noise covariances C are those of `dynlab.formulas.components`;
primes belong to the target's weights w' (w' = w unless the target is a moving average). With F = E X (rows F_j), c the
vector with M = c . X the mean output (E[N1]/N for each state, times its root weight; E[n1] for the noise mean), n = E[n1],

    batch           V_j = F_j^T P F_j + n (E C E^T)_jj,      U_j = X'_j^T P X'_j + n C'_jj,     B_j = F_j^T R X'_j,
    scale, none     the same with P + c c^T and R + c c^T: second moments that are not centred.

    batch, scale    L = sum_j 2 - 2 B_j / sqrt(V_j U_j)
    none            L = sum_j V_j - 2 B_j + U_j
    length          without noise only (X'_j, F_j then hold all there is): L = p_1 + p_2 - 2 p_12 mean_i cos(F_.i, X'_.i),
                    p the probabilities that the views hold a feature patch at all (of states with F, G not 0); the mean
                    over states has the squared root weights of `components` for weights

**The gradient** is taken by the quantities in which L is simple, F_j and the noise variance v_j = n (E C E^T)_jj on the
online side, X'_j and n C'_jj on the target's, and carried back by the chain rule:

    dL/dX = E^T dL/dF,    dL/dE = dL/dF X^T + 2 n diag(dL/dv) E C,    dL/dC = n E^T diag(dL/dv) E,

in O(m^2 N + m N^2) for the features and, with a dense head, m^3 multiplications for the noise.

**Without the quotient rule.** For batch and scale dL/dF_j = -2 [n_F R X' + T F] / (V^(3/2) U^(1/2)), n_F = v_j and
T = (R X')(P F)^T - (P F)(R X')^T written with the determinants X'_i F_k - X'_k F_i, in which what cancels once features
are learnt has been left out (`dynlab.formulas.objective`); X' F^T - F X'^T comes from F - X', exact where the two are
close. For moments that are not centred, R X' gains c M_X' and T gains w c^T - c w^T, w = (R X') M_F - (P F) M_X'. The
same formula with the two sides exchanged is the gradient through the target.

**Barlow Twins, VICReg and the decorrelation** are functions of Var = X^T P X + n C and Cov = X^T R X alone
(`dynlab.formulas.decorrelation`): dL/dX = 2 (dL/dVar) P X + (dL/dCov + its transpose) R X. Of Barlow Twins, a function of
C_pr = Cov_pr/sqrt(Var_pp Var_rr) alone, the two parts cancel once features are learnt, and what is left would be rounding
that moves the signals for ever. With c_pr = dL/dCov_pr they are, without the quotient rule as above,

    dL/dX_p = (2/Var_pp) sum_r c_pr [n C_pp R X_r + T X_p],    T = (R X_r)(P X_p)^T - (P X_p)(R X_r)^T  (0 for r = p, odd).

Noise parts: with S = dL/dC, cross = dC/dQ and q the degree, dL/d log|w~_p| = q (mu_p dL/dmu_p + 2 sum_r S_pr C_pr), and
dL/dQ_pr = 2 S_pr cross_pr turns w~_p.
"""

from dynlab.formulas.activations import degree_of, is_odd, power, self_covariance
from dynlab.formulas.components import ACROSS, NOISE_PATCHES, SAME, SIGMA, noise_covariances, responses, roots_of
from dynlab.formulas.head_rules import (
    DIRECTCOPY,
    DIRECTPRED,
    decay_gradient,
    head_of_correlation,
    project_gradient,
)
from dynlab.formulas.head_rules import (
    NONE as NO_HEAD,
)
from dynlab.formulas.objective import odd_turn, rectified_turn, signal_gradient
from dynlab.formulas.second_moments import (
    BARLOW_TWINS,
    SIMILARITY,
    VICREG,
    across_covariances,
    add_middle,
    apply,
    correlation,
    decorrelated,
    inner,
    mean_weight,
    output_of,
    same_of,
    two_views,
    variances,
)
from dynlab.formulas.sliding import any_held, slide

BATCH, SCALE, LENGTH, NO_NORMALISATION = 0, 1, 2, 3
STOP_TARGET, STOP_ONLINE, STOP_NONE = 0, 1, 2
# Layout of the integers and of the numbers that choose.
HEAD_RULE, AVERAGE, STOP, NORMALISATION, OBJECTIVE = 0, 1, 2, 3, 4
WEIGHT_DECAY, HEAD_DECAY, TARGET_RATE, DECORRELATION, BARLOW_WEIGHT = 0, 1, 2, 3, 4
INVARIANCE, VARIANCE, COVARIANCE, HEAD_EPS, ONE_VIEW, BOTH_VIEWS, RESOLVED = 5, 6, 7, 8, 9, 10, 11


def switched_sizes(m, features):
    """Shapes of the scratch arrays of `switched_forces`, in the order in which it takes them."""
    states = 2 * features
    wide = (m, states + 1)
    square = (states + 1, states + 1)
    pairs = (m, m)
    side = wide, (m,), (m,), (m,), (m,), (m, states)
    noise = pairs, pairs, pairs, pairs, pairs
    return *side, *side, *noise, wide, wide, wide, wide, wide, wide, (4, states + 1), square, square, (states + 1,)


def switched_forces(kind, m, features, par, choice, numbers, online, target, head, work, d_signal, d_noise, d_head):
    """The loss, and its gradient through the sides that no stop-gradient closes.

    par: see `components`. choice, numbers: the switches, laid out as above. online: (signal (m, K), side (m, K), norm (m,),
    dot, wedge, eps (m, m)), as `objective.forces` takes them, and VICReg's corner (`sliding.slide`). target: (signal, side,
    norm) of w', the online ones if the target is not an average. head (m, m): E; filled here for rules that make it from
    the correlation. Fills d_signal (m, K), d_noise (m, m) (dL/d log|w~_p| on the diagonal, dL/dQ_pr off it) and d_head (m,
    m), projected on what the rule trains and with its decay; the decay of the weights is left to the caller, but for outputs
    held on a corner, which it does not move off it. Returns the loss.
    """
    (raw, mean, spread, pull, own, across, raw2, mean2, spread2, pull2, own2, across2, cov, cross, mixed_cov, d_cov, vectors,
     out, lent, d_out, d_goal, d_raw, same_x, row, turn, mixed, bar) = work  # fmt: skip
    signal, side, norm, dot, wedge, eps, corner = online
    odd = is_odd(kind)
    count = responses(kind, m, features, par, signal, side, norm, raw, mean, spread, pull, own, across)
    noise_covariances(kind, m, par, norm, dot, wedge, eps, cov, cross)
    goal = raw
    if choice[AVERAGE] == 1:
        responses(kind, m, features, par, target[0], target[1], target[2], raw2, mean2, spread2, pull2, own2, across2)
        goal = raw2
    unit = par[NOISE_PATCHES] * self_covariance(kind, par[SIGMA])
    for j in range(m):
        size = power(kind, target[2][j])
        own2[j] = unit * size * size
    outputs = (raw, mean, spread, pull, across, cov, corner)
    spare = (mixed_cov, vectors, out, lent, d_out, d_goal, same_x, row, turn, mixed, bar)
    loss = output_forces(odd, m, count, par, choice, numbers, outputs, (goal, own2), head, spare, (d_raw, d_cov, d_head))
    noise_forces(kind, m, count, odd, raw, cov, cross, d_cov, d_raw, d_noise)
    signal_gradient(kind, m, features, par, signal, side, d_raw, d_signal)
    if choice[OBJECTIVE] == VICREG and any_held(m, corner[0]):
        # The decorrelation has used these scratch arrays.
        same_of(odd, m, count, par, raw, mean, spread, pull, same_x)
        variances(odd, m, count, par, raw, mean, spread, pull, cov, mixed_cov)
        across_covariances(odd, m, count, raw, pull, across, vectors)
        weights = (numbers[INVARIANCE], numbers[VARIANCE], numbers[COVARIANCE])
        held = (raw, same_x, cov, mixed_cov, vectors)
        room = (d_out, out, lent)
        slide(kind, m, features, count, par, numbers[WEIGHT_DECAY], weights, online, held, room, d_signal, d_noise)
    project_gradient(choice[HEAD_RULE], m, d_head)
    if numbers[HEAD_DECAY] > 0.0:
        decay_gradient(choice[HEAD_RULE], m, numbers[HEAD_DECAY], head, d_head)
    return loss


def output_forces(odd, m, count, par, choice, numbers, outputs, target, head, spare, found):
    """The loss, and its gradient by what the outputs are made of, before the chain rule to signals and noise parts.

    outputs: (raw, mean, spread, pull, across) of the outputs as `responses` fills them, their noise covariances (m, m),
    VICReg's corner. target: raw components (m, N + 1) of the target's outputs, and what noise adds to their variances (m,).
    found, to fill: dL/dX (m, N + 1), dL/dC and dL/dE (m, m), the last as it is before what the head's rule makes of it.
    """
    raw, mean, spread, pull, across, cov, corner = outputs
    mixed_cov, vectors, out, lent, d_out, d_goal, same_x, row, turn, mixed, bar = spare
    d_raw, d_cov, d_head = found
    width = count if odd else count + 1
    zero = 0.0 * raw[0, 0]
    for p in range(m):
        for i in range(width):
            d_raw[p, i] = zero
            d_out[p, i] = zero
            d_goal[p, i] = zero
        for q in range(m):
            d_cov[p, q] = zero
            d_head[p, q] = zero
    if choice[OBJECTIVE] == SIMILARITY:
        rule = choice[HEAD_RULE]
        if rule == DIRECTPRED or rule == DIRECTCOPY:
            correlation(odd, m, count, par, raw, mean, spread, pull, cov, mixed_cov)
            head_of_correlation(rule, m, numbers[HEAD_EPS], numbers[RESOLVED], mixed_cov, vectors, head)
        loss = similarity(
            odd, m, count, par, choice, numbers, raw, target[0], target[1], cov, head, mixed_cov, d_cov, out, lent, d_out,
            d_goal, d_raw, row, turn, mixed, bar, d_head,
        )  # fmt: skip
    else:
        of_views = (numbers[BARLOW_WEIGHT], numbers[INVARIANCE], numbers[VARIANCE], numbers[COVARIANCE])
        loss = two_views(
            odd, m, count, par, choice[OBJECTIVE], of_views, raw, mean, spread, pull, across, cov, mixed_cov, vectors, d_cov,
            d_head, same_x, d_raw, corner,
        )  # fmt: skip
        if choice[OBJECTIVE] == BARLOW_TWINS or any_held(m, corner[0]):
            correlation_forces(odd, m, count, par, raw, cov, mixed_cov, d_head, row, turn, mixed, bar, d_out, d_raw)
        for p in range(m):
            for q in range(m):
                d_head[p, q] = zero
    if numbers[DECORRELATION] > 0.0:
        loss = loss + decorrelated(odd, m, count, par, numbers[DECORRELATION], raw, mean, spread, pull, cov, mixed_cov,
                                   vectors, d_cov, same_x, d_raw)  # fmt: skip
    return loss


def similarity(odd, m, count, par, choice, numbers, raw, goal, goal_noise, cov, head, mixed_cov, d_cov, out, lent, d_out,
               d_goal, d_raw, row, turn, mixed, bar, d_head):  # fmt: skip
    """Loss E |F~ - G~|^2; adds to d_raw (m, N + 1), d_cov (m, m) and d_head (m, m) what flows through open sides."""
    width = count if odd else count + 1
    patches = par[NOISE_PATCHES]
    normalisation = choice[NORMALISATION]
    dense = choice[HEAD_RULE] != NO_HEAD
    through_online = choice[STOP] != STOP_ONLINE
    through_target = choice[STOP] != STOP_TARGET
    mix_outputs(m, width, dense, raw, head, cov, out, lent, mixed_cov)
    loss = 0.0 * raw[0, 0]
    if normalisation == LENGTH:
        loss = unit_length(m, odd, count, par, numbers, out, goal, d_out, d_goal)
    for j in range(m):
        d_v = 0.0 * loss
        d_u = 0.0 * loss
        if normalisation != LENGTH:
            noise = patches * inner(m, head[j], mixed_cov[j])
            for i in range(width):
                # F - E_jj G: what the head adds, and how far the target is behind.
                lent[j, i] = lent[j, i] + head[j, j] * (raw[j, i] - goal[j, i])
            value, d_v, d_u = one_output(
                odd, count, par, normalisation, out[j], goal[j], lent[j], noise, goal_noise[j], row, turn, mixed, bar,
                d_out[j], d_goal[j], through_target,
            )  # fmt: skip
            loss = loss + value
        if through_online:
            carry_back(m, width, dense, j, patches * d_v, raw, head, mixed_cov, d_out, d_raw, d_cov, d_head)
        if through_target:
            for i in range(width):
                d_raw[j, i] = d_raw[j, i] + d_goal[j, i]
            d_cov[j, j] = d_cov[j, j] + patches * d_u
    return loss


def carry_back(m, width, dense, j, d_noise, raw, head, mixed_cov, d_out, d_raw, d_cov, d_head):
    """The chain rule from F_j and the variance of its noise, d_noise = n dL/dv_j, to X, C and row j of E."""
    for p in range(m):
        d_head[j, p] = inner(width, d_out[j], raw[p]) + 2.0 * d_noise * mixed_cov[j, p]
        if p == j or dense:
            for i in range(width):
                d_raw[p, i] = d_raw[p, i] + head[j, p] * d_out[j, i]
            share = d_noise * head[j, p]
            for q in range(m):
                d_cov[p, q] = d_cov[p, q] + share * head[j, q]


def mix_outputs(m, width, dense, raw, head, cov, out, lent, mixed_cov):
    """Fill out (m, N + 1) with F = E X, lent (m, N + 1) with F_j - E_jj X_j, mixed_cov (m, m) with E C. dense: whether E can
    be other than diagonal."""
    for j in range(m):
        for i in range(width):
            lent[j, i] = 0.0 * raw[j, i] * head[j, j]
        for p in range(m):
            mixed_cov[j, p] = head[j, j] * cov[j, p]
        for r in range(m):
            if r != j and dense:
                for i in range(width):
                    lent[j, i] = lent[j, i] + head[j, r] * raw[r, i]
                for p in range(m):
                    mixed_cov[j, p] = mixed_cov[j, p] + head[j, r] * cov[r, p]
        for i in range(width):
            out[j, i] = head[j, j] * raw[j, i] + lent[j, i]


def one_output(odd, count, par, normalisation, f, x, rest, noise_f, noise_x, row, turn, mixed, bar, d_f, d_x,
               through_target):  # fmt: skip
    """Output j's part of the loss; fills d_f, d_x = dL/dF, dL/dG (N + 1) and returns (loss, dL/dv, dL/du).

    f, x: raw components of F and G; rest: F less a multiple of G, exactly; noise_f, noise_x: what noise adds to the
    variances. row, turn, mixed, bar: scratch.
    """
    width = count if odd else count + 1
    of_f = output_of(odd, count, par, f)
    of_x = output_of(odd, count, par, x)
    apply(odd, count, par[SAME], 1.0, par, f, of_f, row[0])
    apply(odd, count, par[SAME], 1.0, par, x, of_x, row[1])
    apply(odd, count, par[ACROSS], -1.0, par, x, of_x, row[2])
    if through_target:
        apply(odd, count, par[ACROSS], -1.0, par, f, of_f, row[3])
    variance = inner(width, f, row[0]) + noise_f
    goal_variance = inner(width, x, row[1]) + noise_x
    covariance = inner(width, f, row[2])
    raw_moments = not odd and normalisation != BATCH
    if normalisation == NO_NORMALISATION:
        apart = of_f[3] - of_x[3]
        for i in range(width):
            d_f[i] = 2.0 * (row[0, i] - row[2, i])
            if through_target:
                d_x[i] = 2.0 * (row[1, i] - row[3, i])
        if not odd:
            add_middle(count, par, 2.0 * apart, d_f)
            if through_target:
                add_middle(count, par, -2.0 * apart, d_x)
        one = 1.0 + 0.0 * variance
        return variance - 2.0 * covariance + goal_variance + apart * apart, one, one
    if raw_moments:
        variance = variance + of_f[3] * of_f[3]
        goal_variance = goal_variance + of_x[3] * of_x[3]
        covariance = covariance + of_f[3] * of_x[3]
    root = (variance * goal_variance) ** 0.5
    for i in range(width):
        for k in range(i + 1, width):
            mixed[i, k] = x[i] * rest[k] - x[k] * rest[i]
    turn_of(odd, count, par, x, of_x, f, mixed, bar, turn)
    if raw_moments:
        add_means(count, par, of_x[3], of_f[3], row[2], row[0], turn)
        add_middle(count, par, of_x[3], row[2])
    turned(width, -2.0 / (variance * root), noise_f, row[2], turn, f, d_f)
    if through_target:
        for i in range(width):
            for k in range(i + 1, width):
                mixed[i, k] = -mixed[i, k]
        turn_of(odd, count, par, f, of_f, x, mixed, bar, turn)
        if raw_moments:
            add_means(count, par, of_f[3], of_x[3], row[3], row[1], turn)
            add_middle(count, par, of_f[3], row[3])
        turned(width, -2.0 / (goal_variance * root), noise_x, row[3], turn, x, d_x)
    rho = covariance / root
    return 2.0 - 2.0 * rho, rho / variance, rho / goal_variance


def correlation_forces(odd, m, count, par, raw, cov, var, d_across, row, turn, mixed, bar, d_out, d_raw):
    """Add to d_raw (m, N + 1) the gradient by X of a function of the correlations across the views, from d_across (m, m) =
    dL/dCov and var (m, m) = Var, as the module's head has it. row, turn, mixed, bar, d_out: scratch."""
    width = count if odd else count + 1
    for p in range(m):
        for r in range(m):
            of_x = output_of(odd, count, par, raw[r])
            apply(odd, count, par[ACROSS], -1.0, par, raw[r], of_x, row[2])
            for i in range(width):
                for k in range(i + 1, width):
                    mixed[i, k] = raw[r, i] * raw[p, k] - raw[r, k] * raw[p, i] if r != p else 0.0 * raw[p, i]
            turn_of(odd, count, par, raw[r], of_x, raw[p], mixed, bar, turn)
            scale = 2.0 * d_across[p, r] / var[p, p]
            turned(width, scale, par[NOISE_PATCHES] * cov[p, p], row[2], turn, raw[p], d_out[p])
            for i in range(width):
                d_raw[p, i] = d_raw[p, i] + d_out[p, i]


def turned(width, scale, noise, across, turn, values, result):
    """Fill result with scale (noise R X + T F)."""
    for i in range(width):
        total = noise * across[i]
        for k in range(width):
            total = total + turn[i, k] * values[k]
        result[i] = scale * total


def turn_of(odd, count, par, x, of_x, f, mixed, bar, turn):
    """Fill turn with T = (R X)(P F)^T - (P F)(R X)^T from mixed = X F^T - F X^T. of_x: what `output_of` says of X."""
    if odd:
        odd_turn(count, par, mixed, turn)
    else:
        rectified_turn(count, par, x, of_x[0], of_x[1], f, mixed, bar, turn)


def add_means(count, par, middle_x, middle_f, across_x, same_f, turn):
    """Add w c^T - c w^T to turn, w = (R X) M_F - (P F) M_X."""
    roots = roots_of(False, count)
    for i in range(count):
        w_i = across_x[i] * middle_f - same_f[i] * middle_x
        c_i = mean_weight(par) / count * par[roots + i]
        for k in range(i + 1, count + 1):
            w_k = across_x[k] * middle_f - same_f[k] * middle_x
            c_k = mean_weight(par) / count * par[roots + k] if k < count else par[NOISE_PATCHES]
            value = w_i * c_k - c_i * w_k
            turn[i, k] = turn[i, k] + value
            turn[k, i] = turn[k, i] - value


def unit_length(m, odd, count, par, numbers, out, goal, d_out, d_goal):
    """The loss of outputs divided by their length, without noise; fills d_out, d_goal (m, N). Zero vectors stay zero."""
    loss = 0.0 * out[0, 0]
    roots = roots_of(odd, count)
    for i in range(count):
        often = par[roots + i] * par[roots + i]
        size_f = 0.0 * loss
        size_g = 0.0 * loss
        aligned = 0.0 * loss
        for j in range(m):
            size_f = size_f + out[j, i] * out[j, i]
            size_g = size_g + goal[j, i] * goal[j, i]
            aligned = aligned + out[j, i] * goal[j, i]
        if size_f.real > 0.0:
            loss = loss + numbers[ONE_VIEW] / count * often
        if size_g.real > 0.0:
            loss = loss + numbers[ONE_VIEW] / count * often
        if size_f.real > 0.0 and size_g.real > 0.0:
            root = (size_f * size_g) ** 0.5
            cosine = aligned / root
            weight = -2.0 * numbers[BOTH_VIEWS] / count * often
            loss = loss + weight * cosine
            for j in range(m):
                # |F|^2 G - (F.G) F and its mirror, from the differences of pairs.
                ahead = 0.0 * cosine
                behind = 0.0 * cosine
                for r in range(m):
                    apart = out[r, i] * goal[j, i] - out[j, i] * goal[r, i]
                    ahead = ahead + out[r, i] * apart
                    behind = behind - goal[r, i] * apart
                d_out[j, i] = weight * ahead / (root * size_f)
                d_goal[j, i] = weight * behind / (root * size_g)
    return loss


def noise_forces(kind, m, count, odd, raw, cov, cross, d_cov, d_raw, d_noise):
    """Fill d_noise (m, m) from S = dL/dC and dL/dmu."""
    degree = degree_of(kind)
    for p in range(m):
        total = 0.0 * d_cov[p, p] if odd else raw[p, count] * d_raw[p, count]
        for r in range(m):
            total = total + 2.0 * d_cov[p, r] * cov[p, r]
            if r != p:
                d_noise[p, r] = 2.0 * d_cov[p, r] * cross[p, r]
        d_noise[p, p] = degree * total
