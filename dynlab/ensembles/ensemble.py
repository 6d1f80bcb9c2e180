"""Many runs at once: `ensemble` trains from seeds of the paper's random start and tabulates what was learnt."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np

from dynlab.ensembles import hidden
from dynlab.machine.device import Device
from dynlab.population import descent, invariants, moments
from dynlab.population.any_training.flow import is_wide, run_switched
from dynlab.population.choices import as_followed, check_optimisation, check_training, closed_form, default_end
from dynlab.population.dense import dense_descent
from dynlab.population.flow_device import of_flow
from dynlab.population.moments import MERGED
from dynlab.population.outcomes import named_outcomes, outcome_names, squared_cosines
from dynlab.population.pair import flow
from dynlab.population.starts import draw_start, draw_starts, worth_a_kernel
from dynlab.population.status import STATUS_NAMES, SUCCESS
from dynlab.population.stepping import PEAK
from dynlab.settings.activation_records import ACTIVATIONS
from dynlab.settings.model import Model
from dynlab.settings.optimisation import Optimisation
from dynlab.settings.training import ETA_HEAD, LATEST, Training
from dynlab.tools import plots, show
from dynlab.tools.checks import SettingError, available_threads, integer, memory, real, require
from dynlab.tools.intervals import wilson

if TYPE_CHECKING:
    import pandas as pd
    import xarray
    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from dynlab.tools.types import Array


# Arrays signal, noise_gram, head.
States = tuple[np.ndarray, np.ndarray, np.ndarray]
TURNING = 0.25  # a neuron turns to a feature when its squared cosine with it exceeds this
SWITCHED_FIELDS = ("marks", "peak", "loss", "time", "steps", "rejected", "status", "rest")
STATES_KEPT = 5  # of a trajectory: start, end, three snapshots
CHUNK = 64  # trajectories a task; results do not depend on it
DEVICE_CHUNK = 1 << 17  # the same on a CUDA device


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Trajectories from many starts, as `dynlab.ensemble` returns them.

    Parameters
    ----------
    model : Model
    settings : dict
        dim, seeds, seed, head, eta_head, until, method, rtol or eta; training and device where not the defaults.
    frame : DataFrame
        One row a seed: outcome, then at the end cosine_j_l, the squared cosine of neuron j with feature l, and carried_j_l,
        the share of output j's variance that the feature carries (`dynlab.population.moments`); times of the events (a
        squared cosine passes 1/2), head's peak, bound and end, rank (effective rank of the outputs' correlations), loss,
        status.
    starts, ends : tuples of arrays
        OrderParameters: signal (N, m, K), noise Gram matrices (N, m, m), heads (N, m, m). With hidden units a row for each
        of them in the first two, and the readouts (N, m, M).
    marks : (N, 3) array
        Times at which a neuron aligns with a first and with a second feature (T_1, T_3) and of the head's peak; nan where
        there was none.
    snapshots : tuple of arrays
        The states there, arrays as `starts` with a second axis of 3; none with hidden units.
    """

    model: Model
    settings: dict[str, Any]
    frame: pd.DataFrame
    starts: States
    ends: States
    marks: np.ndarray
    snapshots: States

    def __repr__(self) -> str:
        counts = self.frame["outcome"].value_counts()
        shares = [f"{name} {count}" for name, count in counts.items()]
        first = f"{self.model.activation}, head {self.settings['head']}, {len(self.frame)} seeds: {shares[0]}"
        return show.line("Ensemble", [first, *shares[1:]])

    def _repr_html_(self) -> str:
        frame = self.frame
        counts = {name: int((frame["outcome"] == name).sum()) for name in outcome_names(self.model)}
        counts["merged"] = int((frame["rank"] < MERGED).sum())
        shares = [(name, n, n / len(frame), *wilson(n, len(frame))) for name, n in counts.items()]
        medians = self.summary_row().iloc[0][["time_first", "head_peak", "head_bound", "head_end", "time_second"]]
        head = ("outcome", "seeds", "share", "95 % from", "to")
        return show.table(shares, head, repr(self)) + show.table(medians.items(), ("median of", "value"))

    def plot(self) -> Figure:
        """Shares of the outcomes, and how T_1 and the head's peak are distributed; a matplotlib Figure without a window."""
        return plots.figure(self)

    def to_xarray(self) -> xarray.Dataset:
        """The table and the states with labelled dimensions, an xarray.Dataset (extra `xarray`), as NetCDF holds it.

        Dimensions start (the seeds' numbers), neuron, feature, lender, with hidden units unit. Variables: the columns of
        `frame`, with cosine and carried as (start, neuron, feature), and the order parameters at both ends as
        signal_at_start, signal_at_end, noise_gram_at_start, ... Attributes: model and settings as JSON.
        """
        from dynlab.ensembles.labelled_ensemble import labelled_ensemble

        return labelled_ensemble(self.model, self.settings, self.frame, self.starts, self.ends)

    def summary(self) -> pd.DataFrame:
        """Return a table that fits a screen: settings, shares of the outcomes, medians over the seeds that did not fail.

        A row for each number that `summary_row` has, by its name there; columns value, and low and high, Wilson's 95 %
        interval of a share (nan for what is none). Activation and head stand over the names.
        """
        from dynlab.ensembles.summary_table import upright

        return upright(self.summary_row().iloc[0].to_dict(), list(outcome_names(self.model).values()))

    def summary_row(self) -> pd.DataFrame:
        """One row: settings, shares of the outcomes with Wilson's 95 % intervals, medians over the seeds that did not fail.

        Columns: activation, head, dim, seeds, eta_head, until, then both, only_strong, only_weak, neither, waiting, failed
        (shares in [0, 1]), X_low and X_high for each, merged (share of the seeds whose outputs collapse: their
        effective rank ends below `MERGED`), time_first, head_peak, head_bound, head_end, time_second, steps (medians).
        For K != 2 features the shares are of the outcomes "0".."K" features learnt, in columns learnt_0..learnt_K.
        """
        import pandas as pd

        frame = self.frame
        row: dict[str, Any] = {"activation": self.model.activation}
        row |= {name: self.settings[name] for name in ("head", "dim", "seeds", "eta_head", "until")}
        names = outcome_names(self.model)
        for name, column in names.items():
            row[column] = float((frame["outcome"] == name).mean())
        for name, column in names.items():
            low, high = wilson(int((frame["outcome"] == name).sum()), len(frame))
            row |= {f"{column}_low": low, f"{column}_high": high}
        row["merged"] = float((frame["rank"] < MERGED).mean())
        good = frame[frame["outcome"] != "failed"]
        for name in ("time_first", "head_peak", "head_bound", "head_end", "time_second", "steps"):
            row[name] = float(good[name].median()) if len(good) else np.nan
        return pd.DataFrame([row])


