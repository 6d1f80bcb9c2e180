"""Single trajectories of the cubic flow beside SciPy's stiff solvers and diffrax's: the same starts, horizons and equations.

The peers are given what makes the flow tame, short of the solver itself: the same logarithmic coordinates, the same
right-hand side without cancellation (`dynlab.formulas.cubic_flow_rates`; compiled for SciPy, traced for JAX), and SciPy the
exact Jacobian. In time instead of arc length they must resolve a jump that at large dimensions is narrower than the spacing
of float64 at that time; which of them fail there, and how often, is part of the result. All use one tolerance, relative and
absolute, and one thread, but for diffrax, which follows all starts at once (vmap) with what threads JAX takes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from types import FunctionType

import numpy as np
from numpy.typing import NDArray
from scipy.integrate import solve_ivp

from benchmarks.machine import difference, installed, lost, number, shown, side_by_side, spread, timed_if_right, verified
from dynlab import Model
from dynlab.formulas import cubic_flow_rates
from dynlab.formulas.components import ACROSS, NOISE_PATCHES, SAME, SIGMA, STRENGTHS
from dynlab.machine import jit
from dynlab.population.gradient import order_parameter_gradient, parameter_vector
from dynlab.population.order_parameters import OrderParameters, draw_order_parameters
from dynlab.population.outcomes import outcomes
from dynlab.population.pair import flow
from dynlab.population.simulate import simulate
from dynlab.population.status import UNTIL

CASES = ((64, 1e4), (1000, 1e9), (1000, 1e12), (10**6, 1e18), (10**9, 1e24))  # dim, end
HEAD_RATE, TOLERANCE = 0.01, 1e-6
MOST_CALLS = 20_000  # of the right-hand side, a trajectory: ten times what a successful one takes at dim 1000
MOST_STEPS = 4096  # of diffrax
SCIPY = ("LSODA", "BDF", "Radau")
# Of a coordinate at the end, logarithms and head entries, between two solvers with errors of TOLERANCE a step.
ALLOWED = 1e-3

_rates = jit.compiled(cubic_flow_rates.cubic_pair_rates)
_jacobian = jit.compiled(cubic_flow_rates.cubic_pair_jacobian)


@jit.kernel
def rates_at(par, z, side, rates):
    """dz/dt."""
    _rates(par, z, side, rates)


@jit.kernel
def jacobian_at(par, z, side, rates, jac):
    """dz/dt and its Jacobian."""
    _jacobian(par, z, side, rates, jac)


class TooManyCalls(Exception):
    """A trajectory that is given up."""


def draw_starts(model: Model, dim: int, count: int) -> tuple:
    """State vectors (N, 9) and signs (N, 4) of the first starts of `dynlab.ensemble`."""
    drawn = [draw_order_parameters(model, dim, np.random.default_rng((0, i)), 1.0) for i in range(count)]
    signal, gram = (np.array(part) for part in zip(*drawn, strict=True))
    return flow.encode_arrays(model, signal, gram, np.tile(np.eye(2), (count, 1, 1)))


def check_rates(model: Model, z: NDArray, side: NDArray) -> dict:
    """Refuse a wrong right-hand side: the rates of A, of the noise's Gram matrix and of the head, from their gradients.

    dA/dt = -dL/dA, dQ/dt = -(D Q + Q D) with dL/dw~_p = sum_q D_pq w~_q, dE/dt = -r dL/dE.
    """
    rng, found = np.random.default_rng(1), []
    z = z.copy()
    z[:, 7:] = 0.1 * rng.standard_normal((len(z), 2))
    for state, signs in zip(z, side, strict=True):
        signal, gram, head = flow.decode(model, state, signs)
        _, d_signal, d_noise, d_head = order_parameter_gradient(model, OrderParameters(signal, gram, head))
        d_gram = -(d_noise @ gram + gram @ d_noise.T)
        logs = (-d_signal / signal).ravel()
        norms = np.diagonal(d_gram) / (2.0 * np.diagonal(gram))
        c = gram[0, 1] / np.sqrt(gram[0, 0] * gram[1, 1])
        turn = (d_gram[0, 1] / gram[0, 1] - norms.sum()) * c / (1.0 - c * c)
        heads = -HEAD_RATE * d_head[~np.eye(2, dtype=bool)]
        right = [*logs[:3], logs[3] + logs[0] - logs[1] - logs[2], *norms, turn, *heads]
        rates = np.empty(9)
        rates_at(parameter_vector(model, HEAD_RATE), state, signs, rates)
        found.append(difference(rates, right, 1e-6 * float(np.abs(right).max())))
    return verified("rates of the flow, relative to the gradient", {"dz/dt": (float(np.max(found)), 1e-6)})


def scipy_ends(method: str, par: NDArray, z: NDArray, side: NDArray, until: float) -> NDArray:
    """End states (N, 9), nan where SciPy's solver failed or took more than MOST_CALLS."""
    ends = np.full(z.shape, np.nan)
    rates, jac = np.empty(9), np.empty((9, 9))
    for i, (start, signs) in enumerate(zip(z, side, strict=True)):
        calls = 0

        def right_hand_side(t, state, signs=signs):
            nonlocal calls
            calls += 1
            if calls > MOST_CALLS:
                raise TooManyCalls
            rates_at(par, state, signs, rates)
            return rates.copy()

        def jacobian(t, state, signs=signs):
            jacobian_at(par, state, signs, rates, jac)
            return jac.copy()

        try:
            with np.errstate(all="ignore"):  # what overflows shows in the state
                found = solve_ivp(right_hand_side, (0.0, until), start, method, jac=jacobian, rtol=TOLERANCE, atol=TOLERANCE)
        except (TooManyCalls, ValueError, np.linalg.LinAlgError):  # the last two: states that are not numbers
            continue
        if found.success:
            ends[i] = found.y[:, -1]
    return ends


