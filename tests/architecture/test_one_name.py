"""One name, one meaning: what is imported by its bare name is defined once, and modules of one name are of one subject.

A name that is only reached with its module in front (`losses.make`, `style.save`) is told apart by it, and a constant that
its own module alone uses is nobody else's; functions and classes count wherever they are defined.
"""

import ast
from collections import defaultdict

import pytest

from tests.architecture import sources

# Rooms whose modules answer to each other name by name: the same function, elsewhere or by another solver.
TWINS = (
    ("images.cuda", "images.layers"), ("images.cuda.memory", "images.layers"), ("images.cuda", "images.data"),
    ("samples.cuda", "samples"), ("population.pair.cuda", "population.pair.flow"), ("machine.gpu", "machine.jit"),
    ("population.any_training", "population.pair"), ("population.any_training.gradient", "population.gradient"),
)  # fmt: skip
# What every module of a kind has.
INTERFACES = {
    "PROGRAM, main, parser, check, run": "a command",
    "Settings": "what a command has checked, beside what computes it",
    "NUMBER, NAME, points, judge": "a claim",
    "write_files, print_report": "a report",
}
ALLOWED = {
    "RESOLVED": "a bound of formulas.head_rules; in formulas.switched its place among the numbers of a training",
    "SIGMA": "the noise, by its place in par; in images.data.views the place of the blur's width",
    "column_sums": "of a matrix; the kernel of samples.cuda makes the same sums for minibatches",
    "cube": "a number cubed in formulas.cubic_flow_rates, where it is private; the layer that cubes an array",
    "diagnose": "embeddings; in explanation.diagnosis, a run of the theory",
    "fill": "an array with a number; the kernel of samples.cuda that does it",
    "follow": "one run from start to end, by each method's own module",
    "inner": "a product of vectors; in machine, the decorator of a function that kernels call",
    "launch": "starts the kernels of pictures; population.pair.cuda starts its own",
    "noise_covariances": "compiled, of one state; population.pair.phases has it for many, by NumPy",
    "phase_map": "of a model, dynlab's; the one of maps takes a grid and the folder of its store",
    "pretrain": "dynlab's, of settings by name; the one of run_folder takes a record of them and the pictures",
    "rectified_turn": "the turn T of objective; formulas.pair has its closed form for two neurons",
    "relu": "phi; the layer that applies it",
    "responses": "of one state, compiled; of many, by NumPy; of samples, on a device",
    "simulate": "dynlab's; the one of the population leaves out minibatches",
    "sizes": "|w_j| of states; population.pair.flow has the largest of encoded ones",
    "substitution": "phase II as measured; in population.pair.limit its law",
    "to_device": "one array; machine.gpu takes whole records",
    "to_host": "one array; machine.gpu takes whole records",
    "unit_length": "the layer; in formulas.switched the loss of outputs of length 1",
}
# Modules of one name, and why it is one subject.
MODULES = {
    "__main__": "Python's own name",
    "ablations": "what is compared; its report",
    "augment": "twins",
    "convolution": "twins",
    "cuda": "each room's kernels for a device",
    "dense": "twins",
    "diagnosis": "of embeddings; of a run of the theory",
    "events": "the two solvers have one shape",
    "flow": "the two solvers have one shape",
    "gradient": "the same gradient: exact, under every switch, of a minibatch",
    "kinks": "the two solvers have one shape",
    "main_run": "what is computed; its report",
    "measures": "each solver's or room's own",
    "moments": "of outputs; of outputs that sum over hidden units",
    "trajectory": "what a run returns; the run with hidden units that returns it",
    "model": "what is trained: the paper's, the linear one",
    "normalise": "twins",
    "objective": "the loss on the population; on a minibatch",
    "overlay": "what is compared; its figure",
    "phase_map": "what is computed; its report; its figure",
    "phases": "the four phases measured; drawn",
    "pictures": "what commands on pictures share; such a run explained",
    "pointwise": "twins",
    "pool": "twins",
    "portrait": "the command; what is computed; its report; its figure",
    "products": "twins",
    "rows": "twins",
    "runs": "the runs that a command compares, on samples and on pictures",
    "solver": "the two solvers have one shape",
    "theorem": "the command; its report; its figure",
    "train": "step by step, on samples and on pictures",
    "updates": "the formulas of an update; twins that apply them",
}


