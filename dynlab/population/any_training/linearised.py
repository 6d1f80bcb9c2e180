"""The flow under any training linearised at a state, and what of its numbers rounding and tolerance leave. Undecorated."""

from math import sqrt

from dynlab.formulas.switched_flow_rates import switched_rates
from dynlab.machine.tangents import DIRECTIONS, seed, with_tangents
from dynlab.population.pair.integrate import all_finite

ROUNDING = 1e-15


def exact_jacobian(system, z, side, twin, low, columns):
    """Fill columns (n, n) from row `low` on: row k holds the derivatives of `switched_rates` by coordinate k."""
    rows, rate_rows, scratch = twin
    n = len(z)
    numbers, rates, twin_scratch = with_tangents(rows), with_tangents(rate_rows), with_tangents(scratch)
    for first in range(low, n, DIRECTIONS):
        seed(z, first, rows)
        switched_rates(system, numbers, side, twin_scratch, rates)
        for k in range(min(DIRECTIONS, n - first)):
            for i in range(n):
                columns[first + k, i] = rate_rows[i, 1 + k]


def linearise(system, z, side, buffers):
    """Fill rates_at and jac_at with dz/dt and its Jacobian at z; whether all of it is finite."""
    switched_rates(system, z, side, buffers.scratch, buffers.rates_at)
    exact_jacobian(system, z, side, buffers.twin, 0, buffers.jac_at)
    return all_finite(len(z), buffers.rates_at, buffers.jac_at)


def rounding_motion(relative, z, columns, noise):
    """Fill noise (n,) with what rounding the coordinates does to their rates. columns: of their Jacobian."""
    n = len(z)
    for i in range(n):
        noise[i] = 0.0
    for k in range(n):
        rounded = ROUNDING * (abs(z[k]) if relative[k] > 0 else max(abs(z[k]), 1.0))
        for i in range(n):
            noise[i] += abs(columns[k, i]) * rounded


def entry_floors(first, n, caps, columns, floors):
    """Error floors of the head's entries n - 1 > i >= first: what an error in one does to the direction of the rest."""
    for k in range(first, n - 1):
        worst = 0.0
        for i in range(first):
            worst = max(worst, abs(columns[k, i]))
        floors[k] = caps[k] / (1.0 + caps[k] * worst)


def in_tolerances(tolerances, h, rtol, z, new, change):
    """Root mean square of a change (n,) of coordinates between z and new in units of what a step of length h may err by.

    tolerances: (relative, floors, noise), each (n,): relative is 1 where errors are relative to the value; noise is how fast
    rounding moves the coordinates, which no step can resolve.
    """
    relative, floors, noise = tolerances
    n = len(z)
    total = 0.0
    for i in range(n):
        scale = 1.0
        if relative[i] > 0:
            scale = max(abs(z[i]), abs(new[i])) + floors[i]
        total += (change[i] / (rtol * scale + h * noise[i])) ** 2
    return sqrt(total / n)