def diffrax_ends(par: NDArray) -> Callable[[NDArray, NDArray, float], NDArray]:
    """ends(z (N, 9), side (N, 4), until) by Kvaerno5 in float64, jit(vmap): nan where it failed."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    neuron_values = FunctionType(cubic_flow_rates.neuron_values.__code__, {**vars(cubic_flow_rates), "sqrt": jnp.sqrt})
    strengths = jnp.array([par[STRENGTHS], par[STRENGTHS + 1]] * 2)
    counts, sixth = (par[SAME], par[ACROSS], par[NOISE_PATCHES]), par[SIGMA] ** 6

    def right_hand_side(t, z, side):
        signal = side * jnp.exp(jnp.stack([z[0], z[1], z[2], z[3] + z[2] + z[1] - z[0]]))
        a11, a12, a21, a22 = signal
        x1, x2, y1, y2 = (strengths * signal) ** 3
        even = jnp.expm1(3.0 * z[3])
        det = x2 * y1 * jnp.where(side.prod() > 0, even, -even - 2.0)
        q1, q2, c = jnp.exp(2.0 * z[4]), jnp.exp(2.0 * z[5]), jnp.tanh(z[6])
        k3 = sixth * jnp.exp(3.0 * (z[4] + z[5]))
        cxx, cyy, cxy = 15.0 * sixth * q1**3, 15.0 * sixth * q2**3, k3 * c * (9.0 + 6.0 * c * c)
        first = neuron_values(x1, x2, y1, y2, det, cxx, cxy, cyy, z[7], *counts)[2]
        second = neuron_values(y1, y2, x1, x2, -det, cyy, cxy, cxx, z[8], *counts)[2]
        rates = [z[0]] * 9
        cubic_flow_rates.pair_flow(
            par, a11, a12, a21, a22, 1.0 / q1, 1.0 / q2, c, k3, cxx, cxy, cyy, z[7], z[8], first, second, rates
        )
        return jnp.stack(rates)

    def one(start, side, until):
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(right_hand_side), diffrax.Kvaerno5(), 0.0, until, None, start, args=side, throw=False,
            saveat=diffrax.SaveAt(t1=True), max_steps=MOST_STEPS,
            stepsize_controller=diffrax.PIDController(rtol=TOLERANCE, atol=TOLERANCE),
        )  # fmt: skip
        return jnp.where(found.result == diffrax.RESULTS.successful, found.ys[-1], jnp.nan)

    together = jax.jit(jax.vmap(one, in_axes=(0, 0, None)))
    return lambda z, side, until: np.asarray(together(z, side.astype(np.float64), until))


def our_ends(model: Model, z: NDArray, side: NDArray, until: float) -> NDArray:
    """End states (N, 9) by the solver of dynlab, nan where it failed."""
    found = flow.run_flow(model, z, side, head_rate=HEAD_RATE, until=until, rtol=TOLERANCE, settle=False)
    return np.where((found.status == UNTIL)[:, None], found.end, np.nan)


def agree(label: str, model: Model, side: NDArray, ends: dict[str, NDArray]) -> dict:
    """Refuse to time if a trajectory of ours fails, or ends otherwise than a peer's and no other peer ends as ours does.

    Returns for each solver the shares that failed and that are inaccurate (more than ALLOWED from where we and another peer
    end, though its solver reported success), and for the peers the largest difference from ours of the rest.
    """
    peers = [name for name in ends if name != "dynlab"]
    failed = {name: ~np.isfinite(end).all(1) for name, end in ends.items()}
    none = np.zeros(len(side), dtype=bool)
    outcome, apart = {}, {}
    for name, end in ends.items():
        signal, gram, _ = flow.decode(model, np.where(failed[name][:, None], 0.0, end), side)
        outcome[name] = outcomes(model, signal, gram, none)
        apart[name] = np.abs(end - ends["dynlab"]).max(1)
    same = {name: (apart[name] <= ALLOWED) & (outcome[name] == outcome["dynlab"]) for name in peers}
    confirmed = np.any([same[name] for name in peers], axis=0) if peers else none
    alone = {name: ~(failed[name] | failed["dynlab"] | same[name] | confirmed) for name in peers}
    allowed = {"dynlab, failed": (float(failed["dynlab"].mean()), 0.0)}
    for name in peers:
        if alone[name].any():
            allowed[f"{name}, end states"] = float(np.nanmax(apart[name][alone[name]], initial=0.0)), ALLOWED
            allowed[f"{name}, other outcomes"] = float((outcome[name] != outcome["dynlab"])[alone[name]].sum()), 0.0
    verified(label, allowed)
    result = {"dynlab": {"failed": 0.0, "inaccurate": 0.0}}
    for name in peers:
        result[name] = {"failed": float(failed[name].mean()), "inaccurate": float((~failed[name] & ~same[name]).mean())}
        if same[name].any():
            result[name]["difference"] = float(apart[name][same[name]].max())
    return result


def one_simulate(model: Model, dim: int, until: float, z: NDArray, side: NDArray, repeats: int) -> dict:
    """Milliseconds of one `dynlab.simulate` from these starts, checks and trace included; refused if it ends otherwise."""
    parts = flow.decode(model, z, side)
    starts = [OrderParameters(*state) for state in zip(*parts, strict=True)]

    def traced():
        return [simulate(model, start, eta_head=HEAD_RATE, until=until, rtol=TOLERANCE) for start in starts]

    ended = np.concatenate([flow.encode(model, run.final)[0][None] for run in traced()])
    apart = float(np.abs(ended - our_ends(model, z, side, until)).max())
    checks = verified(f"one simulate, dim {dim:g} to {until:g}", {"end state": (apart, ALLOWED)})
    seconds = side_by_side({"simulate": traced}, repeats, warm=True)["simulate"]
    return {"checks": checks, "ms": spread(1e3 * np.array(seconds) / len(starts))}


def one_case(dim: int, until: float, count: int, repeats: int, methods: tuple[str, ...]) -> dict:
    """Milliseconds a trajectory, of each solver, for one dimension and end; the peers' ratios to ours."""
    model = Model()
    par = parameter_vector(model, HEAD_RATE)
    z, side = draw_starts(model, dim, count)
    label = f"trajectories, dim {dim:g} to {until:g}"
    row: dict = {"dim": dim, "until": until, "starts": count, "rates": check_rates(model, z, side)}
    runs = {"dynlab": lambda: our_ends(model, z, side, until)}
    for method in methods:
        if method != "diffrax":
            runs[f"SciPy {method}"] = partial(scipy_ends, method, par, z, side, until)
        elif installed("diffrax"):
            runs["diffrax Kvaerno5"] = partial(diffrax_ends(par), z, side, until)
    row["solvers"] = agree(label, model, side, {name: run() for name, run in runs.items()})
    seconds = {name: np.array(values) for name, values in side_by_side(runs, repeats, warm=True).items()}
    text = []
    for name, values in seconds.items():
        found = row["solvers"][name]
        found |= {"ms": spread(1e3 * values / count)}
        if name != "dynlab":
            found["ratio"] = spread(values / seconds["dynlab"])
        ratio = f", {number(found['ratio']['median'], 2)} times" if "ratio" in found else ""
        text.append(f"{name} {shown(found['ms'])} ms{ratio}{lost(found)}")
    row["simulate"] = one_simulate(model, dim, until, z, side, repeats)
    text.append(f"one simulate with its trace {shown(row['simulate']['ms'])} ms")
    print(f"{label}, each of {count}: {'; '.join(text)}", flush=True)
    return row


def run(quick: bool = False) -> list:
    """All dimensions and ends; quick: two of them, few starts, the fastest of SciPy's solvers."""
    if quick:
        return [timed_if_right(one_case, *case, 4, 2, ("LSODA", "diffrax")) for case in CASES[:2]]
    return [timed_if_right(one_case, *case, 16, 5, (*SCIPY, "diffrax")) for case in CASES]
