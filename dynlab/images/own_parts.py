r"""Encoders and losses from outside the package: `register_encoder`, `register_loss`, and what makes the trainer run them.

They are plain functions of NumPy arrays and compute on the CPU. Whatever is registered is checked at once, in float64, on
random numbers: a gradient g that is said to be that of a function f is held against central differences

    (f(p + h u) - f(p - h u))/(2 h)  =  <g, u>,        h = 1e-6, u of length 1 along g/|g| + r, r random of length 1,

for every array, to 1e-5 of |g|: what is wrong with the size of g shows along g, what is missing along r. So a sign, a
factor, a transposed matrix or a forgotten term is refused with the numbers that disagree. An encoder must also answer for
every picture by itself (no statistics of the batch): then what evaluation sees is what training saw.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod
from types import ModuleType
from typing import Any

import numpy as np

from dynlab.images.losses import LossSettings, Objective
from dynlab.images.settings import DATASETS, ENCODERS, LOSSES, OWN_ENCODERS, OWN_LOSSES
from dynlab.tools.checks import SettingError, require
from dynlab.tools.types import Array

STEP, TOLERANCE = 1e-6, 1e-5
ROWS, WIDTH = 6, 4  # of the outputs that losses are checked on
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class EncoderRecord:
    """An encoder as `register_encoder` was given it; outputs: D, the same for pictures of any size."""

    name: str
    start: Callable[[tuple[int, int, int], np.random.Generator], Arrays]
    forward: Callable[[Arrays, np.ndarray], tuple[np.ndarray, Any]]
    backward: Callable[[Arrays, Any, np.ndarray], Arrays]
    outputs: int


@dataclass(frozen=True)
class LossRecord:
    """A loss as `register_loss` was given it."""

    name: str
    function: Callable[[np.ndarray, np.ndarray], tuple]
    towards: bool


def register_encoder(
    name: str,
    *,
    start: Callable[[tuple[int, int, int], np.random.Generator], Arrays],
    forward: Callable[[Arrays, np.ndarray], tuple[np.ndarray, Any]],
    backward: Callable[[Arrays, Any, np.ndarray], Arrays],
    shape: tuple[int, int, int] = (8, 8, 3),
) -> EncoderRecord:
    """Add an encoder, for this process, to those that `Pretraining(encoder=...)` and `--encoder` take.

    Parameters
    ----------
    name : a word that is not taken.
    start : start(shape, rng) -> {name: array}, the parameters before training for pictures of shape (h, w, c); all that is
        random comes from the generator rng.
    forward : forward(parameters, x) -> (y, kept): outputs y (n, D) of pictures x (n, h, w, c), the type of x, and whatever
        backward needs. A row of y is a function of its picture alone.
    backward : backward(parameters, kept, d_y) -> {name: array}: dL/d(parameter) by the same names, for d_y = dL/dy (n, D).
    shape : of the random pictures that it is checked on.

    Weights of two axes and more decay (`weight_decay`), others do not.

    Returns
    -------
    EncoderRecord : what was registered.

    Raises SettingError: one line, what was found and what it must be. The same functions again are no error, others under
    the same name are. The examples of the page "Your own encoder, your own loss" are run by the tests.
    """
    taken = OWN_ENCODERS.get(_word(name, (*ENCODERS, *DATASETS)))
    if taken is not None:
        require((taken.start, taken.forward, taken.backward) == (start, forward, backward), "name", name,
                "another: other functions are registered under it")  # fmt: skip
        return taken
    record = EncoderRecord(name, start, forward, backward, _checked_encoder(name, start, forward, backward, shape))
    OWN_ENCODERS[name] = record
    return record


def register_loss(name: str, function: Callable[[Array, Array], tuple], *, towards: bool = False) -> LossRecord:
    """Add a loss, for this process, to those that `Pretraining(loss=...)` and `--loss` take.

    Parameters
    ----------
    name : a word that is not taken.
    function : of two float64 arrays (B, m), whose rows belong together.
        function(a, b) -> (value, d_a, d_b): outputs of the two views of a batch; the gradient goes to both. There is then no
        head, no target of its own and no stop-gradient, as with Barlow Twins.
        With `towards`, function(online, target) -> (value, d_online): online outputs of one view, behind the head, and
        target outputs of the other, whose side has no gradient. It is called both ways, and the mean is taken. Any head and
        both targets can be had, as with BYOL.
        value is a mean over the B pictures.
    towards : which of the two it is.

    Returns
    -------
    LossRecord : what was registered.

    Raises SettingError: one line, what was found and what it must be. The same function again is no error, another under the
    same name is.
    """
    taken = OWN_LOSSES.get(_word(name, LOSSES))
    if taken is not None:
        same = (taken.function, taken.towards) == (function, towards)
        require(same, "name", name, "another: another function is registered under it")
        return taken
    _check_loss(name, function, towards)
    OWN_LOSSES[name] = record = LossRecord(name, function, towards)
    return record


def _word(name: str, built_in: tuple[str, ...]) -> str:
    require(isinstance(name, str) and name.isidentifier(), "name", name, "a word (letters, digits and _)")
    require(name not in built_in, "name", name, f"another: {', '.join(built_in)} are built in")
    return name


def _checked_encoder(name: str, start: Callable, forward: Callable, backward: Callable, shape: tuple) -> int:
    """The number of outputs, after all checks."""
    first, again = (_arrays("start", name, start(shape, np.random.default_rng(0))) for _ in range(2))
    same = first.keys() == again.keys() and all(np.array_equal(first[key], again[key]) for key in first)
    require(same, "start", name, "a function of shape and rng: called twice alike it gave two different starts")
    rng = np.random.default_rng(1)
    held = {key: array.astype(np.float64) for key, array in first.items()}
    x = rng.standard_normal((5, *shape))
    before, shown = {key: array.copy() for key, array in held.items()}, x.copy()
    y, kept = _forward(name, forward, held, x)
    d_y = rng.standard_normal(y.shape)
    found = _arrays("backward", name, backward(held, kept, d_y.copy()))
    untouched = np.array_equal(x, shown) and all(np.array_equal(held[key], before[key]) for key in held)
    require(untouched, "forward", name, "functions that leave x and the parameters as they are")
    shapes = {key: array.shape for key, array in held.items()}
    given = {key: array.shape for key, array in found.items()}
    require(given == shapes, "backward", name, f"a function that returns arrays {shapes}; it returns {given}")
    alone = _forward(name, forward, held, x[:2])[0]
    require(
        np.allclose(alone, y[:2], rtol=1e-9, atol=1e-9 * np.abs(y).max()), "forward", name,
        "a function of each picture by itself: rows change with the other pictures of a batch",
    )  # fmt: skip

    def value(changed: Arrays) -> float:
        return float((_forward(name, forward, held | changed, x)[0] * d_y).sum())

    for key, slope in found.items():
        _hold("backward", name, repr(key), _with(value, key), held[key], slope, rng)
    small = _forward(name, forward, {key: array.astype(np.float32) for key, array in held.items()}, x.astype(np.float32))[0]
    fits = np.allclose(small, y, rtol=1e-2, atol=1e-2 * np.abs(y).max())
    require(fits, "forward", name, "a function that gives the same in float32, as training computes")
    return int(y.shape[1])


def _with(value: Callable[[Arrays], float], key: str) -> Callable[[np.ndarray], float]:
    """The value as a function of one array."""
    return lambda array: value({key: array})


def _arrays(what: str, name: str, given: object) -> Arrays:
    """Finite floats by name."""
    good = isinstance(given, dict) and len(given) > 0
    good = good and all(isinstance(key, str) and np.asarray(array).dtype.kind == "f" for key, array in given.items())  # type: ignore[attr-defined]
    require(good, what, name, "a function that returns {name: array of floats}")
    made = {key: np.asarray(array) for key, array in given.items()}  # type: ignore[attr-defined]
    require(all(np.isfinite(array).all() for array in made.values()), what, name, "a function that returns finite numbers")
    return made


def _forward(name: str, forward: Callable, parameters: Arrays, x: np.ndarray) -> tuple[np.ndarray, Any]:
    found = forward(parameters, x)
    y: Array = np.asarray(found[0]) if isinstance(found, tuple) and len(found) == 2 else np.empty(0)
    good = y.ndim == 2 and y.shape[0] == len(x) and y.size > 0 and y.dtype.kind == "f" and bool(np.isfinite(y).all())
    require(good, "forward", name, f"a function that returns (y, kept), y finite floats ({len(x)}, D)")
    return y, found[1]


def _hold(
    what: str, name: str, of: str, f: Callable[[np.ndarray], float], at: Array, slope: Array, rng: np.random.Generator
) -> None:
    """SettingError where a slope is not that of a function along itself and a random direction together."""
    along, size = rng.standard_normal(at.shape), float(np.linalg.norm(slope))
    along = along / np.linalg.norm(along) + (slope / size if size > 0.0 else 0.0)
    along /= np.linalg.norm(along)
    said, seen = float((slope * along).sum()), (f(at + STEP * along) - f(at - STEP * along)) / (2.0 * STEP)
    if not abs(said - seen) <= TOLERANCE * max(size, abs(seen), TOLERANCE):
        why = f"the gradient: along a direction of {of} it gives {said:.6g}, and differences of the value {seen:.6g}"
        raise SettingError(what, name, why)


def _check_loss(name: str, function: Callable, towards: bool) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal((2, ROWS, WIDTH))
    before = a.copy(), b.copy()
    _, slopes = _loss_of(name, function, a, b, towards)
    untouched = np.array_equal(a, before[0]) and np.array_equal(b, before[1])
    require(untouched, "function", name, "one that leaves its arrays as they are")
    _hold("function", name, "the first array", lambda p: _loss_of(name, function, p, b, towards)[0], a, slopes[0], rng)
    if not towards:
        _hold("function", name, "the second array", lambda p: _loss_of(name, function, a, p, towards)[0], b, slopes[1], rng)


def _loss_of(name: str, function: Callable, a: np.ndarray, b: np.ndarray, towards: bool) -> tuple[float, list[np.ndarray]]:
    """(value, gradients) of a call; SettingError where it returns something else."""
    found = function(a, b)
    names = "(value, d_online)" if towards else "(value, d_a, d_b)"
    good = isinstance(found, tuple) and len(found) == (2 if towards else 3)
    good = good and np.ndim(found[0]) == 0 and all(np.shape(one) == a.shape for one in found[1:])
    require(good, "function", name, f"one that returns {names}, the gradients of the shape of their arrays")
    return float(found[0]), [np.asarray(one) for one in found[1:]]


def on_host(what: str, name: str, ops: ModuleType) -> None:
    """SettingError on a CUDA device: what is registered is computed by NumPy."""
    from dynlab.images import layers

    require(ops is layers, what, name, "one that is built in, or the device cpu: what is registered is computed by NumPy")


class OwnNetwork:
    """A registered encoder as the trainer and evaluation use a `dynlab.images.networks.network.Network`."""

    def __init__(self, record: EncoderRecord, input_shape: tuple[int, int, int], ops: ModuleType, dtype: str = "float32"):
        on_host("encoder", record.name, ops)
        self.record, self.input_shape, self.ops, self.dtype = record, input_shape, ops, dtype
        self.output_shape = (record.outputs,)
        self.segments: list[tuple[str, int, int, tuple[int, ...]]] = []
        self.buffer_segments: list[tuple[str, int, int, tuple[int, ...]]] = []
        stop = 0
        for name, array in self._first(0, 0).items():
            start, stop = stop, stop + prod(array.shape)
            self.segments.append((name, start, stop, array.shape))
        self.parameters, self.gradients = np.zeros(stop, dtype), np.zeros(stop, dtype)
        self.buffers = np.empty(0, dtype)
        self.decays = np.concatenate([np.full(b - a, len(shape) > 1, np.uint8) for _, a, b, shape in self.segments])
        self._kept: Any = None

    def _first(self, seed: int, stream: int) -> Arrays:
        return self.record.start(self.input_shape, np.random.default_rng((seed, stream)))

    def _named(self, flat: np.ndarray) -> Arrays:
        return {name: flat[start:stop].reshape(shape) for name, start, stop, shape in self.segments}

    def initialise(self, seed: int, stream: int = 0) -> None:
        """Start anew, a function of seed and stream."""
        for name, array in self._first(seed, stream).items():
            self._named(self.parameters)[name][...] = array

    def forward(self, x: np.ndarray, groups: int = 1, training: bool = True) -> np.ndarray:
        """y (n, D); groups and training change nothing."""
        y, kept = self.record.forward(self._named(self.parameters), x)
        self._kept = kept if training else None
        return np.ascontiguousarray(y, self.dtype)

    def backward(self, d_y: np.ndarray, need_input_gradient: bool = False) -> None:
        """Fill gradients from d_y (n, D) of the last forward pass."""
        found, place = self.record.backward(self._named(self.parameters), self._kept, d_y), self._named(self.gradients)
        for name, array in found.items():
            place[name][...] = array


class OwnLoss(Objective):
    """A registered loss as the trainer uses those of `dynlab.images.losses`."""

    def __init__(self, record: LossRecord, settings: LossSettings, ops: ModuleType, rows: int, outputs: int, dtype: str):
        on_host("loss", record.name, ops)
        super().__init__(settings, ops, rows, outputs, dtype)
        self.record, self.uses_target = record, record.towards

    def _step(self, online: np.ndarray, target: np.ndarray, d_online: np.ndarray, d_target: np.ndarray | None) -> None:
        self._clear(d_target)
        half, call = self.half, self.record.function
        first, second = (np.array(part, np.float64) for part in (online[:half], online[half:]))
        if self.record.towards:
            goals = [np.array(part, np.float64) for part in (target[half:], target[:half])]
            found = [call(one, goal) for one, goal in zip((first, second), goals, strict=True)]
            self.value[0] = 0.5 * (float(found[0][0]) + float(found[1][0]))
            d_online[:half], d_online[half:] = 0.5 * found[0][1], 0.5 * found[1][1]
        else:
            value, d_online[:half], d_online[half:] = call(first, second)
            self.value[0] = float(value)
