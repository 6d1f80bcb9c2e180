r"""Log-mel features: windows of a recording, the power in bands that are alike to the ear, and its logarithm.

**Frames.** At `rate` samples a second a frame is 25 ms long and the next begins 10 ms later: of N samples there are
1 + (N - L)//H, L = rate/40, H = rate/100. A frame is multiplied by Hann's window, w_i = (1 - cos(2 pi i/(L - 1)))/2, and
filled up with zeros to n samples, a power of two; its power is |sum_i x_i w_i exp(-2 pi i k l/n)|^2 at the frequencies
k rate/n, k = 0 ... n/2.

**Bands.** The mel of a frequency (O'Shaughnessy 1987, as in HTK) is m(f) = 2595 log10(1 + f/700), so that 1000 Hz are 1000
mel. With bands + 2 frequencies e_0 = 0, ..., e_(bands+1) = rate/2, equally far apart in mel, band b is the triangle that
rises from 0 at e_b to 1 at e_(b+1) and falls to 0 at e_(b+2). n is the least power of two that holds a frame and puts a
frequency strictly inside every triangle.

**Logarithm.** log(power in the band + FLOOR), samples being within [-1, 1]. FLOOR = 1e-6 is what a sine of amplitude 1e-5
leaves in a frame, 100 dB below the largest.

**Normalised** by mean and standard deviation of each band over all frames of the training part.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import cos, log10, pi, sin

import numpy as np

from dynlab.tools.checks import require

RATES, BANDS = (8000, 16000), (40, 80)
FLOOR = 1e-6


@dataclass(frozen=True)
class Tables:
    """What a kernel needs to make features.

    frame, hop, size : samples L, H, n. window (L,). turn (n/2, 2): cos and sin of 2 pi k/n. order (n/2,): k with its bits
    reversed. first (bands,): first frequency inside each triangle. weights (bands, widest): those of the triangle from there
    on, 0 behind its end.
    """

    frame: int
    hop: int
    size: int
    window: np.ndarray
    turn: np.ndarray
    order: np.ndarray
    first: np.ndarray
    weights: np.ndarray

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """As kernels take them."""
        return self.window, self.turn, self.order, self.first, self.weights

    def frames(self, samples: int) -> int:
        """Frames of so many samples."""
        return 0 if samples < self.frame else 1 + (samples - self.frame) // self.hop

    def samples(self, frames: int) -> int:
        """The least number of samples with so many frames."""
        return self.frame + (frames - 1) * self.hop


def mel_of_hertz(hertz: float) -> float:
    """m(f)."""
    return 2595.0 * log10(1.0 + hertz / 700.0)


def hertz_of_mel(mel: float) -> float:
    """The frequency of so many mel."""
    return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)


def edges(rate: int, bands: int) -> np.ndarray:
    """e (bands + 2,), in Hz."""
    top = mel_of_hertz(rate / 2.0)
    return np.array([hertz_of_mel(top * i / (bands + 1)) for i in range(bands + 2)])


def triangles(rate: int, bands: int, size: int) -> np.ndarray:
    """Weights (bands, size/2 + 1) of each frequency in each band."""
    at, e = np.arange(size // 2 + 1) * rate / size, edges(rate, bands)[:, None]
    rising, falling = (at - e[:-2]) / (e[1:-1] - e[:-2]), (e[2:] - at) / (e[2:] - e[1:-1])
    return np.maximum(np.minimum(rising, falling), 0.0)


def known_number(name: str, value: int, allowed: tuple[int, ...]) -> int:
    """The value of a setting, which is one of few numbers; SettingError for any other."""
    require(value in allowed, name, value, "one of " + ", ".join(map(str, allowed)))
    return value


@cache
def tables_of(rate: int = 8000, bands: int = 40) -> Tables:
    """The tables for a rate and a number of bands; SettingError for others than `RATES` and `BANDS`."""
    known_number("rate", rate, RATES)
    known_number("bands", bands, BANDS)
    frame, hop = rate // 40, rate // 100
    size = 1 << (frame - 1).bit_length()
    while not (triangles(rate, bands, size) > 0.0).any(axis=1).all():
        size *= 2
    weights = triangles(rate, bands, size)
    first = (weights > 0.0).argmax(axis=1)
    widest = int((weights > 0.0).sum(axis=1).max())
    padded = np.concatenate([weights, np.zeros((bands, widest))], axis=1)
    held = np.array([row[start : start + widest] for row, start in zip(padded, first, strict=True)])
    window = np.array([0.5 - 0.5 * cos(2.0 * pi * i / (frame - 1)) for i in range(frame)])
    half, bits = size // 2, (size // 2).bit_length() - 1
    order = np.array([int(format(k, f"0{bits}b")[::-1], 2) for k in range(half)], np.int64)
    turn = np.array([(cos(2.0 * pi * k / size), sin(2.0 * pi * k / size)) for k in range(half)])
    return Tables(frame, hop, size, window, turn, order, first.astype(np.int64), held)
