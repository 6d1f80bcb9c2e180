"""The layers of dynlab, ground first, and what each file may import of them.

A file imports its own layer or a lower one. What one layer must know of another above it, it is handed.
"""

from __future__ import annotations

# Folders (and the modules that stand alone), by the names they have inside the package. The longest name that fits counts.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("_build", "_version", "tools"),
    ("formulas",),
    ("machine", "settings"),
    ("population", "linear"),
    ("samples", "ensembles"),
    ("maps", "planes", "claims", "images", "sounds", "embeddings"),
    ("drawing", "explanation"),
    ("reports", "explorer"),
    ("command_line", "sweeps"),
    (  # the commands, and the names that `import dynlab` offers
        "__init__", "__main__", "ablate", "compare", "diagnose", "docs", "doctor", "evaluate", "explain", "explore",
        "export", "figures", "heads", "methods", "phase", "portrait", "pretrain", "recipes", "run", "simulation", "sweep",
        "theorem",
    ),
)  # fmt: skip

# Pure mathematics imports this and itself. Exceptions: (module of formulas, what it imports) with the reason.
PURE = "formulas"
PURE_IMPORTS = ("math",)
PURE_EXCEPTIONS: dict[tuple[str, str], str] = {
    ("formulas.number_table", "array"): "memory with an address, which compiled code reads",
    ("formulas.cubic_flow_rates", "numpy"): "constant vectors",
    ("formulas.lanewise", "numpy"): "the bits of a float64",
}

# Imports that go up all the same: (importing module, imported module) with the reason.
UPWARD_EXCEPTIONS: dict[tuple[str, str], str] = {}

# Naive loops and exact references, which share no code with what they check.
ORACLES = ("naive.py", "naive_*.py", "*/naive_*.py", "oracles/*.py")


def layer_of(module: str) -> int | None:
    """The number of the layer, from 0, of a module named from inside the package; None where the table has no place for it.

    "formulas.pair" is in "formulas", as every module of a folder is where the table does not name it or a nearer folder.
    """
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        name = ".".join(parts[:length])
        for number, names in enumerate(LAYERS):
            if name in names:
                return number
    return None
