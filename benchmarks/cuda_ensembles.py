"""Ensembles on a CUDA device against the CPU: the same starts, one by one; then trajectories a second."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from benchmarks.cuda import Check, timed
from dynlab import Model, Training
from dynlab.ensembles import ensemble
from dynlab.machine import gpu
from dynlab.machine.gpu import cuda
from dynlab.population.choices import default_end
from dynlab.population.order_parameters import draw_order_parameters
from dynlab.population.outcomes import outcomes
from dynlab.population.pair import cuda as pair_cuda
from dynlab.population.pair import flow
from dynlab.population.status import STATUS_NAMES, SUCCESS
from dynlab.tools.checks import available_threads

DIM, UNTIL, RTOL = 1000, 1e12, 1e-6
SEEDS = {
    "tiny": {"cubic": 3, "relu": 1, "relu3": 1}, "quick": {"cubic": 20_000, "relu": 1000, "relu3": 1000},
    "full": {"cubic": 100_000, "relu": 5000, "relu3": 5000},
}  # fmt: skip
SAME_OUTCOMES = 0.999
TWO_CORES = 4200.0  # trajectories a second of the cubic case on two cores, by benchmarks/results.json
GOAL = 100.0  # times that
LAUNCHES = ((2, 4), (4, 4), (8, 4), (1, 4), (3, 4), (5, 4), (4, 1), (4, 16))  # blocks a multiprocessor, burst
TINY = {"max_steps": 12}  # the simulator takes milliseconds a step


def starts(activation: str, count: int):
    """Model, encoded starts and sides number 0 ... count - 1 of seed 0."""
    model = Model(activation=activation)
    drawn = [draw_order_parameters(model, DIM, np.random.default_rng((0, i))) for i in range(count)]
    signal, gram = (np.array(part) for part in zip(*drawn, strict=True))
    return model, *flow.encode_arrays(model, signal, gram, np.tile(np.eye(2), (count, 1, 1)))


def options(activation: str, size: str, head_rate: float = 0.01) -> dict:
    """Options of `run_flow`: the benchmark's horizon for cubic, its own for the others."""
    model = Model(activation=activation)
    until = UNTIL if activation == "cubic" else default_end(model, DIM, "flow", 0.0)
    settle = activation != "cubic"
    more = TINY if size == "tiny" else {}
    return {"head_rate": head_rate, "until": until, "rtol": RTOL, "settle": settle} | more


def on_cpu(model, z, side, **how) -> flow.FlowResult:
    """`flow.run_flow` on all threads."""
    chunks = [np.arange(len(z))[i : i + ensemble.CHUNK] for i in range(0, len(z), ensemble.CHUNK)]
    threads = available_threads()
    parts = ensemble._run(lambda some: flow.run_flow(model, z[some], side[some], **how), chunks, threads, None)
    fields = ("end", "side", "at_times", "learnt", "marks", "snapshots", "peak", "drift", "time", "steps", "rejected",
              "status")  # fmt: skip
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in fields}
    return flow.FlowResult(trace_time=np.zeros(0), trace=np.zeros((0, 9)), **joined)


def outcomes_of(model, result) -> np.ndarray:
    """Outcomes by name, as `dynlab.ensemble` tells them."""
    failed = np.array([STATUS_NAMES[code] not in SUCCESS for code in result.status.tolist()])
    signal, gram, _ = flow.decode(model, result.end, result.side)
    return outcomes(model, signal, gram, failed)


def compare(activation: str, size: str) -> Check:
    """All seeds of one activation, on the CPU and on the device."""
    model, z, side = starts(activation, SEEDS[size][activation])
    how = options(activation, size)
    begun = time.perf_counter()
    here = on_cpu(model, z, side, **how)
    seconds = time.perf_counter() - begun
    begun = time.perf_counter()
    there = pair_cuda.run_flow(model, z, side, **how)
    first = time.perf_counter() - begun
    with np.errstate(invalid="ignore"):
        late = np.abs(there.marks[:, 0] / here.marks[:, 0] - 1.0)
    same, other = outcomes_of(model, here), outcomes_of(model, there)
    share = float((same == other).mean())
    numbers = {
        "seeds": len(z), "same_outcome": share, "statuses_differ": int((here.status != there.status).sum()),
        "same_bits": float((here.end == there.end).all(1).mean()), "same_steps": float((here.steps == there.steps).mean()),
        "time_first_median_error": float(np.nanmedian(late)) if np.isfinite(late).any() else 0.0,
        "peak_largest_error": float(np.abs(there.peak - here.peak).max()),
        "drift_cpu": float(here.drift.max()), "drift_device": float(there.drift.max()),
        "mean_steps": float((there.steps + there.rejected).mean()),
        "most_steps": int((there.steps + there.rejected).max()), "failed_cpu": int((same == "failed").sum()),
        "failed_device": int((other == "failed").sum()), "cpu_seconds_with_compiling": seconds,
        "first_call_seconds": first,
    }  # fmt: skip
    return Check(f"flow_{activation}", share >= SAME_OUTCOMES and numbers["statuses_differ"] == 0, numbers)


