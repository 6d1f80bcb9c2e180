r"""The population loss and its gradient with every switch of `Training`, where every output is a two-layer network.

    f_j(X) = sum_h a_jh sum_p phi(<w_h, X_p>)

A unit h has raw components X_h, and noise covariances C_hk with the others, as a neuron has in `dynlab.formulas.components`,
and both are all that the loss of an output is made of, linear in the first and bilinear in the readout through the second:

    G_j = sum_h a_jh X_h        (its mean response, count fluctuations and pull are sums over units, too),
    S_jr = sum_hk a_jh C_hk a_rk,

so the loss is that of `dynlab.formulas.switched` with G in place of X and S in place of C, whatever the switches: head,
normalisation, objective, sides and decorrelation see outputs alone. A target that is a moving average has weights w' and a
readout a' of its own, G'_j = sum_h a'_jh X_h(w'), S'_jj = sum_hk a'_jh C_hk(w') a'_jk. `switched.output_forces` gives dL/dG
(m, N + 1) and dL/dS (m, m), symmetric, of both sides where no stop-gradient closes one, and the chain rule leads to

    dL/dX_h = sum_j a_jh dL/dG_j,    dL/dC_hk = sum_jr a_jh (dL/dS_jr) a_rk,
    dL/da_jh = <dL/dG_j, X_h> + 2 sum_r (dL/dS_jr) sum_k C_hk a_rk,

and from X and C to signals and noise parts as there, units in place of neurons. An output's own size is not among what its
loss sees where it is normalised, sum_h a_jh dL/da_jh = sum_h <X_h, dL/dX_h> = sum_h <w_h, dL/dw_h>/q over its own units.
"""

from dynlab.formulas.activations import is_odd
from dynlab.formulas.components import NOISE_PATCHES
from dynlab.formulas.head_rules import decay_gradient, project_gradient
from dynlab.formulas.hidden_units import outputs_of_units, weighted
from dynlab.formulas.objective import signal_gradient
from dynlab.formulas.second_moments import inner
from dynlab.formulas.switched import AVERAGE, HEAD_DECAY, HEAD_RULE, noise_forces, output_forces


def hidden_switched_sizes(m, units, features):
    """Shapes of the scratch arrays of `hidden_switched_forces` beside two of `hidden_units.hidden_workspace_sizes`."""
    states = 2 * features
    wide, square, pairs = (m, states + 1), (states + 1, states + 1), (m, m)
    of_outputs = pairs, pairs, wide, wide, wide, wide, wide, (4, states + 1), square, square, (states + 1,)
    return *of_outputs, wide, pairs, (m,), (units, states + 1), (units, units)


def hidden_switched_forces(kind, sizes, par, choice, numbers, online, target, readouts, head, work, found):
    """The loss, and its gradient through the sides that no stop-gradient closes; derived at the head of the module.

    sizes: (m, M, K). choice, numbers: the switches as `switched` has them. online, target: signal, side (M, K), norm (M,),
    dot, wedge, eps (M, M) of the units of w and w', as `objective.forces` takes them. readouts: a and a' (m, M). Of w' and
    a' any, if the target is not an average. head (m, m): E; filled here for rules that make it from the correlation. work:
    scratch of the online units, of the target's, of outputs, and VICReg's corner, on which no output is held. found, to
    fill: d_signal (M, K), d_noise (M, M) with dL/d log|w~_h| on the diagonal and dL/dQ_hk off it, d_readout (m, M), and
    d_head (m, m), projected on what the rule trains and with its decay. Decays of weights and readout are the caller's.
    """
    m, units, features = sizes
    mine, theirs, spare, corner = work
    d_signal, d_noise, d_readout, d_head = found
    d_raw, d_cov, goal_noise, unit_d_raw, unit_d_cov = spare[11:]
    odd = is_odd(kind)
    count = outputs_of_units(kind, sizes, par, online, readouts[0], mine)
    width = count if odd else count + 1
    unit_raw, unit_cov, unit_cross, line = mine[0], mine[6], mine[7], mine[23]
    outputs = (mine[8], mine[9], mine[10], mine[11], mine[13], mine[14], corner)
    goal, behind = mine[8], mine[14]
    if choice[AVERAGE] == 1:
        outputs_of_units(kind, sizes, par, target, readouts[1], theirs)
        goal, behind = theirs[8], theirs[14]
    for j in range(m):
        goal_noise[j] = par[NOISE_PATCHES] * behind[j, j]
    of_outputs = (d_raw, d_cov, d_head)
    loss = output_forces(odd, m, count, par, choice, numbers, outputs, (goal, goal_noise), head, spare[:11], of_outputs)
    to_units(m, units, width, readouts[0], d_raw, d_cov, unit_d_raw, unit_d_cov)
    for r in range(m):
        for h in range(units):
            line[h] = weighted(units, unit_cov[h], readouts[0][r])
        for j in range(m):
            for h in range(units):
                value = inner(width, d_raw[j], unit_raw[h]) if r == 0 else d_readout[j, h]
                d_readout[j, h] = value + 2.0 * d_cov[j, r] * line[h]
    noise_forces(kind, units, count, odd, unit_raw, unit_cov, unit_cross, unit_d_cov, unit_d_raw, d_noise)
    signal_gradient(kind, units, features, par, online[0], online[1], unit_d_raw, d_signal)
    project_gradient(choice[HEAD_RULE], m, d_head)
    if numbers[HEAD_DECAY] > 0.0:
        decay_gradient(choice[HEAD_RULE], m, numbers[HEAD_DECAY], head, d_head)
    return loss


def to_units(m, units, width, readout, d_raw, d_cov, unit_d_raw, unit_d_cov):
    """Fill unit_d_raw (M, N + 1) with a^T dL/dG, unit_d_cov (M, M) with a^T (dL/dS) a."""
    for h in range(units):
        for i in range(width):
            total = 0.0 * d_raw[0, i]
            for j in range(m):
                total = total + readout[j, h] * d_raw[j, i]
            unit_d_raw[h, i] = total
        for k in range(h + 1):
            total = 0.0 * d_cov[0, 0]
            for j in range(m):
                for r in range(m):
                    total = total + readout[j, h] * d_cov[j, r] * readout[r, k]
            unit_d_cov[h, k] = total
            unit_d_cov[k, h] = total
