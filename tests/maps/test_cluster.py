"""The same map, and the same sweep, on a Dask cluster of this machine, with a worker killed half-way."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from dynlab import sweep
from tests.maps.cases import finished, record, store_of
from tests.waiting import until

distributed = pytest.importorskip("distributed", reason="needs the extra dask (distributed)")
LARGER = {"x": "weak=0.2:0.8:7", "y": "eta-head=1e-3:1:6:log", "seeds": 96}


@pytest.fixture(scope="module")
def cluster():
    settings = {"distributed.admin.system-monitor.gil.enabled": False, "distributed.worker.profile.enabled": False}
    import dask

    with dask.config.set(settings):
        with distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, host="127.0.0.1", dashboard_address=None
        ) as made:
            yield made


def test_a_killed_worker_changes_nothing(tmp_path, cluster):
    expected = finished(tmp_path / "threads", **LARGER)
    out, killed = tmp_path / "cluster", []

    def kill_one():
        until(lambda: store_of(out).exists() and store_of(out).stat().st_size > 100_000)
        worker = next(iter(cluster.workers.values()))
        killed.append((worker.pid, store_of(out).stat().st_size))
        os.kill(worker.pid, signal.SIGKILL)

    thread = threading.Thread(target=kill_one)
    thread.start()
    found = finished(out, "--dask", cluster.scheduler_address, **LARGER)
    thread.join()
    assert found == expected
    assert record(out)["trajectories"]["computed now"] == (7 * 6 + 7) * 96
    assert killed and killed[0][1] < 0.9 * store_of(out).stat().st_size  # it was half-way


SWEEP = """
command = "run"
[settings]
seeds = 64
dim = 100
[grid]
weak = [0.2, 0.3, 0.4, 0.6, 0.8]
eta-head = [0.01, 0.02, 0.05, 0.1, 0.2]
"""


def test_a_killed_worker_changes_nothing_of_a_sweep(tmp_path, cluster):
    (tmp_path / "s.toml").write_text(SWEEP)
    assert sweep.main([str(tmp_path / "s.toml"), "--quiet", "--out", str(tmp_path / "alone")]) == 0
    out, killed = tmp_path / "cluster", []

    def kill_one():
        until(lambda: len(list((out / "swept").glob("*.json"))) > 3)
        worker = next(iter(cluster.workers.values()))
        os.kill(worker.pid, signal.SIGKILL)
        killed.append(len(list((out / "swept").glob("*.json"))))

    thread = threading.Thread(target=kill_one)
    thread.start()
    words = [str(tmp_path / "s.toml"), "--quiet", "--dask", cluster.scheduler_address, "--out", str(out)]
    assert sweep.main(words) == 0
    thread.join()
    assert (out / "sweep.csv").read_bytes() == (tmp_path / "alone" / "sweep.csv").read_bytes()
    assert killed and killed[0] < 25  # it was half-way
