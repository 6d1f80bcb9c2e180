r"""Limit cycles in the flow of neurons with hidden units: undecorated, compiled by `dynlab.population.hidden.flow`.

The flow under stop-gradient is not the descent of one function: some starts go round for ever. A round is told by its return
to a place: by what no rotation of the noise space changes, z = (A, Q = noise Gram, a, E). From a reference place z_0 with
velocity z_0' the state is back where it crosses the plane <z_0', z - z_0> = 0 upwards (each of the four parts in units of
its own size there) and each part is nearer to its reference than `NEAR` of how far it went on the round. The crossing is
then the next reference. The state is on a limit cycle when `ROUNDS` rounds in a row came back to within `ALIKE`; the period
is the last one's. Where no round closes for long, the reference is taken anew, after ever more steps (Brent's rule).

Rounds that come back, but drift by more than `ALIKE` each, are the rule: they may go on for a hundred rounds, or end at rest
after some. `last_period` tells them.
"""

from dynlab.population.hidden.kinks import hermite
from dynlab.population.hidden.measures import greatest_size

NEAR = 0.2  # of what a part of z went through: a round
ALIKE = 1e-3  # likewise: rounds that are the same
ROUNDS = 3  # in a row that are the same
WIDE = 1e-3  # of its own size that some part of z must move by: else the state is as good as at rest
FIRST_WAIT, LONGER = 256.0, 1.5  # steps until the reference is taken anew, and the factor by which they grow
HALVINGS = 40
AGAIN = 2  # rounds in a row, alike or not, by which a state goes round
# Entries of numbers: time of the reference, steps since (-1: there is none), steps it may take, where the state was beside
# the plane, its time, rounds in a row that are alike, that closed, the last one's time; from EXTENT and SIZE on four each,
# how far each part went and how large it was.
SINCE, AGE, WAIT, BESIDE, LAST, MATCHED, CLOSED, TOOK, EXTENT, SIZE = 0, 1, 2, 3, 4, 5, 6, 7, 8, 12
NUMBERS = 16


def part_ends(system):
    """Where the four parts of z end."""
    _, m, units, features, _, _, _ = system
    first = units * features
    second = first + units * units
    return first, second, second + m * units, second + m * units + m * m


def place_of(system, y, out):
    """Fill out (n,) with z: the state with the noise parts' Gram matrix for their rows."""
    _, _, units, features, _, _, _ = system
    cut = units * features
    for i in range(len(y)):
        out[i] = y[i]
    for h in range(units):
        for k in range(h + 1):
            total = 0.0
            for i in range(units):
                total += y[cut + h * units + i] * y[cut + k * units + i]
            out[cut + h * units + k] = total
            out[cut + k * units + h] = total


def turn_of(system, y, velocity, out):
    """Fill out (n,) with dz/dt."""
    _, _, units, features, _, _, _ = system
    cut = units * features
    for i in range(len(y)):
        out[i] = velocity[i]
    for h in range(units):
        for k in range(h + 1):
            total = 0.0
            for i in range(units):
                total += y[cut + h * units + i] * velocity[cut + k * units + i]
                total += y[cut + k * units + i] * velocity[cut + h * units + i]
            out[cut + h * units + k] = total
            out[cut + k * units + h] = total


def beside(system, numbers, origin, toward, place):
    """<z_0', z - z_0> in units of the parts' sizes."""
    first = 0
    total = 0.0
    for part, last in enumerate(part_ends(system)):
        size = numbers[SIZE + part]
        if size > 0.0:
            some = 0.0
            for i in range(first, last):
                some += toward[i] * (place[i] - origin[i])
            total += some / (size * size)
        first = last
    return total


def between(h, theta, old, old_velocity, y, velocity, out):
    """Hermite's cubic at theta in [0, 1] of a step of length h."""
    for i in range(len(y)):
        out[i] = hermite(theta, h, old[i], y[i], old_velocity[i], velocity[i], 0.0)


