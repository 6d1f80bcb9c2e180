"""The kernels of ensembles against the CPU's solver, in the simulator or on a device."""

import numpy as np
import pytest

import dynlab
from dynlab import Model
from dynlab.machine import gpu
from dynlab.population.order_parameters import draw_order_parameters
from dynlab.population.pair import cuda, flow
from dynlab.population.starts import draw_start
from dynlab.population.status import STATUS_NAMES

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")
FIELDS = ("end", "side", "learnt", "marks", "snapshots", "peak", "drift", "time", "steps", "rejected", "status")
# Loose and short: the simulator takes a millisecond a step. Events happen all the same.
SHORT = {"rtol": 1e-3, "settle": True, "max_steps": 40}


def starts(model, count, seed=0, dim=20):
    drawn = [draw_order_parameters(model, dim, np.random.default_rng((seed, i))) for i in range(count)]
    signal, gram = (np.array(part) for part in zip(*drawn, strict=True))
    return flow.encode_arrays(model, signal, gram, np.tile(np.eye(2), (count, 1, 1)))


def alike(a, b, tolerance=0.0):
    """Integers equal; floats to the tolerance, times of events, which flat maxima blur, to its square root."""
    for name in FIELDS:
        x, y = getattr(a, name), getattr(b, name)
        if x.dtype == np.int64 or tolerance == 0.0:
            np.testing.assert_array_equal(x, y, err_msg=name)
        else:
            far = np.sqrt(tolerance) if name in ("marks", "snapshots") else tolerance
            np.testing.assert_allclose(x, y, rtol=far, atol=far, err_msg=name)


@pytest.mark.parametrize(
    ("activation", "head_rate", "tolerance"), [("cubic", 0.3, 1e-12), ("cubic", 0.0, 1e-12), ("relu", 0.3, 1e-8),
                                               ("relu3", 0.3, 1e-8)]
)  # fmt: skip
def test_trajectories(activation, head_rate, tolerance):
    model = Model(activation=activation, weak=0.6)
    z, side = starts(model, 19)
    how = SHORT | {"head_rate": head_rate, "until": 30.0}
    if activation == "relu3":
        # To the end of all: Jacobians differ in their last bits, and within a jump the state after so many steps tells it.
        how |= {"max_steps": 200, "rtol": 1e-4}
    here, there = (run(model, z, side, **how) for run in (flow.run_flow, cuda.run_flow))
    assert np.isfinite(here.learnt).any()
    # without a head nothing has come to rest by then
    assert len(set(here.status)) > 1 or head_rate == 0.0 or activation == "relu3"
    alike(here, there, tolerance)


def test_results_do_not_depend_on_the_launch():
    model = Model(weak=0.6)
    z, side = starts(model, 21)
    how = SHORT | {"head_rate": 0.1}
    whole = cuda.run_flow(model, z, side, until=20.0, **how)
    order = np.random.default_rng(0).permutation(21)
    mixed = cuda.run_flow(model, z[order], side[order], until=20.0, **how)
    for name in FIELDS:
        np.testing.assert_array_equal(getattr(whole, name)[order], getattr(mixed, name), err_msg=name)
    how.pop("head_rate")
    pars, table, limits, *rest = cuda.arguments([cuda.Group(model, z, side, 0.1, 20.0)], **how)
    for kernel, burst, block, blocks in (
        (cuda.CUBIC_LOCAL, 1, 32, 1), (cuda.CUBIC_LOCAL, 50, 5, 2),
        (cuda.CUBIC_SHARED, 3, cuda.BLOCK, 1),
    ):  # fmt: skip
        device = gpu.to_device((pars, table, (*limits[:-1], burst), *rest))
        cuda.launch(kernel, 21, device, block, blocks)
        np.testing.assert_array_equal(gpu.to_host(device[3][0]), whole.end)
        np.testing.assert_array_equal(gpu.to_host(device[5][4][:, 0]), whole.steps)


def test_groups_of_different_models():
    models = [Model(weak=0.6), Model(weak=0.2, noise=0.8, patches=8)]
    groups = [cuda.Group(m, *starts(m, n, n), rate, until) for m, n, rate, until in
              zip(models, (5, 8), (0.1, 0.0), (20.0, 7.0), strict=True)]  # fmt: skip
    both = cuda.run_groups(groups, **SHORT)
    parts = [flow.run_flow(g.model, g.starts, g.sides, head_rate=g.head_rate, until=g.until, **SHORT) for g in groups]
    for name in FIELDS:
        expected = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_allclose(getattr(both, name), expected, rtol=1e-12, atol=1e-12, err_msg=name)


def test_status_of_what_is_not_finite():
    model = Model()
    z, side = starts(model, 3)
    z[1, 0] = np.nan
    how = SHORT | {"head_rate": 0.1, "until": 3.0}
    here, there = (run(model, z, side, **how) for run in (flow.run_flow, cuda.run_flow))
    assert STATUS_NAMES[int(there.status[1])] == "not finite"
    alike(here, there, 1e-12)


@pytest.mark.parametrize("times", [None, [0.5, 1.0, 4.0]])
def test_one_trajectory(times):
    model, how = Model(weak=0.6), {"until": 4.0, "rtol": 1e-2, "times": times, "eta_head": 0.3}
    here, there = (dynlab.simulate(model, draw_start(model, 20, 0, 1), device=d, **how) for d in ("cpu", "cuda"))
    assert there.settings["device"].startswith("cuda (")
    for name in ("time", "signal", "noise_gram", "head", "loss"):
        np.testing.assert_allclose(getattr(here, name), getattr(there, name), rtol=1e-9, atol=1e-12, err_msg=name)
    assert (here.status, here.steps) == (there.status, there.steps)


def test_an_ensemble():
    model, how = Model(weak=0.6), {"dim": 20, "seeds": [4, 1, 9], "until": 2.0, "rtol": 1e-2}
    here, there = (dynlab.ensemble(model, device=d, **how) for d in ("cpu", "cuda"))
    assert "device" not in here.settings and there.settings["device"].startswith("cuda (")
    for name in here.frame.columns:
        a, b = here.frame[name], there.frame[name]
        if a.dtype == float:
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12, err_msg=name)
        else:
            assert list(a) == list(b), name


@pytest.mark.parametrize(
    ("model", "training", "method", "words"),
    [
        (Model(neurons=3), dynlab.Training(), "flow", "two neurons and two features"),
        (Model(activation="linear"), dynlab.Training(), "flow", "relu, cubic or relu3"),
        (Model(), dynlab.Training(objective="vicreg", head="none", stop_gradient="none"), "flow", "the paper's training"),
        (Model(), dynlab.Training(), "descent", 'method "descent"'),
    ],
)
def test_what_has_no_kernel_is_refused(model, training, method, words):
    with pytest.raises(dynlab.SettingError, match=words):
        dynlab.ensemble(model, seeds=2, training=training, method=method, device="cuda")