def same_however(size: str) -> Check:
    """The bits do not depend on blocks, burst, order, or where the matrix is."""
    model, z, side = starts("cubic", 3 if size == "tiny" else 3000)
    how = options("cubic", size)
    whole = pair_cuda.run_flow(model, z, side, **how)
    rest = pair_cuda.run_flow(model, z[::-1], side[::-1], **how)
    numbers = {"reversed": _same(whole, rest, slice(None, None, -1))}
    host = _host(model, z, side, how)
    for name, kernel, burst, block, blocks in (
        ("burst_4", pair_cuda.CUBIC_LOCAL, 4, pair_cuda.BLOCK, 4),
        ("shared", pair_cuda.CUBIC_SHARED, 7, pair_cuda.BLOCK, 1),
    ):
        device = gpu.to_device(_with_burst(host, burst))
        pair_cuda.launch(kernel, len(z), device, block, blocks)
        end, status = device[3][0].copy_to_host(), device[5][5].copy_to_host()
        numbers[name] = bool(np.array_equal(end, whole.end) and np.array_equal(status, whole.status))
    return Check("flow_launches", all(numbers.values()), numbers)


def parity(size: str) -> Iterator[Check]:
    """Every activation, then the independence of the launch."""
    for activation in SEEDS[size]:
        yield compare(activation, size)
    yield same_however(size)


def timings(size: str) -> Iterator[tuple[str, dict]]:
    """Trajectories a second: launches of the cubic kernel, the kernels as they are used, and with all that is around."""
    count = SEEDS[size]["cubic"]
    model, z, side = starts("cubic", count)
    how = options("cubic", size)
    host = _host(model, z, side, how)
    variants = [("shared", pair_cuda.CUBIC_SHARED, pair_cuda.BLOCK)]
    if size != "tiny":
        fewer = {n: gpu.kernel(max_registers=n)(pair_cuda.CUBIC_SHARED.function) for n in (168, 128)}
        variants += [(f"shared, {n} registers", kernel, pair_cuda.BLOCK) for n, kernel in fewer.items()]
        variants.append(("contracted", gpu.kernel(contract=True)(pair_cuda.CUBIC_SHARED.function), pair_cuda.BLOCK))
        variants.append(("local", pair_cuda.CUBIC_LOCAL, 64))
        local_128 = gpu.kernel(max_registers=128)(pair_cuda.CUBIC_LOCAL.function)
        variants.append(("local, 128 registers", local_128, 64))
    for name, kernel, block in variants:
        for blocks, burst in LAUNCHES if name in ("shared", "local") and size != "tiny" else LAUNCHES[:3]:
            label = f"cubic, {name}, {blocks} blocks a multiprocessor, burst {burst}"
            yield label, _rate(kernel, host, burst, block, blocks, 2)
    for activation in SEEDS[size]:
        model, z, side = starts(activation, SEEDS[size][activation])
        kernel = pair_cuda.BY_KIND[ensemble.flow.ACTIVATIONS[activation].kind]
        found = _rate(kernel, _host(model, z, side, options(activation, size)), pair_cuda.BURST, pair_cuda.BLOCK,
                      pair_cuda.PER_PROCESSOR)  # fmt: skip
        if activation == "cubic":
            found["times_two_cores"] = found["per_second"] / TWO_CORES
            found["goal"] = GOAL
        yield f"{activation} as used", found
    yield "around the kernel", _around(count, size)


def _host(model, z, side, how) -> tuple:
    how = dict(how)
    group = pair_cuda.Group(model, z, side, how.pop("head_rate"), how.pop("until"))
    return pair_cuda.arguments([group], **how)


def _with_burst(host, burst) -> tuple:
    pars, table, (*limits, _), *rest = host
    return (pars, table, (*limits, burst), *rest)


def _same(a, b, order) -> bool:
    fields = ("end", "learnt", "marks", "snapshots", "peak", "time", "steps", "status")
    return all(np.array_equal(getattr(a, name), getattr(b, name)[order], equal_nan=True) for name in fields)


def _rate(kernel, host, burst, block, blocks, repeats=5) -> dict:
    """Milliseconds and trajectories a second, starts and results on the device."""
    device = gpu.to_device(_with_burst(host, burst))
    fresh = gpu.to_device((host[3], host[5]))

    def restore():
        for part, kept in zip((*device[3], *device[5]), (*fresh[0], *fresh[1]), strict=True):
            part.copy_to_device(kept)

    took = timed(lambda: pair_cuda.launch(kernel, len(host[3][0]), device, block, blocks), repeats, restore)
    return {"milliseconds": took, "per_second": 1e3 * len(host[3][0]) / took["median"]}


def _around(count, size) -> dict:
    """Seconds of the parts of an ensemble: drawing the starts, encoding them, the device with copies, on this machine."""
    clock = [time.perf_counter()]

    def lap():
        clock.append(time.perf_counter())
        return clock[-1] - clock[-2]

    model, training = Model(), Training()
    drawn = [draw_order_parameters(model, DIM, np.random.default_rng((1, i))) for i in range(count)]
    signal, gram = (np.array(part) for part in zip(*drawn, strict=True))
    found = {"trajectories": count, "draw": lap()}
    if size == "tiny":
        return found
    ensemble._flow(model, training, signal, gram, UNTIL, RTOL, False, "cuda")
    cuda.synchronize()
    found["encode, copy, run, copy"] = lap()
    z, side = flow.encode_arrays(model, signal, gram, np.tile(np.eye(2), (count, 1, 1)))
    found["of which encode"] = lap()
    on_cpu(model, z, side, **options("cubic", size))
    seconds = lap()
    return found | {"cpu_seconds": seconds, "cpu_per_second": count / seconds, "cpu_threads": available_threads()}
