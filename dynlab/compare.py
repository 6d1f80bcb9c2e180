"""Minibatch training against the exact theory: the overlay, the distance, and how it falls with the batch.

python -m dynlab.compare --batch 256,1024,4096
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from dynlab.command_line import minibatches
from dynlab.command_line.parser import Parser

PROGRAM = "dynlab.compare"
# Noise adds to the norm of the weights in proportion to dim * lr * time/batch; with these it stays a correction.
# The start of this seed learns both features early with the head, and one alone without.
DEFAULTS = {
    "--dim": "6", "--weak": "0.6", "--seed": "5", "--lr": "0.02", "--eta-head": "1", "--steps": "300", "--seeds": "16",
    "--batch": "256,1024,4096", "--activation": "cubic",
}  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    return minibatches.command(parser(), argv)


def parser() -> Parser:
    """The options."""
    what = (
        "Train on minibatches of several sizes, draw the exact descent over them, fit how far apart they are. The defaults "
        "(weak 0.6, dim 6, head as fast as the weights) are a case that is over in 300 steps: at weak 0.3 and a large dim "
        "the first feature takes a time like dim^2, and the noise of the batches adds up all that while."
    )
    return minibatches.parser(PROGRAM, what, "batch sizes, with commas", DEFAULTS)


if __name__ == "__main__":
    sys.exit(main())
