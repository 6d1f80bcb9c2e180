"""Plants faults in the cache and in what guards files, one at a time, and shows which tests fail for each (the first few).

    python -m tests.thorough.planted.cache_and_files [NAME ...]

Works on a copy of the sources in a temporary folder (`planting`). The exit status is 1 if a fault is not caught, or if the
unchanged sources fail. Run on demand; pytest does not collect it.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.thorough.planting import ROOT, Planting

CACHE, FILES, CLI, STORE = (
    "dynlab/machine/cache.py",
    "dynlab/tools/files.py",
    "dynlab/command_line/parser.py",
    "dynlab/ensembles/ensemble_store.py",
)
KERNELS = (
    "tests/machine/test_cache_files.py", "tests/machine/test_cache_processes.py", "tests/machine/test_closure.py",
    "tests/commands/test_doctor_cache.py",
)  # fmt: skip
STOPPED, BAD, KINDS = (f"tests/faults/test_{name}.py" for name in ("stopped", "bad_input", "kinds"))
# name: ((file, text as it stands, text with the fault), tests that should see it)
PLANTED = {
    "digest not compared": ((CACHE, "if content[:DIGEST] != self._digest(path, body):", "if False:"), KERNELS),
    "digest without the name": ((CACHE, "{self.stamp}\\0{path.name}\\0", "{self.stamp}\\0"), KERNELS),
    "digest without the key": ((CACHE, "{self.stamp}\\0{path.name}\\0", "{path.name}\\0"), KERNELS),
    "key without sources": ((CACHE, "hashlib.sha256(_sources() + ", "hashlib.sha256(b'' + "), KERNELS),
    "edits while a process runs not noticed": ((CACHE, "if not sources_unchanged():", "if False:"), KERNELS),
    "kernels of other packages kept": ((CACHE, '.partition(".")[0] == PACKAGE.name', '.startswith("")'), KERNELS),
    "never given its name": ((CACHE, "os.replace(partial, path)", "partial.read_bytes()"), KERNELS),
    "all of a keyed folder removed": ((CACHE, "if OURS.fullmatch(path.name) and", "if"), KERNELS),
    "run folders filled at their place": (
        (FILES, 'RunFolder(place.with_name(f".{place.name}.partial"), place)', "RunFolder(place, place)"),
        (STOPPED, "-k", "ablate"),
    ),
    "what failed is left": ((FILES, "shutil.rmtree(folder.partial)", "pass"), (STOPPED, "-k", "ablate or portrait")),
    "folders not held": ((FILES, "if flock(lock) is False:", "if False:"), (STOPPED, "-k", "pretrain")),
    "run folders not held": ((FILES, "if not (new if held is None else held):", "if False:"), (STOPPED, "-k", "portrait")),
    "a full disk is a traceback": ((CLI, "except OSError as", "except EOFError as"), (STOPPED, "-k", "ablate")),
    "a setting is a traceback": ((CLI, "except SettingError as", "except EOFError as"), (BAD, "-k", "ablate")),
    "one ValueError let through": (
        ("dynlab/tools/checks.py", "    except TypeError:\n        raise SettingError(name, value, \"an integer\"",
         "    except TypeError:\n        raise ValueError(name + \"an integer\""),
        (BAD, "-k", "portrait"),
    ),
    "lines in an error": ((CLI, "' '.join(message.split())", "message"), (BAD, "-k", "theorem or phase")),
    "damaged ensembles taken": ((STORE, "if whole else None", "if True else None"), (BAD, "-k", "theorem")),
    "damaged checkpoints taken": (
        ("dynlab/tools/checkpoint.py", "if hashlib.sha256(packed[:-DIGEST]).digest() != packed[-DIGEST:]:", "if False:"),
        (BAD, "-k", "checkpoints"),
    ),
    "a cut checkpoint advised itself": (
        ("dynlab/tools/checkpoint.py", "remove it to go on from {earlier[-1]}", "remove it to go on from another"),
        (KINDS, "-k", "cut and sgd"),
    ),
    "numbers that are not finite are kept": (
        ("dynlab/images/verdict.py", "and not np.isfinite(array).all()", "and False"),
        (KINDS, "-k", "diverges and pretrain"),
    ),
    "a mark is the first letter of an option": (
        ("dynlab/command_line/configuration.py", 'encoding="utf-8-sig"', 'encoding="utf-8"'),
        (KINDS, "-k", "editors and run"),
    ),
    "numbers of arrays refused": (
        ("dynlab/tools/checks.py", "return value.item() if", "return value if"), (KINDS, "-k", "arrays_give and Model"),
    ),
}  # fmt: skip


def bring_figures(root: Path) -> None:
    """The table of commands has the one that builds figures."""
    shutil.copytree(ROOT / "figures", root / "figures", ignore=shutil.ignore_patterns("__pycache__", "gallery", "pictures"))


def tests(name: str | None) -> tuple[str, ...]:
    """Words for pytest; for the sources as they are a small part that every fault touches."""
    return (*KERNELS, STOPPED, BAD, "-k", "cache or ablate or portrait") if name is None else PLANTED[name][1]


FAULTS = {name: change for name, (change, _) in PLANTED.items()}

PLANTING = Planting("cache_and_files", FAULTS, tests, bring_figures, own_cache=True)

if __name__ == "__main__":
    sys.exit(PLANTING.main(sys.argv[1:]))
