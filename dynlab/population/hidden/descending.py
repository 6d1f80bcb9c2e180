r"""Exact gradient descent of neurons with hidden units: undecorated, compiled by `dynlab.population.hidden.flow`.

A step w <- w - eta dL/dw, a <- a - eta_a dL/da, E <- E - eta_E dL/dE moves the state of `dynlab.population.hidden.solver` by
eta times its velocity at r_a = eta_a/eta, r = eta_E/eta: the force on a noise part is linear in all of them, so their rows
in their own span go where the weights' go. So discrete training is as exact as the flow, for activations of any degree.
"""

from dynlab.population.hidden import solver
from dynlab.population.hidden.measures import conserved_of, drift_of, note
from dynlab.population.hidden.rates import rates
from dynlab.population.status import NOT_FINITE, UNTIL

# Places of the solver's tables.
_ENDED, _DRIFTED, _LOSS = solver.ENDED, solver.DRIFTED, solver.LOSS
_TAKEN, _RECORDED, _EVALUATED, _UNDER_WAY = solver.TAKEN, solver.RECORDED, solver.EVALUATED, solver.UNDER_WAY


def take_sides(y, side):
    """Set side (M K,) to the signs of the signals."""
    for i in range(len(side)):
        side[i] = 1 if y[i] > 0.0 else (-1 if y[i] < 0.0 else 0)


def descend(system, y, side, limits, burst, status, record_at, records, found, scratch, buffers):
    """Take steps from y, overwritten by the end state; return the status.

    limits: (eta, number of steps). burst: number of steps after which it returns `UNDER_WAY`, to go on when it is called
    again with that status. record_at (T,): increasing numbers of steps, records (T, n): the states after them. found:
    events, tally, counts. These and the others as in `solver.follow`; times are steps times eta.
    """
    events, tally, counts = found
    eta, steps = limits
    velocity, carried, charge0, charge1, sizes = buffers[0][0], buffers[5], buffers[6], buffers[7], buffers[8]
    if status != _UNDER_WAY:
        conserved_of(system, y, charge0, sizes)
        take_sides(y, side)
        tally[_LOSS] = rates(system, y, side, scratch, velocity)
        note(system, 0.0, y, scratch, carried, events, tally)
    upto = counts[_EVALUATED] + burst
    ended = UNTIL
    while counts[_TAKEN] < steps:
        if counts[_EVALUATED] >= upto:
            return _UNDER_WAY
        for i in range(len(y)):
            y[i] += eta * velocity[i]
        counts[_TAKEN] += 1
        counts[_EVALUATED] += 1
        take_sides(y, side)
        tally[_LOSS] = rates(system, y, side, scratch, velocity)
        if not abs(tally[_LOSS]) < 1e300:
            ended = NOT_FINITE
            break
        note(system, counts[_TAKEN] * eta, y, scratch, carried, events, tally)
        if counts[_RECORDED] < len(record_at) and record_at[counts[_RECORDED]] == counts[_TAKEN]:
            for i in range(len(y)):
                records[counts[_RECORDED], i] = y[i]
            counts[_RECORDED] += 1
    conserved_of(system, y, charge1, sizes)
    tally[_DRIFTED] = drift_of(charge0, charge1, sizes)
    tally[_ENDED] = counts[_TAKEN] * eta
    return ended
