"""Run a script with cells, one after another in one namespace: python -m tests.docs.run_cells SCRIPT.

The first cell that raises is named, with the first words of its code, and the exit status is 1.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from dynlab.docs.cells import cells


def run(path: Path) -> int:
    """Execute the cells of code; 1 where one fails."""
    space = {"__name__": "__main__"}
    code = [cell for cell in cells(path.read_text(encoding="utf-8")) if cell.kind == "code"]
    for number, cell in enumerate(code, 1):
        try:
            # Blank lines before the code: lines of a traceback are then those of the script.
            exec(compile("\n" * (cell.line - 1) + cell.text, str(path), "exec"), space)
        except Exception:
            traceback.print_exc()
            first = cell.text.splitlines()[0]
            print(f"cell {number} of {len(code)}, line {cell.line}, failed: {first}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