def take_reference(system, t, y, velocity, head_floor, track):
    """Begin at y anew."""
    numbers, origin, toward, _, _, _, _ = track
    place_of(system, y, origin)
    turn_of(system, y, velocity, toward)
    first = 0
    for part, last in enumerate(part_ends(system)):
        numbers[SIZE + part] = greatest_size(origin, first, last)
        numbers[EXTENT + part] = 0.0
        first = last
    # Where heads are the identity, their size is what they may rise to.
    off = 0.0
    _, m, _, _, _, _, _ = system
    for j in range(m):
        for r in range(m):
            if r != j:
                off = max(off, abs(origin[len(y) - m * m + j * m + r]))
    numbers[SIZE + 3] = max(off, head_floor)
    numbers[SINCE] = t
    numbers[AGE] = 0.0
    numbers[BESIDE] = 0.0


def mismatch(system, numbers, origin, place):
    """The largest distance of a part of z from its reference beside what it went through; infinite if none moved."""
    first = 0
    worst = 0.0
    widest = 0.0
    for part, last in enumerate(part_ends(system)):
        away = 0.0
        for i in range(first, last):
            away = max(away, abs(place[i] - origin[i]))
        extent = numbers[EXTENT + part]
        size = numbers[SIZE + part]
        if size > 0.0:
            worst = max(worst, away / (extent + 1e-5 * size))
            widest = max(widest, extent / size)
        first = last
    return worst if widest > WIDE else 1e300


def look_for_round(system, t, y, velocity, head_floor, track):
    """After a step to y at time t: the period if the state is on a limit cycle by now, else 0.

    track: numbers (NUMBERS,), reference and its velocity (n,), the last state and its velocity (n,), two of scratch (n,).
    """
    numbers, origin, toward, old, old_velocity, place, point = track
    period = 0.0
    if numbers[AGE] < 0.0 or numbers[AGE] > numbers[WAIT]:
        numbers[WAIT] = FIRST_WAIT if numbers[AGE] < 0.0 else numbers[WAIT] * LONGER
        numbers[MATCHED] = 0.0
        numbers[CLOSED] = 0.0
        take_reference(system, t, y, velocity, head_floor, track)
    else:
        place_of(system, y, place)
        first = 0
        for part, last in enumerate(part_ends(system)):
            for i in range(first, last):
                numbers[EXTENT + part] = max(numbers[EXTENT + part], abs(place[i] - origin[i]))
            first = last
        now = beside(system, numbers, origin, toward, place)
        before = numbers[BESIDE]
        numbers[BESIDE] = now
        numbers[AGE] += 1.0
        if before < 0.0 and now >= 0.0 and numbers[LAST] > numbers[SINCE]:
            period = close_round(system, t, y, velocity, track)
            if period == 0.0:
                numbers[BESIDE] = beside(system, numbers, origin, toward, place)
    numbers[LAST] = t
    for i in range(len(y)):
        old[i] = y[i]
        old_velocity[i] = velocity[i]
    return period


def last_period(numbers):
    """How long the last round took of a state that goes round, 0 for one that does not."""
    return numbers[TOOK] if numbers[CLOSED] >= AGAIN else 0.0


def close_round(system, t, y, velocity, track):
    """The plane was crossed in the last step: if the state is back, take the crossing as the next reference; the period."""
    numbers, origin, toward, old, old_velocity, place, point = track
    h = t - numbers[LAST]
    low = 0.0
    high = 1.0
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        between(h, middle, old, old_velocity, y, velocity, point)
        place_of(system, point, place)
        if beside(system, numbers, origin, toward, place) < 0.0:
            low = middle
        else:
            high = middle
    off = mismatch(system, numbers, origin, place)
    found = 0.0
    if off < NEAR:
        when = numbers[LAST] + high * h
        numbers[MATCHED] = numbers[MATCHED] + 1.0 if off < ALIKE else 0.0
        numbers[CLOSED] += 1.0
        numbers[TOOK] = when - numbers[SINCE]
        if numbers[MATCHED] >= ROUNDS:
            found = numbers[TOOK]
        for i in range(len(y)):
            origin[i] = place[i]
        for part in range(4):
            numbers[EXTENT + part] = 0.0
        numbers[SINCE] = when
        numbers[AGE] = 0.0
    place_of(system, y, place)
    return found
