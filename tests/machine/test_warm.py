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
