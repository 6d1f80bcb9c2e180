"""What `python -m tests.processors` says: kinds compute as they are told to, and what differs is found."""

import subprocess
import sys

import numpy as np
import pytest

from tests.processors import __main__ as command
from tests.processors import kinds, results

ASK = "import numba; from tests.processors.kinds import extensions; print(numba.config.CPU_NAME, *extensions())"


def said(name):
    words, surroundings = [sys.executable, "-c", ASK], kinds.environment(name)
    return subprocess.run(words, env=surroundings, capture_output=True, text=True, check=True).stdout.split()


def test_a_kind_wins_over_the_environment(monkeypatch):
    """A machine may set these itself."""
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Sandybridge")
    monkeypatch.setenv("NUMBA_CPU_NAME", "skylake")
    assert kinds.environment("Haswell")["OPENBLAS_CORETYPE"] == "Haswell"
    assert "OPENBLAS_CORETYPE" not in kinds.environment(kinds.HERE)
    assert "NUMBA_CPU_NAME" not in kinds.environment("Nehalem")
    assert kinds.environment("generic")["DYNLAB_CACHE_DIR"] != kinds.environment("Nehalem").get("DYNLAB_CACHE_DIR")
    if kinds.core("Nehalem"):
        assert [kinds.core(name) for name in ("Nehalem", "Haswell")] == ["Nehalem", "Haswell"]


def test_numpy_and_numba_leave_out_what_they_are_told_to():
    cpu, *found = said("generic")
    assert cpu == "generic" and found == []
    cpu, *found = said("Haswell")
    assert cpu == "None" and not any(kinds.SINCE_HASWELL.match(one) for one in found)
    assert said(kinds.HERE)[1:] == kinds.extensions()


def answers(**changed):
    plain = {"told": [["stable", 2]], "numbers": [1.0, 4.0, float("nan")], "within": 1e-9, "bits": "a"}
    return {"spectra": plain | changed}


@pytest.mark.parametrize(
    "changed, line",
    [
        ({}, None),
        ({"numbers": [1.0 + 1e-9, 4.0, float("nan")]}, None),
        ({"numbers": [1.0 + 1e-7, 4.0, float("nan")]}, "spectra: Zen is 2.5e-08 away from here, one thread, more than"),
        ({"numbers": [1.0, 4.0, 0.0]}, "spectra: Zen is inf away"),
        ({"numbers": [1.0, 4.0]}, "spectra: Zen is inf away"),
        ({"told": [["saddle", 2]]}, "spectra: Zen tells [['saddle', 2]], here, one thread [['stable', 2]]"),
        ({"bits": "b"}, None),  # of another processor, where the last bit may differ
    ],
)
def test_what_differs_is_found(changed, line):
    found = command.differences({kinds.HERE: answers(), "Zen": answers(**changed)})
    assert (found == []) if line is None else (len(found) == 1 and found[0].startswith(line)), found


def test_other_bits_with_another_number_of_threads_are_found():
    found = {kinds.HERE: answers(), "here, two threads": answers(bits="b")}
    assert command.differences(found) == ["spectra: other bits with another number of threads"]


PLANTED = """
import os
import numpy as np

def test_exact():
    assert 1.0 == 1.0

def test_last_bit():
    assert os.environ.get("OPENBLAS_CORETYPE") != "Nehalem", "a sum in another order"
"""


@pytest.mark.skipif(not kinds.core("Nehalem"), reason="NumPy does not compute with OpenBLAS")
def test_a_test_that_hangs_on_a_processor_is_named(tmp_path, capsys):
    place = tmp_path / "test_planted.py"
    place.write_text(PLANTED)
    assert command.main(["--only", "here, one thread; Nehalem", str(place)]) == 1
    printed = capsys.readouterr().out
    assert "2 passed   0 failed" in printed and "1 passed   1 failed" in printed
    assert "test_last_bit fails on Nehalem" in printed


def test_results_of_two_processors_are_told_apart():
    """A part in this process: numbers in a list, and the answer of a process of its own the same."""
    here = results.heads()
    assert len(here["numbers"]) == 2 * 16 * 16 and np.isfinite(here["numbers"]).all()
    assert command.differences({kinds.HERE: {"heads": here}, "Haswell": command.results("Haswell", ("heads",))}) == []


def test_a_kind_that_there_is_not(capsys):
    with pytest.raises(SystemExit):
        command.main(["--only", "Pentium"])
    assert "no such kind: Pentium" in capsys.readouterr().err
