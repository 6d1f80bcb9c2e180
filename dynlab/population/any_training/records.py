"""What the solver for any training hands from function to function: records of arrays, by the part that they play."""

from __future__ import annotations

from typing import Any, NamedTuple

# Of the control, behind the entries that `step_control.predicted_factor` takes: what `solver.to_arc` says (negative where a
# trajectory goes on by implicit steps), how many steps in a row were rejected, the clock when the method changed last.
KAPPA, IN_A_ROW, LOOKED = 3, 4, 5


class System(NamedTuple):
    """What is trained and how. kind: of activation. choice, numbers: see `dynlab.formulas.switched`."""

    kind: int
    m: int
    features: int
    par: Any
    choice: Any
    numbers: Any


class Scratch(NamedTuple):
    """Arrays of `switched_flow_rates.switched_rates`. Head matrices that no rule changes are
    filled by the caller. corner: of `dynlab.formulas.sliding`."""

    signal: Any
    sides: Any
    norm: Any
    dot: Any
    wedge: Any
    eps: Any
    goal: Any
    goal_sides: Any
    goal_norm: Any
    head: Any
    d_signal: Any
    d_noise: Any
    d_head: Any
    corner: Any
    work: Any


class Weights(NamedTuple):
    """Of the n coordinates: weights in the arc length, error floors, and 1 where errors count relative to the value."""

    arc: Any
    caps: Any
    relative: Any


class Limits(NamedTuple):
    """Clock at the end (of one start, or (N,) of all), relative accuracy, largest number of steps and of rejected steps
    together."""

    clock: Any
    rtol: float
    most: int


class Asked(NamedTuple):
    """Clock readings (T,) to record, the states there (T, n), and room (P, n) for the states after the first P steps."""

    times: Any
    at_times: Any
    trace: Any


class Events(NamedTuple):
    """Clock readings, -inf where never: learnt (K,), marks (3,) of the first and second feature learnt and of the head's
    peak, snapshots (3, n) of the states there; peak (1,): the largest head entry."""

    learnt: Any
    marks: Any
    snapshots: Any
    peak: Any


class Buffers(NamedTuple):
    """What one trajectory is carried on by. control: see `step_control.STEP_LENGTH` and `KAPPA`. rates (n,), jac (n, n) are
    by the arc; rates_at, jac_at those of a step's end by time. Jacobians and `matrix` are kept as their columns. scratch of
    real numbers; twin: coordinates, rates (n, TANGENT_ENTRIES) and scratch of numbers with tangents
    (`dynlab.machine.tangents`)."""

    control: Any
    rates: Any
    jac: Any
    rates_at: Any
    jac_at: Any
    matrix: Any
    order: Any
    stages: Any
    point: Any
    new: Any
    last: Any
    normal: Any
    floors: Any
    noise: Any
    scratch: Any
    twin: Any


class History(NamedTuple):
    """What the steps of `multistep` leave to the next: backward differences (ROWS, n), numbers (NUMBERS,), and scratch
    (3, HIGHEST + 1, HIGHEST + 1) for differences of steps of another length."""

    differences: Any
    numbers: Any
    small: Any
