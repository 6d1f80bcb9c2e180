"""Kernels are compiled in a second process only where that can help, and the process never outlives the block."""

import subprocess

import pytest

from dynlab.machine import cache, warm


class Process:
    """Stands for a started process and remembers what was done to it."""

    started = []

    def __init__(self, words, **_):
        self.words, self.ended = words, False
        Process.started.append(self)

    def terminate(self):
        self.ended = True

    def wait(self):
        assert self.ended


@pytest.fixture
def processes(monkeypatch, tmp_path):
    Process.started = []
    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    return Process.started


def test_an_empty_cache_is_filled_beside(processes):
    with pytest.raises(KeyError), warm.compiling(["relu", "cubic"]):
        assert "activation='cubic'" in processes[0].words[-1] and "relu" not in processes[0].words[-1]
        raise KeyError
    assert [process.ended for process in processes] == [True]


def test_nothing_is_started_for_one_activation(processes):
    with warm.compiling(["cubic"]):
        assert processes == []


def test_nothing_is_started_with_a_filled_cache_or_none(processes, monkeypatch, tmp_path):
    (tmp_path / f"dynlab.population.pair.flow._flow_kernel.0123456789abcdef{cache.SUFFIX}").touch()
    with warm.compiling(["relu", "cubic"]):
        assert processes == []
    monkeypatch.setattr(cache, "cache_folder", lambda: None)
    with warm.compiling(["relu", "cubic"]):
        assert processes == []


def test_what_the_process_is_told_compiles_the_kernel():
    exec(compile(warm.COMPILE.format("cubic"), "command", "exec"), {})


def test_what_has_to_be_compiled_is_told_with_the_time_it_took(monkeypatch, tmp_path, capsys):
    """Nothing of a time at first; then, in another version's folder, what the last one says; nothing where it is quiet."""
    clock = iter([100.0, 112.4, 200.0, 300.0])
    monkeypatch.setattr(cache.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(cache, "sources_unchanged", lambda: True)
    old, new = (cache.KernelFiles(tmp_path / (digit * 20), "dynlab.some.place._kernel", digit) for digit in "12")
    monkeypatch.setattr(subprocess, "Popen", Process)
    monkeypatch.setattr(cache, "cache_folder", lambda: tmp_path)
    with warm.compiling(["relu", "cubic"]):  # also where a second process is started
        assert old.load("signature") is None
        old.save("signature", "code")
        assert old.load("signature") == "code"
        assert new.load("signature") is None
    with warm.compiling(["cubic"], quiet=True):
        assert new.load("other") is None
    line = "compiling dynlab.some.place.kernel (once for this version"
    assert capsys.readouterr().err == f"{line})\n{line}; 12 s last time)\n"
