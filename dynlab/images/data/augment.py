"""Augmentation: random views of pictures, made on all cores. The definitions stand in `views`, the passes in `view_kernels`.

Each view is made by one thread from numbers drawn for it alone, so the bits are the same for any
number of threads, in any batch and order.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import cache
from types import MappingProxyType

import numba
import numpy as np

from dynlab.images.data import view_kernels, views
from dynlab.machine import rng
from dynlab.tools.checks import integer, real, require
from dynlab.tools.checks import threads as checked_threads

CIFAR_MEAN, CIFAR_DEVIATION = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
BLOCK = 32  # views that a thread makes in one go
LARGEST = 1024


@dataclass(frozen=True)
class Augmentation:
    """How random views are drawn: frozen and validated. The defaults only crop and flip.

    Parameters
    ----------
    size : pixels of a side of the view. scale, ratio : bounds of the crop's share of the area and of its width/height.
    flip, jitter, grey, blur, solarise : probabilities of a horizontal flip, colour jitter, greyscale, blur, solarisation.
    brightness, contrast, saturation : factors within [max(0, 1 - x), 1 + x]. hue : shifts within [-x, x] turns, x <= 1/2.
    kernel, sigma : taps of the blur (odd) and bounds of its width in pixels.
    mean, deviation : each channel becomes (value - mean)/deviation, value in [0, 1]; one number stands for all channels.

    On pictures of one channel, saturation, hue and greyscale change nothing.
    Raises SettingError: one line with the setting, its value and what is allowed.
    """

    size: int = 32
    scale: tuple[float, float] = (0.2, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    jitter: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    hue: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    kernel: int = 3
    sigma: tuple[float, float] = (0.1, 2.0)
    mean: tuple[float, ...] = (0.0,)
    deviation: tuple[float, ...] = (1.0,)
    solarise: float = 0.0

    def __post_init__(self) -> None:
        self._set("size", integer("size", self.size, at_least=1, at_most=LARGEST))
        for name in ("flip", "jitter", "grey", "blur", "solarise"):
            self._set(name, real(name, getattr(self, name), at_least=0.0, at_most=1.0))
        for name in ("brightness", "contrast", "saturation"):
            self._set(name, real(name, getattr(self, name), at_least=0.0))
        self._set("hue", real("hue", self.hue, at_least=0.0, at_most=0.5))
        self._bounds("scale", most=1.0)
        self._bounds("ratio")
        self._bounds("sigma")
        self._set("kernel", integer("kernel", self.kernel, at_least=1))
        require(self.kernel % 2 == 1, "kernel", self.kernel, "odd")
        fits = self.blur == 0.0 or self.kernel // 2 < self.size
        require(fits, "kernel", self.kernel, f"at most {2 * self.size - 1} for views of {self.size} pixels")
        for name, above in (("mean", None), ("deviation", 0.0)):
            given = getattr(self, name)
            require(isinstance(given, (tuple, list)) and len(given) in (1, 3), name, given, "1 or 3 numbers")
            self._set(name, tuple(real(name, x, above=above) for x in given))

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    def _bounds(self, name: str, most: float | None = None) -> None:
        given = getattr(self, name)
        require(isinstance(given, (tuple, list)) and len(given) == 2, name, given, "two numbers, as (0.2, 1)")
        low, high = (real(name, x, above=0.0, at_most=most) for x in given)
        require(low <= high, name, given, "two numbers, the lower one first")
        self._set(name, (low, high))

    def plain(self) -> dict:
        """All settings as JSON can hold them."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}


PRESETS: Mapping[str, Augmentation] = MappingProxyType(
    {
        # The small experiment on CIFAR-10: cheap views of 24 x 24.
        "demo": Augmentation(size=24, jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.4, grey=0.2),
        # SimSiam on CIFAR-10 (Chen & He 2021, appendix D).
        "simsiam-cifar10": Augmentation(
            jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, grey=0.2,
            mean=CIFAR_MEAN, deviation=CIFAR_DEVIATION,
        ),
        # BYOL's (Grill et al. 2020, appendix B), blur half the time on both sides, for pictures larger than CIFAR's.
        "paper": Augmentation(
            size=96, scale=(0.08, 1.0), jitter=0.8, brightness=0.4, contrast=0.4, saturation=0.2, hue=0.1, grey=0.2,
            blur=0.5, kernel=9,
        ),
        "none": Augmentation(scale=(1.0, 1.0), ratio=(1.0, 1.0), flip=0.0),
    }
)  # fmt: skip


def for_channels(found: Augmentation, channels: int) -> Augmentation:
    """The same for pictures of so many channels: for one, mean and deviation are the means over the three."""
    if channels > 1 or len(found.mean) == len(found.deviation) == 1:
        return found
    mean, deviation = (sum(values) / len(values) for values in (found.mean, found.deviation))
    return replace(found, mean=(mean,), deviation=(deviation,))


def augment(pictures, indices, settings, seed, epoch, view, out, threads=None):
    """Fill out with one random view of each of some pictures, and return it.

    Parameters
    ----------
    pictures : uint8 (n, h, w, c), contiguous, c = 1 or 3. indices : integers (b,), rows of `pictures`.
    settings : Augmentation. seed, epoch, view : what the views are drawn from, beside the index of the picture; view 0, 1
        are the two views of a step, those from 2 on its local ones.
    out : float32 (b, size, size, c), contiguous. threads : None for those of compiled kernels; changes no bit.
    """
    key, numbers = rng.key_of(integer("seed", seed, at_least=0, at_most=2**64 - 1)), _numbers(settings)
    epoch = integer("epoch", epoch, at_least=0, at_most=rng.WORD)
    view = integer("view", view, at_least=0, at_most=rng.DOMAIN - 1)
    indices = _check(pictures, indices, settings, out)

    def part(start, stop):
        drawn = np.empty((stop - start, views.PARAMETERS))
        view_kernels.draw(numbers, *pictures.shape[1:3], indices[start:stop], view, epoch, *key, drawn)
        _render(pictures, indices[start:stop], drawn, settings, out[start:stop])

    _in_parts(part, len(indices), threads)
    return out


