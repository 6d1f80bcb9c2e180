"""Which files of tests name each module of dynlab, read from the sources: `python -m tests.architecture.named`.

A module is named by an import (of it, or of a public name that `import dynlab` takes from it), by its dotted name in a
string (`python -m dynlab.run`), by its command (`main(["run"])` of the command line), or by its path. What is named nowhere
stands in `THROUGH`, with the file of tests that it is reached through; that the file leads there, by imports, is checked.
"""

from __future__ import annotations

import ast
import re
import sys
from functools import cache
from pathlib import Path

import dynlab
from tests.architecture import imports

# module: (file of tests, how it is reached from there). What no test names is listed here.
_CLAIM = ("claims/test_claims.py", "what the claim rests on; commands/test_theorem.py runs all claims by the command")
_HIDDEN = ("population/hidden/test_flow.py", "flows with hidden units: SciPy, conserved quantities, rest")
_LANES = ("population/hidden/test_lane_runs.py", "runs abreast against single ones, bit by bit")
_KERNEL = ("images/cuda/test_simulator.py", "kernel by kernel, in numba's simulator, against its twin on the CPU")
THROUGH: dict[str, tuple[str, str]] = {
    "dynlab.claims.acceleration": _CLAIM,
    "dynlab.claims.both_learnt": _CLAIM,
    "dynlab.claims.collapse": _CLAIM,
    "dynlab.claims.first_feature": _CLAIM,
    "dynlab.claims.head_peak": _CLAIM,
    "dynlab.claims.head_returns": _CLAIM,
    "dynlab.claims.relu": _CLAIM,
    "dynlab.claims.substitution": _CLAIM,
    "dynlab.command_line.options": ("commands/test_main.py", "every command's --help and mistyped options"),
    "dynlab.command_line.pictures": ("commands/test_pretrain.py", "the commands on pictures"),
    "dynlab.drawing.det_curve": ("sounds/test_speech_runs.py", "the curves that evaluate draws for a run on speech"),
    "dynlab.drawing.embedding": ("drawing/test_plots.py", "plot() of a diagnosis"),
    "dynlab.drawing.objects": ("drawing/test_plots.py", "the plot() of every object"),
    "dynlab.drawing.phase_map": ("drawing/test_legibility.py", "plot() of a phase map"),
    "dynlab.ensembles.hidden": _HIDDEN,
    "dynlab.explanation.layered": ("explanation/test_layered.py", "explain on runs with hidden units"),
    "dynlab.explanation.layered_samples": ("explanation/test_layered_samples.py", "explain on a run on minibatches"),
    "dynlab.explanation.shares": ("explanation/test_runs.py", "explain on runs of the theory"),
    "dynlab.explanation.story": ("explanation/test_runs.py", "explain on runs of the theory"),
    "dynlab.explanation.watched": ("commands/test_diagnose.py", "explain on the folder of a monitor"),
    "dynlab.explorer.bokeh_panels": ("explorer/test_page.py", "what a session draws"),
    "dynlab.explorer.controls": ("explorer/test_page.py", "the widgets that a session is moved by"),
    "dynlab.explorer.loopback": ("explorer/test_page.py", "the server's doors"),
    "dynlab.explorer.page_template": ("explorer/test_page.py", "the page that the server sends"),
    "dynlab.formulas.components": ("population/gradient/test_fifty_digits.py", "gradients near zeros, against 50 digits"),
    "dynlab.formulas.dopri5": _HIDDEN,
    "dynlab.formulas.expansions": ("formulas/test_pair.py", "second moments at angles where they cancel, against 50 digits"),
    "dynlab.formulas.hidden_units": (
        "population/hidden/test_gradient.py",
        "gradients with hidden units, against 200 digits",
    ),
    "dynlab.formulas.rectified_gradient": ("population/pair/test_batch.py", "gradients of many pairs, against that of one"),
    "dynlab.formulas.rectified_tangents": ("population/pair/test_tangents.py", "Jacobians of the flow, against 80 digits"),
    "dynlab.formulas.sliding": ("population/any_training/test_sliding.py", "against projections and smoothed hinges"),
    "dynlab.formulas.switched_flow_rates": ("population/any_training/test_flow.py", "flows against SciPy on dense weights"),
    "dynlab.images.cuda.augment": _KERNEL,
    "dynlab.images.cuda.convolution": _KERNEL,
    "dynlab.images.cuda.dense": _KERNEL,
    "dynlab.images.cuda.normalise": _KERNEL,
    "dynlab.images.cuda.pointwise": _KERNEL,
    "dynlab.images.cuda.pool": _KERNEL,
    "dynlab.images.cuda.rows": _KERNEL,
    "dynlab.images.cuda.updates": _KERNEL,
    "dynlab.images.cuda.slices": _KERNEL,
    "dynlab.images.data.held_out": ("images/data/test_own_pictures.py", "splits and classes of folders and arrays"),
    "dynlab.images.layers.products": ("images/layers/test_layers.py", "matmul and convolutions, against loops"),
    "dynlab.images.layers.tiles": ("images/layers/test_layers.py", "matmul and convolutions, against loops"),
    "dynlab.images.networks.workspace": ("images/networks/test_network.py", "buffers that do not grow from step to step"),
    "dynlab.images.ops": ("commands/test_pretrain.py", "the layers of a device, by its name"),
    "dynlab.images.worth.ranks": ("embeddings/test_diagnosis.py", "ranks and constant outputs, against loops"),
    "dynlab.machine.fork": ("images/worth/test_evaluation.py", "features of a run, in processes that were forked"),
    "dynlab.machine.shown_arrays": ("machine/test_lanes.py", "arrays of vectors, read and written"),
    "dynlab.population.any_training.compiled": (
        "population/any_training/test_hidden_gradient.py",
        "gradients of any training",
    ),
    "dynlab.population.any_training.events": (
        "population/any_training/test_flow.py",
        "times of what is learnt",
    ),
    "dynlab.population.any_training.hidden_gradient": (
        "population/any_training/test_hidden_gradient.py",
        "gradients of any training with a readout",
    ),
    "dynlab.population.any_training.kinks": ("population/any_training/test_flow.py", "relu's flows against SciPy"),
    "dynlab.population.any_training.linearised": (
        "population/any_training/test_implicit.py",
        "what a trajectory is carried on by, where it creeps",
    ),
    "dynlab.population.pair.at_rest": ("population/pair/test_events.py", "stationary ends of the flow"),
    "dynlab.population.pair.events": ("population/pair/test_events.py", "times of events, between steps"),
    "dynlab.population.pair.abreast": ("population/pair/test_abreast.py", "each lane against the single trajectory"),
    "dynlab.population.pair.lane_steps": ("population/pair/test_abreast.py", "each lane against the single trajectory"),
    "dynlab.population.pair.kinks": ("population/pair/test_relu.py", "signals that reach 0, stay, and are let go"),
    "dynlab.population.hidden.descending": (
        "population/hidden/test_descending.py",
        "descent with hidden units, against dense weights",
    ),
    "dynlab.population.dense.hidden_steps": (
        "population/dense/test_hidden_descent.py",
        "steps with hidden units, against loops on gradients of 50 digits",
    ),
    "dynlab.formulas.rectified_units": _LANES,
    "dynlab.population.hidden.lane_runs": _LANES,
    "dynlab.population.hidden.kinks": _HIDDEN,
    "dynlab.population.hidden.measures": _HIDDEN,
    "dynlab.population.hidden.rates": _HIDDEN,
    "dynlab.population.hidden.solver": _HIDDEN,
    "dynlab.population.hidden.stabilised": _HIDDEN,
    "dynlab.population.hidden.trajectory": _HIDDEN,
    "dynlab.population.hidden.vanishing": _HIDDEN,
    "dynlab.sounds.speech_training": ("sounds/test_speech_runs.py", "every objective on speech"),
    "dynlab.population.flow_device": ("commands/test_doctor.py", "--device of the commands of the flow"),
    "dynlab.reports.ablations": ("ensembles/test_ablations.py", "the command's table"),
    "dynlab.reports.samples": ("samples/test_commands.py", "what run --method sgd and compare print"),
    "dynlab.samples.runs": ("samples/test_commands.py", "run --method sgd"),
    "dynlab.settings.registration_checks": ("settings/registration/test_registration.py", "refusals of wrong claims"),
    "dynlab.tools.damage": ("embeddings/test_arrays.py", "damaged files"),
    "dynlab.ensembles.summary_table": ("ensembles/test_summary.py", "the table of `summary()`"),
    "dynlab.tools.callable_module": ("commands/test_from_python.py", "commands' modules that are called"),
    "dynlab.tools.provenance": ("commands/test_run.py", "the end of run.json"),
    "dynlab.tools.types": ("settings/test_settings.py", "types alone"),
    # No import leads to these.
    "dynlab._build": ("architecture/test_install.py", "pip builds the wheel by it"),
    "dynlab.docs.conf": ("docs/test_pages.py", "Sphinx reads it"),
    "dynlab.docs.tutorial": ("docs/test_tutorial.py", "run as a script, and cell by cell"),
}
NOT_IMPORTED = ("dynlab._build", "dynlab.docs.conf", "dynlab.docs.tutorial")


