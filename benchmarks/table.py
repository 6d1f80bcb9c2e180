"""The results as Markdown, for the page of the benchmarks: what was measured, beside which peer, and against which goal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.machine import lost, number, shown

BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"
HEADINGS = ("what", "dynlab", "peer", "its time in dynlab's", "goal")


class Row(NamedTuple):
    """One line of the table; numbers with quartiles as (median (quartiles))."""

    what: str
    ours: str
    peer: str = ""
    ratio: str = ""
    goal: str = ""


def goal(text: str, met: bool) -> str:
    """A goal, and that it was missed where it was."""
    return text if met else f"{text} (missed)"


def count(value: float) -> str:
    """A dimension or an end: a power of ten as one."""
    exponent = f"{value:.0e}".split("e")[1]
    power = int(exponent)
    return f"10^{power}" if power > 3 and value == 10.0**power else f"{value:g}"


def gradients(results: list[dict]) -> Iterator[Row]:
    for row in results:
        if "refused" in row:
            yield refused(row)
            continue
        goals = [goal(f"{row['goal_ns']:.0f} ns", row["ns"]["median"] <= row["goal_ns"])]
        peer = ratio = ""
        if "jax_ns" in row:
            peer, ratio = f"JAX jit(vmap(grad)): {shown(row['jax_ns'])} ns", shown(row["jax_ratio"], 2)
            goals.append(goal(f"{row['goal_ratio']:.0f} times", row["jax_ratio"]["median"] >= row["goal_ratio"]))
        what = f"exact gradient, two neurons, two features, one core: {row['activation']}"
        yield Row(what, f"{shown(row['ns'])} ns", peer, ratio, ", ".join(goals))


def trajectories(results: list[dict]) -> Iterator[Row]:
    for row in results:
        if "refused" in row:
            yield refused(row)
            continue
        what = f"one trajectory, cubic, dim {count(row['dim'])} to {count(row['until'])}, one core, {row['starts']} starts"
        ours = row["solvers"]["dynlab"]
        first = what, f"{shown(ours['ms'])} ms{lost(ours)}"
        for name, peer in row["solvers"].items():
            if name != "dynlab":
                yield Row(*first, f"{name}: {shown(peer['ms'])} ms{lost(peer)}", shown(peer["ratio"], 2))
                first = "the same", ""
        if first[0] == what:
            yield Row(*first)
        if "simulate" in row:
            yield Row("the same by `simulate`, one by one, with checks and trace", f"{shown(row['simulate']['ms'])} ms")


def ensembles(results: dict) -> Iterator[Row]:
    found = results["robustness"]
    what = f"trajectories that failed, of {found['trajectories']}: dim 64 to 10^12, weak 0.1 to 0.8, eta_head 0 to 1"
    yield Row(what, f"{found['failed']}", goal=goal("0", found["failed"] == 0))
    met = found["drift"] <= found["goal_drift"]
    what = "largest relative drift of a conserved quantity over all of them, rtol 1e-6"
    yield Row(what, f"{found['drift']:.1e}", goal=goal(f"{found['goal_drift']:g}", met))
    found = results["agreement"]
    same, drift = found["same_outcome"], found["drift_1e-9"]
    what = f"the same at rtol 1e-9, dim 1000, {found['seeds']} starts"
    yield Row(what, f"{drift:.1e}", goal=goal(f"{found['goal_drift']:g}", drift <= found["goal_drift"]))
    met = same >= found["goal_same"]
    yield Row("same outcome at rtol 1e-6 and 1e-9", f"{same:.2%}", goal=goal(f"{found['goal_same']:.1%}", met))
    found = results["speed"]
    if "refused" in found:
        yield refused(found)
        return
    met = found["per_second"]["median"] >= found["goal"]
    what = "trajectories a second, all cores: cubic, dim 1000, to 10^12, rtol 1e-6"
    yield Row(what, shown(found["per_second"], 2), goal=goal(f"{found['goal']:.0f}", met))


def switches(results: dict) -> Iterator[Row]:
    for activation in ("cubic", "relu"):
        found = results[activation]
        for row in found["cost"]:
            if "refused" in row:
                yield refused(row)
        wanted = ((2, 2), (16, 8), (64, 16))
        rows = [row for row in found["cost"] if (row.get("neurons"), row.get("features")) in wanted]
        costs = " / ".join(f"{shown(row['microseconds'])}" for row in rows)
        sizes = " / ".join(f"{row['neurons']}, {row['features']}" for row in rows)
        grows = f"; grows like m^{found['exponent_m']:.1f}" if "exponent_m" in found else ""
        yield Row(f"gradient under any training, dense head, {activation}: m, K = {sizes}", f"{costs} us{grows}")
    for row in results["ensembles"]:
        if "refused" in row:
            yield refused(row)
            continue
        what = "{neurons} neurons, {features} features, {seeds} starts".format(**row) + f" to {count(row['until'])}"
        yield Row(what, f"{number(row['seconds'], 2)} s, {number(row['ms_a_step'], 2)} ms a step")


def samples(results: list[dict]) -> Iterator[Row]:
    for row in results:
        if "refused" in row:
            yield refused(row)
            continue
        met = row["share_of_draws"]["median"] >= row["goal_share"]
        goals = [goal(f"{row['goal_share']:.0%} of the draws' speed", met)]
        peer = ratio = ""
        if "torch_ratio" in row:
            peer, ratio = f"PyTorch: {shown(row['torch_steps_per_second'])} a second", shown(row["torch_ratio"], 2)
            goals.append(goal(f"{row['goal_ratio']:.0f} times", row["torch_ratio"]["median"] >= row["goal_ratio"]))
        ours = f"{shown(row['steps_per_second'])} a second, {row['share_of_draws']['median']:.0%} of the draws' speed"
        what = f"minibatch steps of {row['batch']} samples, dim {row['dim']}, {row['precision']}"
        yield Row(what, ours, peer, ratio, ", ".join(goals))


def augmentation(results: dict) -> Iterator[Row]:
    for name, row in results.items():
        if "refused" in row:
            yield refused(row)
            continue
        peer = ratio = met = ""
        if "torch_ratio" in row:
            best = row["fastest_peer"]
            peer, ratio = f"{best.replace('torch', 'PyTorch')}: {shown(row['ms'][best])} ms", shown(row["torch_ratio"], 2)
        if "goal_ms" in row:
            met = goal(f"{row['goal_ms']:g} ms", row["ms"]["ours"]["median"] <= row["goal_ms"])
        what = f"{row['views']} views of {row['size']} x {row['size']}, preset {name}"
        yield Row(what, f"{shown(row['ms']['ours'])} ms", peer, ratio, met)


def images(results: list[dict]) -> Iterator[Row]:
    for row in results:
        if "refused" in row:
            yield refused(row)
            continue
        peer = ratio = met = ""
        if "ratio" in row:
            best = row["fastest_peer"]
            peer, ratio = f"{best.replace('torch', 'PyTorch')}: {shown(row['ms'][best])} ms", shown(row["ratio"], 2)
            met = goal(f"{row['goal_ratio']:g} times", row["ratio"]["median"] >= row["goal_ratio"])
        memory = row.get("memory_MiB", {})
        held = f", {memory['dynlab']:.0f} MiB" if "dynlab" in memory else ""
        if peer and memory:
            peer += f", {memory[row['fastest_peer']]:.0f} MiB"
        what = f"training step of encoder {row['encoder']}, {row['rows']} pictures of {row['size']} x {row['size']}"
        yield Row(what, f"{shown(row['ms']['dynlab'])} ms{held}", peer, ratio, met)


def start_up(results: dict) -> Iterator[Row]:
    if "refused" in results:
        yield refused(results)
        return
    names = {"second time": "main command, second time", "empty cache": "main command, empty cache", "import dynlab": ""}
    for name, what in names.items():
        limit, taken = results["goals"][name], results[name]
        low, high = taken["quartiles"]
        ours = shown(taken, 2) if low < high else number(taken["median"], 2)
        yield Row(what or "`import dynlab`", f"{ours} s", goal=goal(f"{limit:g} s", taken["median"] <= limit))


def refused(row: dict) -> Row:
    """A line for what was wrong and so not timed."""
    numbers = ", ".join(f"{name} {pair['found']:.3g}" if isinstance(pair["found"], float) else f"{name} {pair['found']}"
                        for name, pair in row["differences"].items())  # fmt: skip
    return Row(row["refused"], f"wrong, not timed: {numbers}")


SECTIONS: dict[str, Callable[..., Iterator[Row]]] = {
    "gradients": gradients, "trajectories": trajectories, "ensembles": ensembles, "switches": switches,
    "samples": samples, "augmentation": augmentation, "images": images, "start-up": start_up,
}  # fmt: skip


def markdown(results: dict) -> str:
    """A table for each machine and set of versions, and whether a quick look, that parts were measured with."""
    groups: dict[str, list[str]] = {}
    for part, made in results.items():
        key = json.dumps([made["machine"], made["quick"]], sort_keys=True)
        groups.setdefault(key, []).append(part)
    return "\n\n".join(one_table(results, parts) for parts in groups.values())


def one_table(results: dict, parts: list[str]) -> str:
    """The line about the machine and the table of parts that share it."""
    made = results[parts[0]]
    machine = made["machine"]
    versions = ", ".join(
        f"{name.capitalize() if name == 'python' else name} {version}"
        for name, version in machine["versions"].items() if version != "not installed"
    )  # fmt: skip
    missing = [name for name, version in machine["versions"].items() if version == "not installed"]
    text = f"Measured on {machine['processor']}, {machine['cores']} cores, with {versions}"
    text += f" ({', '.join(missing)} not installed)" if missing else ""
    text += "; a quick look, at small sizes." if made["quick"] else "."
    lines = [text + " Medians, quartiles in brackets.", "", row_text(HEADINGS), "|" + "---|" * len(HEADINGS)]
    lines += [row_text(row) for part in parts for row in SECTIONS[part](results[part]["results"])]
    return "\n".join(lines)


def row_text(cells) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(cells) + " |"


def write(readme: Path, text: str, begin: str = BEGIN, end: str = END) -> None:
    """Replace what stands between two markers of a page; exits with one line where they are not there,
    once each and in order."""
    whole = readme.read_text(encoding="utf-8")
    if whole.count(begin) != 1 or whole.count(end) != 1 or whole.index(begin) > whole.index(end):
        sys.exit(f"{readme}: must hold {begin} and, after it, {end}, once each")
    before, rest = whole.split(begin)
    after = rest.split(end)[1]
    readme.write_text(f"{before}{begin}\n{text}\n{end}{after}", encoding="utf-8")
