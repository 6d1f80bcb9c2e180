"""--dask: the same bytes by the workers of a Dask cluster of this machine, one of them killed half-way; what is refused.

All commands share one cluster, whose workers have another working folder than the commands.
"""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import CancelledError, Executor, Future
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from dynlab import sweep
from dynlab.command_line.executors import executor
from dynlab.ensembles.ensemble_store import Store
from dynlab.machine import workers
from dynlab.tools.checks import SettingError
from dynlab.tools.sharing import as_they_end
from tests.images import small
from tests.maps import cases
from tests.waiting import HANGS, until

LARGER = {"x": "weak=0.2:0.8:7", "y": "eta-head=1e-3:1:6:log", "seeds": 96}
HEADS = "--recipe demo --dataset arrays --data data --heads none,off-diagonal --normalisations length --seeds 1 --steps 4"
# What each command is run with here, and the files that are to be the same.
COMMANDS = {
    "theorem": (
        "--quick --claims 9 --no-plots", ("theorem.json", "theorem.csv", "theorem.md", "points.csv", "settings.json"),
    ),
    "ablate": ("--seeds 2 --dim 64 --until 1e6 --groups paper,width", ("ablate.csv",)),
    "compare": (
        "--batch 8,16 --steps 8 --seeds 2 --activation cubic,relu --patches 4 --feature-patches 2 --no-plots",
        ("trajectory.csv", "summary.csv"),
    ),
    "heads": (
        f"{HEADS} --batch 16 --no-plots", ("heads.csv", "runs.csv", "*/metrics.csv", "*/epochs.jsonl", "*/weights.npz"),
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed", reason="needs the extra dask (distributed)")
    import dask

    settings = {"distributed.admin.system-monitor.gil.enabled": False, "distributed.worker.profile.enabled": False}
    with dask.config.set(settings):
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as made:
            yield made


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A working folder with pictures in it."""
    for part, (count, seed) in {"train": (48, 0), "test": (24, 1)}.items():
        made = small.small_set(count, seed)
        (tmp_path / "data").mkdir(exist_ok=True)
        np.savez(tmp_path / "data" / f"{part}.npz", pictures=made.pictures, labels=made.labels)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command, *words):
    usual = COMMANDS[command][0].split()
    return importlib.import_module(f"dynlab.{command}").main([*usual, "--quiet", *words])


def results(command, out):
    found = {path.relative_to(out): path.read_bytes() for name in COMMANDS[command][1] for path in Path(out).glob(name)}
    assert len(found) >= len(COMMANDS[command][1])
    return found


def kill_one(cluster):
    os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)


def test_a_map_with_a_killed_worker(tmp_path, cluster):
    expected = cases.finished(tmp_path / "threads", **LARGER)
    out, killed = tmp_path / "cluster", []
    store = cases.store_of(out)

    def kill_half_way():
        until(lambda: store.exists() and store.stat().st_size > 100_000)
        killed.append(store.stat().st_size)
        kill_one(cluster)

    thread = threading.Thread(target=kill_half_way)
    thread.start()
    found = cases.finished(out, "--dask", cluster.scheduler_address, **LARGER)
    thread.join()
    assert found == expected
    assert cases.record(out)["trajectories"]["computed now"] == (7 * 6 + 7) * 96
    assert killed[0] < 0.9 * store.stat().st_size  # it was half-way


SWEEP = """
command = "run"
[settings]
seeds = 64
dim = 100
[grid]
weak = [0.2, 0.3, 0.4, 0.6, 0.8]
eta-head = [0.01, 0.02, 0.05, 0.1, 0.2]
"""


def test_a_sweep_with_a_killed_worker(tmp_path, cluster):
    (tmp_path / "s.toml").write_text(SWEEP)
    assert sweep.main([str(tmp_path / "s.toml"), "--quiet", "--out", str(tmp_path / "alone")]) == 0
    out, killed = tmp_path / "cluster", []

    def kill_half_way():
        until(lambda: len(list((out / "swept").glob("*.json"))) > 3)
        kill_one(cluster)
        killed.append(len(list((out / "swept").glob("*.json"))))

    thread = threading.Thread(target=kill_half_way)
    thread.start()
    words = [str(tmp_path / "s.toml"), "--quiet", "--dask", cluster.scheduler_address, "--out", str(out)]
    assert sweep.main(words) == 0
    thread.join()
    assert (out / "sweep.csv").read_bytes() == (tmp_path / "alone" / "sweep.csv").read_bytes()
    assert killed and killed[0] < 25  # it was half-way


def test_the_theorem_with_a_killed_worker(desk, cluster, monkeypatch):
    """Killed when the first of four points is there: what the worker was at, or had not yet handed over, is done again."""
    assert run("theorem", "--out", "here") == 0
    put, kept = Store.put, []

    def put_and_kill(self, settings, found):
        put(self, settings, found)
        kept.append(settings)
        if len(kept) == 1:
            kill_one(cluster)

    monkeypatch.setattr(Store, "put", put_and_kill)
    assert run("theorem", "--out", "there", "--dask", cluster.scheduler_address) == 0
    assert len(kept) == 4 and results("theorem", "there") == results("theorem", "here")
    points = [{path.name: path.read_bytes() for path in Path(out, "points").glob("*.npz")} for out in ("here", "there")]
    assert points[0] == points[1] and len(points[0]) == 4


@pytest.mark.parametrize("command", ["ablate", "compare", "heads"])
def test_the_same_bytes(desk, cluster, command):
    assert run(command, "--out", "here", "--threads", "1") == 0
    assert run(command, "--out", "there", "--dask", cluster.scheduler_address) == 0
    assert results(command, "there") == results(command, "here")


class Backwards(Executor):
    """Does its jobs when all have come, the last one first."""

    def __init__(self, count):
        self.count, self.jobs = count, []

    def submit(self, job, *arguments):
        future = Future()
        self.jobs.append((future, job, arguments))
        if len(self.jobs) == self.count:
            for one, asked, given in reversed(self.jobs):
                one.set_result(asked(*given))
        return future


@pytest.mark.parametrize(
    ("command", "count", "place"), [("ablate", 4, "dynlab.ablate"), ("compare", 16, "dynlab.command_line.minibatches")]
)
def test_the_order_in_which_jobs_are_done_is_nothing(desk, monkeypatch, command, count, place):
    assert run(command, "--out", "here") == 0
    pool = Backwards(count)
    monkeypatch.setattr(f"{place}.executor", lambda address, kept: nullcontext(pool))
    assert run(command, "--out", "there") == 0
    assert len(pool.jobs) == count and results(command, "there") == results(command, "here")


@pytest.mark.parametrize("command", COMMANDS)
def test_an_address_without_a_scheduler_is_a_line(desk, capsys, monkeypatch, command):
    pytest.importorskip("distributed", reason="needs the extra dask (distributed)")
    monkeypatch.setattr("dynlab.command_line.executors.DASK_WAIT", 0.3)
    assert run(command, "--out", "new", "--dask", "tcp://127.0.0.1:9") == 2
    line = capsys.readouterr().err
    assert line.startswith(f"dynlab.{command}: error: --dask tcp://127.0.0.1:9: must be the address of a Dask scheduler")
    assert line.count("\n") == 1 and not (desk / "new").exists()


NO_ADDRESSES = """
import gc

from dynlab.command_line.executors import connected
from dynlab.tools.checks import SettingError

gc.set_threshold(50)
for address in ("", "nowhere", "tls://127.0.0.1:9", "ucx://127.0.0.1:9", "inproc://x"):
    try:
        connected(address)
    except SettingError as error:
        print(error)
"""


def test_what_is_no_address_is_a_line():
    """Of distributed's own ways to say so: ValueError, and TypeError where keys or ucx are missing. One after another, with
    garbage collected at every occasion, they hung: in a process of its own."""
    pytest.importorskip("distributed", reason="needs the extra dask (distributed)")
    done = subprocess.run([sys.executable, "-c", NO_ADDRESSES], capture_output=True, text=True, timeout=HANGS)
    lines = done.stdout.splitlines()
    assert len(lines) == 5 and all("must be the address of a Dask scheduler that answers" in line for line in lines), done


def test_checkpoints_are_left_out_with_a_cluster(desk, capsys, cluster):
    words = ("--dask", cluster.scheduler_address, "--out", "there")
    assert run("compare", *words, "--checkpoints", "kept") == 2
    assert "--checkpoints kept: must be left out with --dask" in capsys.readouterr().err
    assert not (desk / "kept").exists() and run("compare", *words) == 0


@pytest.mark.parametrize(
    ("kept", "said"),
    [(True, "what is finished is kept, the same command goes on"), (False, "the same command begins anew")],
)
def test_a_scheduler_that_is_gone_is_a_line(desk, cluster, kept, said):
    """The same command is that of the tests above, where it does."""
    with pytest.raises(OSError, match=f"^--dask {cluster.scheduler_address}: its scheduler is gone; {said}$"):
        with executor(cluster.scheduler_address, kept) as pool:
            for _ in as_they_end(pool, [("one", int, ("1",))]):
                raise CancelledError


def test_workers_with_other_sources_refuse():
    digest = workers.digest_of_sources("dynlab.samples.train")
    workers.require_same_sources(digest, "dynlab.samples.train")
    with pytest.raises(SettingError, match="a cluster whose workers run the same sources of dynlab"):
        workers.require_same_sources(digest, "dynlab.samples.overlay")