def ensemble(
    model: Model,
    dim: int = 1000,
    seeds: int | ArrayLike = 1000,
    seed: int = 0,
    head: str = "off-diagonal",
    eta_head: float = ETA_HEAD,
    until: float | None = None,
    rtol: float = 1e-6,
    threads: int | None = None,
    progress: Callable[[int], object] | None = None,
    method: str = "flow",
    eta: float = 0.05,
    training: Training | None = None,
    device: str | Device = "cpu",
    optimisation: Optimisation | None = None,
) -> Ensemble:
    """Train from many random starts on the exact population gradient.

    Parameters
    ----------
    model : Model
    dim : dimension d >= K + m of the inputs; the cost does not depend on it.
    seeds : number of starts (0, 1, ...), or the numbers of the starts wanted.
    seed : which stream of starts; the start number i of a seed is the same in every ensemble.
    head, eta_head, until, rtol, method, eta : as in `dynlab.simulate`; until None for the flow: until nothing can change any
        more, at most `dynlab.population.scaling.horizon`; for descent: `descent.DEFAULT_STEPS` steps.
    training : Training, every switch of the mechanism; head and eta_head are then its own. None: the paper's.
    optimisation : Optimisation, for descent: momentum, Adam (whose weights have dim <= 4096), schedules. None: plain steps.
    threads : number of threads (None: all that are available). Results are the same bits for any number.
    device : "cpu"; "cuda"; or "auto", cuda where there is one that can do this, else cpu. settings["device"] says in words
        what was chosen. On a device results agree with the CPU's to the solver's tolerance; starts are drawn on the CPU.
    progress : called from the calling thread with the number of starts done so far.

    Returns Ensemble. A trajectory that fails is a row with outcome "failed" and its status; nothing is dropped.
    Raises SettingError for values that are not allowed.
    """
    training = check_training(model, training, head, eta_head, method)
    how = check_optimisation(optimisation, method)
    rate = training.head_rate
    rows = "hidden units" if model.layered else "neurons"
    dim = integer("dim", dim, at_least=model.features + model.units, why=f"features + {rows}")
    rtol = real("rtol", rtol, at_least=1e-12, at_most=1e-2)
    eta = real("eta", eta, above=0.0)
    seed = integer("seed", seed, at_least=0)
    numbers = start_numbers(model, seeds)
    threads = available_threads() if threads is None else integer("threads", threads, at_least=1)
    at = of_flow(device, [(model, training)], method)
    end = default_end(model, dim, method, eta, training.start_scale) if until is None else until
    settle, end = until is None, real("until", end, above=0.0, at_most=LATEST)
    steps = descent.steps_until(end, eta) if method == "descent" else 0
    dense = method == "descent" and dense_descent.takes(model, training, how, dim) and not model.layered

    def task(some: np.ndarray) -> Any:
        if dense:
            return dense_descent.run_piece(model, training, how, dim, seed, some, eta, steps)
        if model.layered:
            stepped = (eta, steps, how) if method == "descent" else None
            return hidden.run_piece(model, training, dim, seed, some, (end, rtol, settle), stepped)
        if method == "descent":
            starts = [draw_start(model, dim, seed, int(i), training.start_scale) for i in some]
            return descent.run_descent(model, starts, head_rate=rate * eta, eta=eta, steps=steps)
        signal, gram = draw_starts(model, dim, seed, some, training.start_scale, worth_a_kernel(len(numbers)))
        return _flow(model, training, signal, gram, end, rtol, settle, at.where)

    workers, size = (threads, CHUNK) if at.where == "cpu" else (1, DEVICE_CHUNK)
    size = _fewer(model, training, method, len(numbers), workers) or size
    pieces = _run(task, [numbers[i : i + size] for i in range(0, len(numbers), size)], workers, progress)
    plain = method == "descent" and not model.layered
    parts = descent.collect(pieces) if plain else _collect(model, training, pieces)
    settings = {"head": training.head, "dim": dim, "seeds": len(numbers), "seed": seed, "eta_head": training.eta_head}
    settings |= {"until": float(end), "method": method} | ({"readout_rate": training.readout_rate} if model.layered else {})
    settings |= {"rtol": rtol} if method == "flow" else {"eta": eta, "head_rate": rate * eta}
    settings |= _beyond_the_paper(training, how)
    settings |= {} if at.asked == "cpu" else {"device": at.words}
    if model.layered:
        frame = hidden.frame(model, training, numbers, parts, settle, how.is_plain and training.is_papers)
    else:
        frame = _frame(model, numbers, rate if how.is_plain else np.nan, parts, settle)  # the head's bound is the flow's
    return Ensemble(model, settings, frame, parts["starts"], parts["ends"], parts["marks"], parts["snapshots"])


