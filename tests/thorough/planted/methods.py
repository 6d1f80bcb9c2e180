"""Plants faults in recipes, in the comparison of methods and in what computes it, and shows which tests fail for each.

    python -m tests.thorough.planted.methods [NAME ...]

Works on a copy of the sources in a temporary folder (`planting`). The exit status is 1 if a fault is not caught, or if the
unchanged sources fail. Run on demand; pytest does not collect it.
"""

from __future__ import annotations

import sys

from tests.thorough.planting import Planting

READER, SETTINGS = "dynlab/images/recipes/recipe_files.py", "dynlab/images/settings.py"
METHODS, RUNS, TABLES = (
    "dynlab/images/comparison/all_methods.py",
    "dynlab/images/comparison/measured_runs.py",
    "dynlab/images/comparison/tables.py",
)
WORKERS = "dynlab/machine/workers.py"
COMMAND, EXECUTORS, SPECTRUM = "dynlab/methods.py", "dynlab/command_line/executors.py", "dynlab/images/worth/spectrum.py"
# name: (file, text as it stands, text with the fault)
FAULTS = {
    "unknown settings of a file are left out": (SETTINGS, "if name not in names:", "if False:"),
    "a recipe that cannot be run is taken": (SETTINGS, "_with_only(dict(found.settings), found.settings)", "pass"),
    "unknown keys of a file are left out": (READER, "if key not in known:", "if False:"),
    "lists stay lists": (READER, "tuple(value) if isinstance(value, list) else value", "value"),
    "the last of two spellings counts": (READER, "if name in settings:", "if False:"),
    "a name may be a file": (READER, 'given.endswith(SUFFIX) or "/"', 'Path(given).exists() or "/"'),
    "a gate passes at any gain": (METHODS, "not gain >= recipe.least_gain", "False"),
    "a gate does not see the rank": (METHODS, "not rank > RANK", "False"),
    "a gate does not see collapse": (METHODS, '("diverged", "collapsed")', '("diverged",)'),
    "without a head anything passes": (METHODS, "not gain < recipe.most_gain", "False"),
    "gates of other settings": (METHODS, "    if settings.changed:\n        return []\n", ""),
    "all seeds are the first": (METHODS, '"seed": settings.seed + seed', '"seed": settings.seed'),
    "finished runs are made again": (RUNS, "if not said.is_file():\n        stopped", "if True:\n        stopped"),
    "a stopped run is begun anew": (RUNS, "resume=begun", "resume=False"),
    "runs of other settings are taken": (RUNS, "run_folder.settings_of(place) != of_run", "False"),
    "runs in another order": (RUNS, "{entry: made[entry] for entry in chosen}", "dict(reversed(made.items()))"),
    "workers with other pictures": (RUNS, "data[0].content(None) == content", "True"),
    "workers with other sources": (WORKERS, "require(same, ", "require(True, "),
    "the spread before training": (RUNS, "        networks.load(weights)\n", "        pass\n"),
    "intervals of the normal law": (TABLES, "float(student.ppf(0.975, len(values) - 1))", "1.96"),
    "a gate that fails is no status": (COMMAND, "if not one.passed]", "if False]"),
    "workers outlive their owner": (EXECUTORS, "            os._exit(1)", "            pass"),
    "nan in JSON": (SPECTRUM, "None if np.isnan(self.mean_abs_correlation) else", ""),
}  # fmt: skip
TESTS = {
    SETTINGS: "tests/images/recipes", READER: "tests/images/recipes", EXECUTORS: "tests/command_line/test_executors.py",
    SPECTRUM: "tests/images/worth/test_evaluation.py",
}  # fmt: skip


def tests_for(name: str | None) -> list[str]:
    """The tests of the file that a fault is in; all of them for the sources as they are."""
    usual = "tests/images/comparison"
    chosen = {*TESTS.values(), usual} if name is None else {TESTS.get(FAULTS[name][0], usual)}
    return ["--numprocesses=0", *sorted(chosen)]


PLANTING = Planting("methods", FAULTS, tests_for, most=1, longest=120)

if __name__ == "__main__":
    sys.exit(PLANTING.main(sys.argv[1:]))
