"""Run a script with cells, one after another in one namespace: python -m tests.docs.run_cells SCRIPT [FOLDER].

The first cell that raises is named, with the first words of its code, and the exit status is 1. What the cells show is kept
in FOLDER; the pages take the tutorial's from figures/tutorial:

    python -m tests.docs.run_cells dynlab/docs/tutorial.py figures/tutorial
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from dynlab.docs.cells import cells, execute, record, shown


def run(path: Path, folder: Path | None = None) -> int:
    """Execute the cells of code; 1 where one fails."""
    space = {"__name__": "__main__"}
    code = [cell for cell in cells(path.read_text(encoding="utf-8")) if cell.kind == "code"]
    outputs = []
    for number, cell in enumerate(code, 1):
        try:
            said, value = execute(cell, path, space)
        except Exception:
            traceback.print_exc()
            first = cell.text.splitlines()[0]
            print(f"cell {number} of {len(code)}, line {cell.line}, failed: {first}", file=sys.stderr)
            return 1
        print(said, end="")
        if folder is not None:
            outputs.append(shown(said, value, f"cell_{number}", folder))
    if folder is not None:
        record(outputs, folder)
    return 0


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1]), *map(Path, sys.argv[2:])))
