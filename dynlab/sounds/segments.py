r"""Random views of utterances: what is drawn for a view, and how its samples and features are made.

A view is a segment of `frames` frames at a random place of an utterance (which is repeated where it is shorter).

**Voice.** The utterance is heard at v times its speed, log v uniform between the logs of `speed`, alike in all views of it
in an epoch: pitch and resonances are v times as high, as another speaker's are, so that few speakers make many voices
(Ko et al. 2015; Yamamoto et al. 2019). The sample at place p of the utterance is interpolated by the cubic of Catmull & Rom
between its four neighbours there.

To the samples x of the segment come, in this order,

* **reverberation**, with probability `reverb`: x_i + sum_r a_r x_(i - k_r), REFLECTIONS delays k_r uniform in (0, T/2),
  a_r = 0.5 s_r exp(-6.9 k_r/T) with random signs s_r: sound 60 dB (a factor exp(-6.9)) lower after T seconds, T uniform in
  `decay`;
* **noise**, with probability `noise`, at R dB below the segment, R uniform in `snr`: scaled so that
  10 log10(mean x^2/mean noise^2) = R. Of three kinds, equally often: a segment of another utterance; babble, the sum of
  TALKERS such; pink noise, white noise through the filter of P. Kellet, whose power falls by 10 dB a decade;
* **gain**: all samples times 10^(G/20), G uniform within +-`gain` dB.

Then its log-mel features (`dynlab.sounds.mel`), standardised, in which `time_masks` runs of up to `time_width` frames and
`band_masks` runs of up to `band_width` bands are set to 0, the mean (Park et al. 2019). Lengths and places are uniform.

**What is drawn** are words of `dynlab.machine.rng.philox` with the counter (block, view + DOMAIN * UTTERANCES, utterance,
epoch) under the key of the seed; pink noise takes the blocks from NOISE_BLOCK on. A view depends on seed, epoch, utterance
and number of the view alone, and is made by one thread: the same bits for any number of threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import exp, log, sqrt
from types import MappingProxyType

import numpy as np
from numba import prange

from dynlab.machine import jit, rng
from dynlab.sounds.log_mel import frame_bands
from dynlab.sounds.mel import Tables
from dynlab.tools.checks import integer, real, require

UTTERANCES = 7  # domain of `dynlab.machine.rng`
REFLECTIONS, TALKERS = 24, 3
NOISE_BLOCK = 1000
OTHER, BABBLE, PINK = 0, 1, 2
LONGEST = 100_000  # samples of a view

# Layout of the numbers that say how views are drawn.
REVERB, DECAY_LOW, DECAY_HIGH, NOISE, SNR_LOW, SNR_HIGH, GAIN, TIME_MASKS, TIME_WIDTH, BAND_MASKS, BAND_WIDTH = range(11)
SPEED_LOW, SPEED_HIGH = 11, 12

_draws = jit.compile_module(rng)
DOMAIN = rng.DOMAIN
_philox, _normal_pair_32 = _draws.philox, _draws.normal_pair_32


@dataclass(frozen=True)
class SegmentViews:
    """How random views are drawn: frozen and validated. The defaults only cut.

    frames : of a view. speed : lowest and highest. reverb, noise : probabilities. decay : shortest and longest, in seconds.
    snr : lowest and highest signal-to-noise ratio, in dB. gain : largest change of the level, in dB. time_masks,
    band_masks : how many runs of frames and of bands are set to the mean. time_width, band_width : the longest of them.

    Raises SettingError: one line with the setting, its value and what is allowed.
    """

    frames: int = 48
    speed: tuple[float, float] = (1.0, 1.0)
    reverb: float = 0.0
    decay: tuple[float, float] = (0.05, 0.3)
    noise: float = 0.0
    snr: tuple[float, float] = (5.0, 20.0)
    gain: float = 0.0
    time_masks: int = 0
    time_width: int = 6
    band_masks: int = 0
    band_width: int = 6

    def __post_init__(self) -> None:
        integer("frames", self.frames, at_least=2, at_most=1000)
        for name in ("reverb", "noise"):
            real(name, getattr(self, name), at_least=0.0, at_most=1.0)
        real("gain", self.gain, at_least=0.0, at_most=60.0)
        for name in ("time_masks", "band_masks", "time_width", "band_width"):
            integer(name, getattr(self, name), at_least=0, at_most=100)
        for name, low in (("speed", 0.5), ("decay", 0.01), ("snr", -60.0)):
            given = getattr(self, name)
            require(isinstance(given, tuple) and len(given) == 2, name, given, "two numbers, as (5, 20)")
            first, last = (real(name, x, at_least=low, at_most=100.0) for x in given)
            require(first <= last, name, given, "two numbers, the lower one first")

    @property
    def numbers(self) -> np.ndarray:
        """As the kernel takes them."""
        masks = (self.time_masks, self.time_width, self.band_masks, self.band_width)
        return np.array([self.reverb, *self.decay, self.noise, *self.snr, self.gain, *masks, *self.speed], np.float64)


# Names as `dynlab.images.settings.SOUND_VIEWS` has them.
SEGMENT_VIEWS: Mapping[str, SegmentViews] = MappingProxyType(
    {
        "speech": SegmentViews(reverb=0.3, noise=0.5, gain=6.0, time_masks=1, band_masks=1),
        "voices": SegmentViews(speed=(0.8, 1.25), reverb=0.3, noise=0.5, gain=6.0, time_masks=1, band_masks=1),
        "segments": SegmentViews(),
    }
)


@jit.inner
def _unit(word):
    return word * 2.0**-32


@jit.inner
def _copy_segment(samples, start, length, at, out):
    """Fill out with the samples from `at` on of the utterance samples[start:start + length], round and round."""
    for i in range(out.shape[0]):
        out[i] = samples[start + (at + i) % length]


@jit.inner
def _speed(numbers, counter, key):
    """v: of an utterance in an epoch, whatever the view."""
    low, high = numbers[SPEED_LOW], numbers[SPEED_HIGH]
    if low == 1.0 and high == 1.0:
        return 1.0
    a, _, _, _ = _philox(2, counter[0] // DOMAIN * DOMAIN, counter[1], counter[2], key[0], key[1])
    return low * exp(_unit(a) * log(high / low))


@jit.inner
def _copy_at_speed(samples, start, length, at, speed, out):
    """The same, at `speed` times the speed."""
    for i in range(out.shape[0]):
        place = i * speed
        first = int(place)
        t = place - first
        a = np.float64(samples[start + (at + first - 1) % length])
        b = np.float64(samples[start + (at + first) % length])
        c = np.float64(samples[start + (at + first + 1) % length])
        d = np.float64(samples[start + (at + first + 2) % length])
        out[i] = b + 0.5 * t * (c - a + t * (2.0 * a - 5.0 * b + 4.0 * c - d + t * (3.0 * (b - c) + d - a)))


@jit.inner
def _place(word, length, size):
    """Where a segment of `size` samples begins in an utterance of `length`: uniform among the places where it fits."""
    room = length - size + 1 if length >= size else length
    return (word * room) >> 32


@jit.inner
def _power(values):
    total = 0.0
    for i in range(values.shape[0]):
        total += np.float64(values[i]) * np.float64(values[i])
    return total / values.shape[0]


@jit.inner
def _reverberate(word, numbers, rate, counter, key, dry, out):
    """out = dry with reflections."""
    time = rate * (numbers[DECAY_LOW] + (numbers[DECAY_HIGH] - numbers[DECAY_LOW]) * _unit(word))
    n = out.shape[0]
    for i in range(n):
        out[i] = dry[i]
    for r in range(REFLECTIONS):
        a, b, _, _ = _philox(10 + r, counter[0], counter[1], counter[2], key[0], key[1])
        delay = 1 + int(_unit(a) * 0.5 * time)
        factor = np.float32((0.5 if b & 1 else -0.5) * exp(-6.9 * delay / time))
        for i in range(delay, n):
            out[i] += factor * dry[i - delay]


@jit.inner
def _pink(counter, key, out):
    """Fill out with pink noise: normal numbers through seven filters of first order."""
    b0 = b1 = b2 = b3 = b4 = b5 = b6 = 0.0
    n = out.shape[0]
    for block in range((n + 3) // 4):
        a, b, c, d = _philox(NOISE_BLOCK + block, counter[0], counter[1], counter[2], key[0], key[1])
        first, second = _normal_pair_32(a, b)
        third, fourth = _normal_pair_32(c, d)
        for j in range(4):
            white = np.float64(first if j == 0 else second if j == 1 else third if j == 2 else fourth)
            b0 = 0.99886 * b0 + white * 0.0555179
            b1 = 0.99332 * b1 + white * 0.0750759
            b2 = 0.96900 * b2 + white * 0.1538520
            b3 = 0.86650 * b3 + white * 0.3104856
            b4 = 0.55000 * b4 + white * 0.5329522
            b5 = -0.7616 * b5 - white * 0.0168980
            i = 4 * block + j
            if i < n:
                out[i] = b0 + b1 + b2 + b3 + b4 + b5 + b6 + white * 0.5362
            b6 = white * 0.115926


@jit.inner
def _add_noise(words, numbers, samples, bounds, counter, key, spare, wave):
    """Add noise of one of the three kinds to wave, at a drawn ratio."""
    kind = (words[0] * 3) >> 32
    n = wave.shape[0]
    if kind == PINK:
        _pink(counter, key, spare)
    else:
        for i in range(n):
            spare[i] = np.float32(0.0)
        for talker in range(TALKERS if kind == BABBLE else 1):
            a, b, _, _ = _philox(40 + talker, counter[0], counter[1], counter[2], key[0], key[1])
            who = (a * (bounds.shape[0] - 1)) >> 32
            start, length = bounds[who], bounds[who + 1] - bounds[who]
            at = _place(b, length, n)
            for i in range(n):
                spare[i] += samples[start + (at + i) % length]
    ratio = numbers[SNR_LOW] + (numbers[SNR_HIGH] - numbers[SNR_LOW]) * _unit(words[1])
    power = _power(spare)
    if power > 0.0:
        factor = np.float32(sqrt(_power(wave) / power * 10.0 ** (-0.1 * ratio)))
        for i in range(n):
            wave[i] += factor * spare[i]


@jit.inner
def view_samples(numbers, samples, bounds, utterance, rate, counter, key, spare, wave):
    """Fill wave with the samples of a view; spare: as many. counter: (view and domain, utterance, epoch)."""
    a, b, c, d = _philox(0, counter[0], counter[1], counter[2], key[0], key[1])
    e, f, g, h = _philox(1, counter[0], counter[1], counter[2], key[0], key[1])
    start, length = bounds[utterance], bounds[utterance + 1] - bounds[utterance]
    speed = _speed(numbers, counter, key)
    at = _place(a, length, int(wave.shape[0] * speed))
    echoes = _unit(b) < numbers[REVERB]
    dry = spare if echoes else wave
    if speed == 1.0:
        _copy_segment(samples, start, length, at, dry)
    else:
        _copy_at_speed(samples, start, length, at, speed, dry)
    if echoes:
        _reverberate(c, numbers, rate, counter, key, spare, wave)
    if _unit(d) < numbers[NOISE]:
        _add_noise((e, f), numbers, samples, bounds, counter, key, spare, wave)
    if numbers[GAIN] > 0.0:
        factor = np.float32(10.0 ** (numbers[GAIN] * (2.0 * _unit(g) - 1.0) / 20.0))
        for i in range(wave.shape[0]):
            wave[i] *= factor


@jit.inner
def _mask(numbers, counter, key, out):
    """Set runs of frames and of bands of out (frames, bands) to 0."""
    frames, bands = out.shape
    for m in range(int(numbers[TIME_MASKS])):
        a, b, _, _ = _philox(60 + m, counter[0], counter[1], counter[2], key[0], key[1])
        width = min((a * (int(numbers[TIME_WIDTH]) + 1)) >> 32, frames)
        first = (b * (frames - width + 1)) >> 32
        out[first : first + width] = np.float32(0.0)
    for m in range(int(numbers[BAND_MASKS])):
        a, b, _, _ = _philox(170 + m, counter[0], counter[1], counter[2], key[0], key[1])
        width = min((a * (int(numbers[BAND_WIDTH]) + 1)) >> 32, bands)
        first = (b * (bands - width + 1)) >> 32
        out[:, first : first + width] = np.float32(0.0)


@jit.parallel
def _render(numbers, samples, bounds, chosen, layout, tables, moments, draws, waves, out):
    """layout: rate, hop, size of a transform; draws: (view and domain, epoch, two halves of the seed)."""
    mean, inverse = moments
    rate, hop, size = layout
    for i in prange(len(chosen)):
        counter, key = (draws[0], chosen[i], draws[1]), (draws[2], draws[3])
        view_samples(numbers, samples, bounds, chosen[i], rate, counter, key, waves[i, 0], waves[i, 1])
        re, im, power = np.empty(size // 2), np.empty(size // 2), np.empty(size // 2 + 1)
        for t in range(out.shape[1]):
            frame_bands(waves[i, 1], t * hop, tables, re, im, power, out[i, t])
            for b in range(out.shape[2]):
                out[i, t, b] = (out[i, t, b] - mean[b]) * inverse[b]
        _mask(numbers, counter, key, out[i])


class ViewMaker:
    """Makes views of utterances (samples, bounds) for given tables and moments (mean, deviation) of the bands.

    views: how they are drawn; SettingError for longer ones than `LONGEST` samples.
    """

    def __init__(self, samples: np.ndarray, bounds: np.ndarray, views: SegmentViews, tables: Tables, moments: tuple):
        self.samples, self.bounds = np.ascontiguousarray(samples, np.float32), np.ascontiguousarray(bounds, np.int64)
        self.views, self.tables, self.numbers = views, tables, views.numbers
        self.moments = moments[0].astype(np.float32), (1.0 / moments[1]).astype(np.float32)
        self.length = tables.samples(views.frames)
        require(self.length <= LONGEST, "frames", views.frames, f"at most {tables.frames(LONGEST)}")
        self.layout = (100 * tables.hop, tables.hop, tables.size)
        self._waves = np.empty((0, 2, self.length), np.float32)

    def fill(self, chosen: np.ndarray, seed: int, epoch: int, view: int, out: np.ndarray) -> np.ndarray:
        """Fill out (len(chosen), frames, bands), float32, with one view of each of the utterances `chosen`; returns it.

        view: which one, 0, 1, ..., of this epoch under this seed.
        """
        _render(
            self.numbers, self.samples, self.bounds, np.ascontiguousarray(chosen, np.int64), self.layout, self.tables.arrays,
            self.moments, self._draws(seed, epoch, view), self._scratch(len(chosen)), out,
        )  # fmt: skip
        return out

    def waves(self, chosen: np.ndarray, seed: int, epoch: int, view: int) -> np.ndarray:
        """The samples (len(chosen), length) of those views, before their features are made. chosen, seed, epoch, view: as in
        `fill`."""
        out = np.empty((len(chosen), self.views.frames, len(self.tables.first)), np.float32)
        self.fill(chosen, seed, epoch, view, out)
        return self._waves[: len(chosen), 1].copy()

    def _draws(self, seed: int, epoch: int, view: int) -> tuple[int, int, int, int]:
        return view + UTTERANCES * rng.DOMAIN, epoch, *rng.key_of(seed)

    def _scratch(self, rows: int) -> np.ndarray:
        if len(self._waves) < rows:
            self._waves = np.empty((rows, 2, self.length), np.float32)
        return self._waves[:rows]