def _fewer(model: Model, training: Training, method: str, count: int, workers: int) -> int:
    """How many of `count` starts one task takes where each takes long, so that all threads have some; 0 for as usual."""
    if model.layered:
        return hidden.piece_size(count, workers, method)
    return int(method == "flow" and not closed_form(model, training) and is_wide(model, training))


def _beyond_the_paper(training: Training, how: Optimisation) -> dict[str, Any]:
    """The switches and the optimiser that are not the paper's."""
    found = {} if how.is_plain else {"optimisation": how.changed()}
    return found if training.is_papers else found | {"training": training.changed()}


def start_numbers(model: Model, seeds: int | ArrayLike) -> np.ndarray:
    """The numbers (N,), int64, of the starts that `seeds` means: so many, or these. SettingError for anything else."""
    allowed = "a number of starts >= 1, or the numbers of the starts wanted, integers >= 0"
    try:
        given = np.asarray(seeds)
    except ValueError:  # lists of unequal lengths
        raise SettingError("seeds", seeds, allowed) from None
    if given.ndim == 0:
        count = integer("seeds", seeds, at_least=1)
        state = model.units * (model.features + 2 * model.units)
        memory("seeds", seeds, 8.0 * count * STATES_KEPT * state, "states of so many starts")
        return np.arange(count)
    require(given.ndim == 1 and given.size > 0 and given.dtype.kind in "iuf", "seeds", seeds, allowed)
    with np.errstate(invalid="ignore"):
        numbers = given.astype(np.int64)
    require(bool((numbers == given).all() and (numbers >= 0).all()), "seeds", seeds, allowed)
    return numbers