def defined(tree):
    """Names of functions, classes and constants at the top of a module, private ones left out."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)]
        else:
            names = []
        yield from (name for name in names if not name.startswith("_"))


def reached(trees, homes):
    """({name: modules it is imported from by its bare name}, {name: modules it is reached in at all} from outside."""
    bare, at_all = defaultdict(set), defaultdict(set)
    for tree in trees.values():
        modules = {}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dynlab"):
                room = node.module.partition(".")[2]
                for part in node.names:
                    if room in homes[part.name]:
                        bare[part.name].add(room)
                    modules[part.asname or part.name] = f"{room}.{part.name}".lstrip(".")
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                home = modules.get(node.value.id)
                if home in homes[node.attr]:
                    at_all[node.attr].add(home)
    for name, rooms in bare.items():
        at_all[name] |= rooms
    return bare, at_all


def twins(one, two):
    """Whether two modules are of rooms that answer to each other."""
    inside = lambda module, room: module == room or module.startswith(f"{room}.")  # noqa: E731
    return any(inside(a, x) and inside(b, y) for x, y in TWINS for a, b in ((one, two), (two, one)))


def doubled(trees):
    """{name: modules} of names that are imported bare and mean two things."""
    homes = defaultdict(set)
    for module, tree in trees.items():
        for name in defined(tree):
            homes[name].add(module)
    bare, at_all = reached(trees, homes)
    known = {name.strip() for names in INTERFACES for name in names.split(",")}
    found = {}
    for name in bare:
        others = at_all[name] if name.isupper() else homes[name]
        apart = {b for a in bare[name] for b in others - {a} if not twins(a, b)}
        if apart and name not in known:
            found[name] = sorted(bare[name] | apart)
    return found


def trees():
    """The package without the tutorial, whose cells have names of their own."""
    return {name: tree for name, tree in sources.trees().items() if not name.startswith("docs.")}


def test_a_bare_name_has_one_meaning():
    found = doubled(trees())
    assert {name: where for name, where in found.items() if name not in ALLOWED} == {}
    assert set(ALLOWED) <= set(found), "an exception that is no longer needed"
    assert all(len(reason) > 10 for reason in ALLOWED.values())


def test_modules_of_one_name_are_of_one_subject():
    stems = defaultdict(list)
    for name in sources.trees():
        stems[name.rpartition(".")[2]].append(name)
    rooms = {name for name in sources.trees() if any(other.startswith(f"{name}.") for other in sources.trees())}
    again = {stem for stem, names in stems.items() if len([name for name in names if name not in rooms]) > 1}
    assert again == set(MODULES)


def test_no_import_is_renamed_to_hide_it():
    """The names that the move of modules left behind, `the_x` and `_x`, and those of modules that are gone."""
    gone = {"switched_run", "cuda_ensemble", "plotting", "store", "blocks", "contest", "appraisal", "watch"}
    found = [
        (module, part.asname)
        for module, tree in sources.trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for part in node.names
        if part.asname not in (None, part.name) and (part.asname.startswith(("the_", "_")) or part.asname in gone)
    ]
    assert found == []


def test_no_module_hides_what_it_holds():
    stems = {name.rpartition(".")[2] for name in sources.trees()}
    hidden = "report blocks store where record contest appraisal watch content command read base misc util"
    assert stems & set(hidden.split()) == set()


RECORDS = {"par", "counts", "limits", "control", "tally", "marks", "snapshots"}


def by_number(tree):
    """(line, name) where a number of a record of the solvers is read by a bare place: `par[7]`, `counts[i, 2]`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id in RECORDS:
            places = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            if any(isinstance(place, ast.Constant) and isinstance(place.value, int) for place in places):
                yield node.lineno, node.value.id


def test_numbers_of_records_are_read_by_their_names():
    rooms = ("formulas.", "population.", "samples.", "ensembles.")
    assert [(m, *one) for m, tree in sources.trees().items() if m.startswith(rooms) for one in by_number(tree)] == []
    assert list(by_number(ast.parse("a = par[7]\ncounts[i, 2] += 1\npar[SIGMA]\nmarks[k]\n"))) == [(1, "par"), (2, "counts")]


MADE = {
    "a": "LIMIT = 3\n\n\ndef size(x): ...\n",
    "b": "from dynlab.a import LIMIT, size\n\n\ndef make(): ...\n",
    "c": "from dynlab import b, d\n\nb.make()\nd.make()\n",
    "d": "LIMIT = 4  # its own\n\n\ndef make(): ...\n",
}


@pytest.mark.parametrize(
    "module, text, name",
    [
        ("d", "def size(y): ...\n", "size"),
        ("c", "from dynlab.d import LIMIT\n", "LIMIT"),
        ("c", "from dynlab.b import make\n", "make"),
    ],
)
def test_a_planted_double_is_found(module, text, name):
    assert doubled({key: ast.parse(words) for key, words in MADE.items()}) == {}
    planted = MADE | {module: MADE[module] + text}
    assert list(doubled({key: ast.parse(words) for key, words in planted.items()})) == [name]