def _names(path: Path, modules: dict[str, Path]) -> set[str]:
    """Modules that one file of tests names."""
    tree = imports.tree_of(path)
    homes = dynlab._HOMES
    found = {one.target for one in imports.imports_of(path, "", modules)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "dynlab":
            found |= {homes[alias.name] for alias in node.names if alias.name in homes}
        elif isinstance(node, ast.Attribute) and getattr(node.value, "id", "") == "dynlab" and node.attr in homes:
            found.add(homes[node.attr])
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found |= set(re.findall(r"dynlab(?:\.\w+)+", node.value))
            inside = re.findall(r"(?:dynlab/)?([\w/]+)\.py\b", node.value)
            found |= {f"dynlab.{name.replace('/', '.')}" for name in inside if "/" in name or f"dynlab/{name}" in node.value}
    return {name for module in found for name in (module, f"{module}.__init__") if name in modules}


def table(root: Path = imports.ROOT, tests: Path = imports.TESTS) -> dict[str, list[str]]:
    """{module: files of tests that name it, by their paths in `tests`}, of all modules that hold code.

    Of the figures, tests/figures builds each by its name.
    """
    modules = imports.modules_of(root, "dynlab")
    found: dict[str, list[str]] = {module: [] for module, path in modules.items() if _holds_code(path)}
    for path in sorted(set(tests.rglob("*.py")) - {Path(__file__)}):
        for module in _names(path, modules):
            if module in found:
                found[module].append(path.relative_to(tests).as_posix())
    return found


def _holds_code(path: Path) -> bool:
    """Whether there is more in a file than a docstring and imports."""
    body = imports.tree_of(path).body
    return any(not isinstance(node, ast.Import | ast.ImportFrom | ast.Expr) for node in body)


@cache
def _graph(root: Path) -> dict[str, set[str]]:
    """{module: what it names}: by imports and by strings (the table of plots, the names of commands)."""
    modules = imports.modules_of(root, "dynlab")
    return {module: _names(path, modules) for module, path in modules.items()}


def reached_from(test: str, root: Path = imports.ROOT, tests: Path = imports.TESTS) -> set[str]:
    """All modules that a file of tests leads to, however far; a folder's own file runs before any module of it."""
    graph, modules, files = _graph(root), imports.modules_of(root, "dynlab"), imports.modules_of(tests.parent, tests.name)
    used, waiting, seen = [tests / test], [], set()
    for path in used:  # grows by the helpers that it imports
        waiting += _names(path, modules)
        used += {files[one.target] for one in imports.imports_of(path, "", files) if one.target in files} - set(used)
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            above = f"{module.removesuffix('.__init__').rpartition('.')[0]}.__init__"
            waiting += [*graph[module], *({above} & set(graph))]
    return seen


def main() -> int:
    """Print the table."""
    for module, files in table().items():
        through = THROUGH.get(module)
        said = ", ".join(files[:3]) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
        print(f"{module:<48} {said or (f'through {through[0]}: {through[1]}' if through else 'NOT NAMED')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
