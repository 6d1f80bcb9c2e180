"""`python -m dynlab.doctor`, and the option --device where there is no device."""

import re
from pathlib import Path

import pytest

import dynlab
from dynlab import doctor
from dynlab.machine import device, gpu
from tests.command_line.calling import refusal


def test_doctor_prints_what_there_is(capsys):
    assert doctor.main([]) == 0
    printed = capsys.readouterr().out.splitlines()
    lines = dict(line.split(":", 1) for line in printed if not line.startswith(" "))  # those are the cache's versions
    assert list(lines) == ["dynlab", "python", "packages", "threads", "cache", "device"]
    assert dynlab.__version__ in lines["dynlab"]
    assert "numba-cuda" in lines["packages"] and "MiB in" in lines["cache"]
    reason = gpu.unavailable()
    assert lines["device"].strip() == (f"none: {reason}" if reason else gpu.name())


def test_doctor_where_the_cache_cannot_be_written(monkeypatch):
    monkeypatch.setenv("DYNLAB_CACHE_DIR", "/proc/dynlab/cache")
    assert "/proc/dynlab/cache, 0.0 MiB in 0 files" in doctor.cache_found()


@pytest.mark.parametrize("program", [
    "run --seeds 3", "theorem --quick", "compare", "run --method sgd", "phase --x weak=0.1:0.5:2 --y eta-head=0.1:0.5:2",
    "pretrain --recipe demo",
])  # fmt: skip
def test_cuda_without_a_device_is_one_line_with_the_reason(program, tmp_path, monkeypatch, capsys):
    reason = gpu.unavailable()
    if reason is None:
        pytest.skip("there is a device")
    monkeypatch.chdir(tmp_path)
    name, *words = program.split()
    allowed = f"--device cuda: must be cpu or auto here: {reason}"
    assert refusal(name, [*words, "--device", "cuda"], capsys) == f"{allowed}\n"
    assert not list(tmp_path.iterdir())


def test_one_module_imports_cuda():
    root = Path(dynlab.__file__).parent
    lines = [(path.name, line.strip()) for path in root.rglob("*.py") for line in path.read_text("utf-8").splitlines()]
    importers = {name for name, line in lines if re.match(r"(from|import) numba[.]?\w*.*\bcuda\b|import numba_cuda", line)}
    assert importers == {"gpu.py"}


@pytest.mark.parametrize("program", ["run", "theorem", "compare", "pretrain"])
def test_a_wrong_device_is_one_line(program, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert refusal(program, ["--device", "metal"], capsys) == "--device metal: must be one of cpu, cuda, auto\n"
    assert not list(tmp_path.iterdir())


def test_auto_says_why_it_chose(monkeypatch):
    monkeypatch.setattr(gpu, "SIMULATED", False)
    monkeypatch.setattr(gpu, "unavailable", lambda: "no driver")
    assert device.chosen("auto") == ("auto", "cpu", "cpu (no driver)")
    assert device.chosen("cpu") == device.CPU == ("cpu", "cpu", "cpu")
    with pytest.raises(dynlab.SettingError, match="cpu or auto here: no driver"):
        device.chosen("cuda")
    monkeypatch.setattr(gpu, "unavailable", lambda: None)
    monkeypatch.setattr(gpu, "name", lambda: "a card")
    assert device.chosen("auto") == ("auto", "cuda", "cuda (a card)")
    assert device.chosen("auto", lambda: "nothing for this") == ("auto", "cpu", "cpu (nothing for this)")


def test_an_ensemble_says_where_it_was_run():
    kept = dynlab.ensemble(dynlab.Model(), seeds=2, until=1.0, device="auto").settings["device"]
    assert kept.startswith(("cpu (", "cuda ("))
