"""What is stored does not outlive its arithmetic: every source that makes a number of an ensemble is in the key."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dynlab
from dynlab.ensembles import ensemble_store
from dynlab.machine import closure, workers
from dynlab.maps import points

PACKAGE = Path(dynlab.__file__).parent
SOURCES = sorted({
    path.relative_to(PACKAGE).as_posix() for module in ensemble_store.PHYSICS for path in closure.sources_of(module)
})  # fmt: skip
# Arithmetic and formulas, solvers, settings, random starts, and what is read off the states: by hand.
NEEDED = (
    "machine/jit.py", "machine/twofloat.py", "machine/gpu.py", "formulas/pair.py", "formulas/cubic_flow_rates.py",
    "formulas/rodas5p.py", "formulas/switched.py", "formulas/head_rules.py", "population/pair/solver.py",
    "population/pair/integrate.py", "population/pair/cuda.py", "population/any_training/solver.py", "population/descent.py",
    "population/moments.py", "population/outcomes.py", "population/scaling.py", "population/starts.py",
    "population/stepping.py", "settings/activation_records.py", "settings/model.py", "settings/training.py",
    "ensembles/ensemble.py",
)  # fmt: skip
LOADED = """
import dynlab, sys
dynlab.ensemble(dynlab.Model(), dim=10, seeds=1, until=1.0)
print(*(name for name in sys.modules if name.startswith("dynlab.")))
"""


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the sources, which the keys are taken from; what was read before is forgotten, before and after."""
    shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(closure, "PACKAGE", tmp_path / PACKAGE.name)
    closure.sources_of.cache_clear()
    yield tmp_path / PACKAGE.name
    closure.sources_of.cache_clear()
    forget()


def forget():
    for function in (closure.digest_of, ensemble_store.physics_key, points.sources_key):
        function.cache_clear()


def keys():
    forget()
    return ensemble_store.physics_key(), points.sources_key()


def test_every_source_is_in_the_key_of_stored_ensembles_and_points(copied):
    before = keys()
    for name in SOURCES:
        text = (copied / name).read_text(encoding="utf-8")
        (copied / name).write_text(text + "# another version\n", encoding="utf-8")
        assert all(new != old for new, old in zip(keys(), before, strict=True)), name
        (copied / name).write_text(text, encoding="utf-8")
    assert keys() == before


def test_the_key_is_what_workers_are_told_apart_by():
    assert ensemble_store.physics_key() == workers.digest_of_sources(*ensemble_store.PHYSICS)


def test_the_key_holds_what_makes_numbers():
    assert set(NEEDED) <= set(SOURCES)


def test_the_key_of_points_holds_how_their_starts_are_drawn_and_no_figure(copied):
    before = keys()
    for name, change in (
        ("maps/points.py", (False, True)),
        ("drawing/style.py", (False, False)),
        ("run.py", (False, False)),
    ):
        text = (copied / name).read_text(encoding="utf-8")
        (copied / name).write_text(text + "# another version\n", encoding="utf-8")
        assert tuple(new != old for new, old in zip(keys(), before, strict=True)) == change, name
        (copied / name).write_text(text, encoding="utf-8")


def test_whatever_an_ensemble_loads_is_in_the_key():
    """The modules of a process that computed one, beside the package's own names and what kernels are kept with."""
    environment = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run([sys.executable, "-c", LOADED], env=environment, capture_output=True, text=True, check=True)
    paths = [PACKAGE.joinpath(*name.split(".")[1:]) for name in done.stdout.split() if name != "dynlab._version"]
    files = {(path if path.is_dir() else path.with_suffix(".py")).relative_to(PACKAGE).as_posix() for path in paths}
    held = {name.removesuffix("/__init__.py") for name in SOURCES}
    assert len(files) > 40 and files <= held, files - held