def evaluation_view(pictures, settings, out, threads=None):
    """Fill out (n, size, size, c) with the pictures themselves, and return it: no crop, no flip, the same normalisation.

    Where the size of a picture is not that of a view, all of it is interpolated as a crop is (each axis of its own).
    """
    indices = _check(pictures, np.arange(len(pictures)), settings, out)

    def part(start, stop):
        drawn = np.empty((stop - start, views.PARAMETERS))
        view_kernels.whole(*pictures.shape[1:3], drawn)
        _render(pictures, indices[start:stop], drawn, settings, out[start:stop])

    _in_parts(part, len(indices), threads)
    return out


def parameters(shape, indices, settings, seed, epoch, view):
    """What `augment` draws for pictures of shape (h, w): float64 (b, PARAMETERS), columns as in `views`."""
    drawn = np.empty((len(indices), views.PARAMETERS))
    view_kernels.draw(_numbers(settings), *shape, np.asarray(indices, np.int64), view, epoch, *rng.key_of(seed), drawn)
    return drawn


def render(pictures, indices, drawn, settings, out):
    """Fill out with the views of given parameters (b, PARAMETERS), on one thread; return it."""
    _render(pictures, _check(pictures, indices, settings, out), drawn, settings, out)
    return out


def _check(pictures, indices, settings, out):
    """The indices as int64, after checking that all arrays fit together."""
    whole = isinstance(pictures, np.ndarray) and pictures.dtype == np.uint8 and pictures.ndim == 4
    whole = whole and pictures.flags.c_contiguous and pictures.shape[3] in (1, 3)
    require(whole, "pictures", _shape(pictures), "contiguous uint8 (n, h, w, c) with c = 1 or 3")
    indices = np.ascontiguousarray(indices, np.int64)
    shape = (len(indices), settings.size, settings.size, pictures.shape[3])
    fits = isinstance(out, np.ndarray) and out.dtype == np.float32 and out.shape == shape and out.flags.c_contiguous
    require(fits, "out", _shape(out), f"contiguous float32 {shape}")
    inside = len(indices) == 0 or (indices.min() >= 0 and indices.max() < len(pictures))
    require(inside, "indices", "some", f"rows of {len(pictures)} pictures")
    for name in ("mean", "deviation"):
        given = getattr(settings, name)
        require(len(given) in (1, pictures.shape[3]), name, given, f"numbers for {pictures.shape[3]} channels")
    return indices


def _shape(array):
    return f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__


@cache
def _numbers(settings):
    """The settings as the kernel that draws knows them."""
    s, numbers = settings, np.zeros(views.NUMBERS)
    numbers[[views.SCALE_LOW, views.SCALE_HIGH, views.RATIO_LOW, views.RATIO_HIGH]] = *s.scale, *s.ratio
    numbers[[views.FLIP_RATE, views.JITTER_RATE, views.GREY_RATE, views.BLUR_RATE]] = s.flip, s.jitter, s.grey, s.blur
    numbers[[views.BRIGHTNESS_MOST, views.CONTRAST_MOST]] = s.brightness, s.contrast
    numbers[[views.SATURATION_MOST, views.HUE_MOST, views.SIGMA_LOW, views.SIGMA_HIGH]] = s.saturation, s.hue, *s.sigma
    numbers[views.SOLARISE_RATE] = s.solarise
    return numbers


@cache
def _normalisation(settings, channels):
    """mean and 1/deviation of each channel, float32 (2, channels)."""
    return np.stack(
        [
            np.broadcast_to(np.float32(settings.mean), channels),
            np.broadcast_to(np.float32(1.0 / np.array(settings.deviation)), channels),
        ]
    )


_local = threading.local()


def _scratch(size, channels, width, taps):
    """This thread's scratch of a kernel, kept until another shape is asked for."""
    shape = size, channels, width, taps
    if getattr(_local, "shape", None) != shape:
        row = max(width * channels, size + taps)
        floats = [np.empty(s, np.float32) for s in ((channels, size, size), (size, size), row, size, taps)]
        _local.shape, _local.arrays = shape, (*floats, np.empty((2, size), np.int32))
    return _local.arrays


def _render(pictures, indices, drawn, settings, out):
    channels = pictures.shape[3]
    scratch = _scratch(settings.size, channels, pictures.shape[2], settings.kernel)
    view_kernels.render(pictures, indices, drawn, _normalisation(settings, channels), scratch, out)


@cache
def _pool(count):
    return ThreadPoolExecutor(count)


def _in_parts(part, count, threads):
    """Call part(start, stop) for `count` views in blocks, which threads take as they come to them.

    This thread is one of them, and does not wait for one that has not begun: others may need the cores.
    """
    share = numba.get_num_threads() if threads is None else checked_threads(threads)
    share = min(share, count // BLOCK)
    blocks = itertools.count()

    def work():
        while (start := next(blocks) * BLOCK) < count:
            part(start, min(start + BLOCK, count))

    others = [_pool(share - 1).submit(work) for _ in range(share - 1)]
    work()
    for other in others:
        if not other.cancel():
            other.result()
