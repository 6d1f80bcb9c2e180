"""The package as pip installs it: importable from the folder that holds the clone, complete in a wheel, named as advised."""

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import dynlab
import dynlab.figures as figures
from tests import ROOT
from tests.waiting import HANGS

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCE = Path(dynlab.__file__).parents[1] == ROOT  # else the tests stand beside an installed wheel, without the source
LEFT = shutil.ignore_patterns("__pycache__", "*.egg-info")


def run(code, folder, *more):
    """What a fresh interpreter prints, without this one's path."""
    command = [sys.executable, "-I", "-c", code, *map(str, more)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=HANGS, check=False)


@pytest.fixture
def clone(tmp_path):
    """A clone of this source, called dynlab as git calls it."""
    place = tmp_path / "home" / "dynlab"
    for name in ("dynlab", "figures"):
        shutil.copytree(ROOT / name, place / name, ignore=LEFT)
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, place)
    return place


def built(clone, kind, out):
    """What setuptools builds, as pip asks it to: the contents of the wheel, in a folder."""
    code = f"import sys; from setuptools import build_meta; print(build_meta.build_{kind}(sys.argv[1]))"
    out.mkdir()
    done = run(code, clone, out)
    assert done.returncode == 0, done.stderr
    wheel = out / done.stdout.splitlines()[-1]
    assert re.fullmatch(r"dynlab_ssl-[\d.]+-.*\.whl", wheel.name)
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(out / "site")
    return out / "site"


# As site does at the start, and as `python -c` has the working folder in front.
IMPORT = """
import site, sys
import pathlib
other = lambda one: "site-packages" in one or (pathlib.Path(one) / "dynlab").is_dir()
sys.path[:] = ["", *(one for one in sys.path if not other(one))]
site.addsitedir(sys.argv[1])
import dynlab
print(dynlab.Model(), dynlab.__file__)
import importlib.util
print(importlib.util.find_spec("dynlab.figures.scaling").origin)
import dynlab.figures
print(len(dynlab.figures.NAMES))
"""


@pytest.mark.skipif(not SOURCE, reason="the tests stand beside an installed wheel: there is no source to build")
@pytest.mark.parametrize("kind", ["editable", "wheel"])
def test_an_installed_dynlab_is_found_from_the_folder_that_holds_the_clone(clone, kind, tmp_path):
    site = built(clone, kind, tmp_path / "out")
    done = run(IMPORT, clone.parent, site)
    assert done.returncode == 0, done.stderr
    model, place, scaling, names = done.stdout.replace("Model() ", "Model()\n").splitlines()
    home = clone if kind == "editable" else site
    assert model == "Model()" and Path(place) == home / "dynlab" / "__init__.py"
    assert Path(scaling) == (clone / "figures" if kind == "editable" else site / "dynlab" / "figures") / "scaling.py"
    assert int(names) == len(figures.NAMES)
    assert not (site / "figures").exists() and not (site / "tests").exists()
    if kind == "wheel":  # every module of the source is in it: a new room is not forgotten
        modules = {path.relative_to(clone) for path in (clone / "dynlab").rglob("*.py")}
        modules |= {"dynlab" / path.relative_to(clone) for path in (clone / "figures").rglob("*.py")}
        assert modules == {path.relative_to(site) for path in site.rglob("*.py")}


@pytest.mark.skipif(SOURCE, reason="the source is tested by what is built from it")
def test_a_wheel_wins_over_a_folder_of_its_name(tmp_path):
    (tmp_path / "dynlab" / "dynlab").mkdir(parents=True)
    command = [sys.executable, "-c", "import dynlab; print(dynlab.Model())"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=HANGS, check=False)
    assert done.stdout == "Model()\n", done.stderr


def test_what_messages_advise_to_install_is_this_project(capsys):
    """The index knows another dynlab: no message may advise that one, and each extra that is advised exists."""
    assert PROJECT["name"] == "dynlab-ssl"
    package = Path(dynlab.__file__).parent
    text = "\n".join(path.read_text(encoding="utf-8") for path in package.rglob("*.py"))
    text += (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    advised = re.findall(r"([\w-]+)\[([\w,]+)\]['\"]", text)
    assert len(advised) >= 4
    for name, extras in advised:
        assert name == "dynlab-ssl" and set(extras.split(",")) <= set(PROJECT["optional-dependencies"]), (name, extras)
    assert not re.search(r"install[^\n]*[ '\"]dynlab(?!-ssl)\b", text)