def flow_frame(
    model: Model, training: Training, numbers: np.ndarray, signal: Array, gram: Array, *, until: float, rtol: float,
    settle: bool,
) -> pd.DataFrame:  # fmt: skip
    """The rows of `Ensemble.frame` for starts signal (N, m, K), noise Gram (N, m, m), called `numbers` (N,).

    until, rtol, settle: as in `dynlab.population.pair.flow.run_flow`. On the calling thread, without the GIL.
    """
    return piece_frame(model, training, numbers, _flow(model, training, signal, gram, until, rtol, settle), settle)


def piece_frame(model: Model, training: Training, numbers: np.ndarray, piece: Any, settle: bool) -> pd.DataFrame:
    """The same from what the solver made of them: (z (N, n), sides (N, m K), FlowResult) where it has a closed form."""
    return _frame(model, numbers, training.head_rate, _collect(model, training, [piece]), settle)


def _flow(
    model: Model, training: Training, signal: Array, gram: Array, until: float, rtol: float, settle: bool,
    where: str = "cpu",
) -> Any:  # fmt: skip
    """What `_collect` takes of starts signal (N, m, K), noise Gram (N, m, m), by the solver for this training.

    where: "cpu", or "cuda" (then the caller knows that there is a kernel).
    """
    if not closed_form(model, training):
        return run_switched(model, as_followed(model, training), signal, gram, until=until, rtol=rtol)
    z, side = flow.encode_arrays(model, signal, gram, np.tile(np.eye(model.neurons), (len(signal), 1, 1)))
    run_flow = flow.run_flow if where == "cpu" else _on_device()
    return z, side, run_flow(model, z, side, head_rate=training.head_rate, until=until, rtol=rtol, settle=settle)


def _on_device() -> Callable:
    from dynlab.population.pair import cuda

    return cuda.run_flow


def _run(task: Callable, chunks: list, threads: int, progress: Callable[[int], object] | None) -> list:
    """Results of the chunks in order; threads, because kernels release the GIL. An interrupt stops them.

    Few chunks wait at any time, so that ten million seeds cost no more than their results.
    """
    results, done, tasks = [None] * len(chunks), 0, iter(enumerate(chunks))
    waiting: dict[Future, int] = {}
    finished: SimpleQueue[Future] = SimpleQueue()
    stop = threading.Event()
    with ThreadPoolExecutor(threads, initializer=flow.heed, initargs=(stop,)) as pool:
        try:
            while True:
                for place, chunk in islice(tasks, 2 * threads - len(waiting)):
                    future = pool.submit(task, chunk)
                    waiting[future] = place
                    future.add_done_callback(finished.put)
                if not waiting:
                    return results
                # Not `concurrent.futures.wait`: a signal that raises while it holds its futures' locks leaves them locked.
                future = finished.get()
                place = waiting.pop(future)
                results[place] = future.result()
                done += len(chunks[place])
                if progress is not None:
                    progress(done)
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _collect(model: Model, training: Training, pieces: list) -> dict:
    """Arrays over all seeds from the pieces of `_flow`, or of `hidden.run_piece`."""
    if model.layered:
        return hidden.collect(model, pieces)
    if not closed_form(model, training):
        found = _collect_switched(pieces)
        if training.is_papers:  # this solver keeps no account on its way
            states = found["starts"][:3], found["ends"][:3]
            kept = [invariants.conserved(model, signal, gram, head, training.head_rate) for signal, gram, head in states]
            found["drift"] = np.abs(kept[1] / kept[0] - 1.0).max(1)
        return found
    starts = np.concatenate([z for z, _, _ in pieces])
    side = np.concatenate([side for _, side, _ in pieces])
    fields = ("end", "snapshots", "marks", "peak", "drift", "time", "steps", "rejected", "status", "rest")
    flat: dict[str, Any] = {name: np.concatenate([getattr(result, name) for *_, result in pieces]) for name in fields}
    flat["status"] = [STATUS_NAMES[code] for code in flat["status"].tolist()]
    flat["starts"] = flow.decode(model, starts, side)
    flat["ends"] = flow.decode(model, flat["end"], side)
    flat["snapshots"] = flow.decode(model, flat["snapshots"], side[:, None, :])
    return flat


