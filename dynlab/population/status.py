"""How a trajectory ends: every ending once, with its number in kernels, its name in results, and what to do about it."""

from __future__ import annotations

from typing import NamedTuple

# What kernels return. AT_REST is UNTIL where nothing moves any more; NOTHING_LEARNT and STOPPED are given after the kernels.
UNTIL, STATIONARY, TOO_MANY_STEPS, UNDERFLOW, NOT_FINITE, VANISHED, AT_REST, NOTHING_LEARNT, STOPPED, SINGULAR = range(10)
CYCLE = 10


class Ending(NamedTuple):
    """One way to end: its number, the name in tables and files, whether it is a success, and a sentence of remedy."""

    code: int
    name: str
    good: bool
    remedy: str


ENDINGS = (
    Ending(UNTIL, "until", True, "Nothing is wrong; set a later end (until) to see what comes after it."),
    Ending(STATIONARY, "stationary", True, "Nothing is wrong; nothing can change any more, however long one trains."),
    Ending(
        TOO_MANY_STEPS, "steps", False,
        "The solver used up the steps it may take: ask for less accuracy (a larger rtol), or for an earlier end (until).",
    ),
    Ending(
        UNDERFLOW, "underflow", False,
        "The solver's step became too small to advance: end earlier (until), or change the accuracy (rtol).",
    ),
    Ending(
        NOT_FINITE, "not finite", False,
        "A number grew beyond all bounds: take a smaller learning rate; for the flow, strengths and noise nearer to 1.",
    ),
    Ending(
        VANISHED, "vanished", True,
        "A neuron has no length left, so its output cannot be normalised: take less weight decay to keep it, or, with "
        "hidden units, a slower head.",
    ),
    Ending(
        SINGULAR, "singular", True,
        "An online output lost all its variance, and the flow ends there: train by descent to see what comes behind it.",
    ),
    Ending(
        CYCLE, "cycle", True,
        "The state goes round on a limit cycle for ever, and what is told of it is the mean over a round; a slower head "
        "brings more starts to rest.",
    ),
    Ending(
        NOTHING_LEARNT, "waiting", True,
        "No feature is learnt yet and the state is not at rest: train for longer (a later until).",
    ),
    Ending(STOPPED, "stopped", True, "Nothing is wrong; the caller's own condition was met."),
)  # fmt: skip
STATUS_NAMES = {ending.code: ending.name for ending in ENDINGS} | {AT_REST: ENDINGS[UNTIL].name}
SUCCESS = tuple(ending.name for ending in ENDINGS if ending.good)
_OLDER = {"step underflow": ENDINGS[UNDERFLOW].name}  # as the linear flow has always called it


def remedy(name: str) -> str:
    """The sentence of remedy for a status by its name in results, or for one that says more behind it ("not finite: ...").

    "" for a name that is none of a trajectory's.
    """
    known = {ending.name: ending.remedy for ending in ENDINGS}
    plain = _OLDER.get(name, name)
    return known.get(plain, next((text for other, text in known.items() if plain.startswith(f"{other}:")), ""))