def _collect_switched(pieces: list) -> dict:
    """Arrays over all seeds from pieces of `run_switched`."""
    flat: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in pieces]) for name in SWITCHED_FIELDS}
    flat["status"] = [STATUS_NAMES[code] for code in flat["status"].tolist()]
    for name in ("starts", "ends", "snapshots"):
        flat[name] = tuple(np.concatenate(group) for group in zip(*(getattr(part, name) for part in pieces), strict=True))
    return flat


def common_feature(model: Model, signal: Array, gram: Array) -> int | None:
    """The feature that every neuron of a state signal (m, K), noise Gram (m, m) turns to; None without one.

    None for one neuron, too. By squared cosines above `TURNING`; where phi is not odd also with one sign, since opposite
    ones make two functions.
    """
    same = (squared_cosines(model, signal, gram) > TURNING).all(0)
    if not ACTIVATIONS[model.activation].odd:
        same &= np.abs(np.sign(signal).sum(0)) == model.neurons
    return int(same.argmax()) if model.neurons > 1 and same.any() else None


def _frame(model: Model, numbers: np.ndarray, rate: float, parts: dict, settle: bool) -> pd.DataFrame:
    """`Ensemble.frame`; settle: whether the end is the default horizon."""
    import pandas as pd

    signal, gram, head = parts["ends"]
    cosines, carried = squared_cosines(model, signal, gram), moments.carried(model, signal, gram)
    ends = np.array(parts["status"], dtype=object)
    loss = parts["loss"] if "loss" in parts else moments.losses(model, signal, gram, head)
    if "loss" not in parts:
        ends[np.isin(ends, SUCCESS) & moments.impossible(model, loss)] = "not finite"
    failed = ~np.isin(ends, SUCCESS)
    found = named_outcomes(model, carried, failed)
    nothing = np.isin(found, ("neither", "0"))
    waiting = nothing & ~parts["rest"] & (ends == "until")
    found[waiting] = "waiting"
    status = np.where(waiting & settle, "waiting", ends)
    m = model.neurons
    columns = {"seed": numbers, "outcome": found}
    for name, values in (("cosine", cosines), ("carried", carried)):
        columns |= {f"{name}_{j + 1}_{f + 1}": values[:, j, f] for j in range(m) for f in range(model.features)}
    off = np.abs(head - np.eye(m))
    peak_rows = np.abs(np.nan_to_num(parts["snapshots"][2][:, PEAK]) - np.eye(m)).max(-1).argmax(-1)
    bounds = invariants.head_bound(model, parts["starts"][0], parts["starts"][1], rate)
    columns |= {
        "time_first": parts["marks"][:, 0],
        "time_second": parts["marks"][:, 1],
        "head_peak": parts["peak"],
        "time_peak": np.where(parts["peak"] > 0.0, parts["marks"][:, PEAK], np.nan),
        "head_bound": bounds[np.arange(len(numbers)), peak_rows],
        "rank": moments.output_rank(model, signal, gram),
        "head_end": np.sqrt((off**2).sum((-1, -2))),
        "time_end": parts["time"],
        "loss_end": loss,
        "drift": parts.get("drift", np.full(len(numbers), np.nan)),
        "status": status,
        "steps": parts["steps"],
        "rejected": parts["rejected"],
    }
    return pd.DataFrame(columns)
