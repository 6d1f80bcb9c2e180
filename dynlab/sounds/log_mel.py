"""Log-mel features, compiled: the power spectrum of a frame by a fast Fourier transform, and its bands (`mel`).

A real frame x of n samples is transformed as z_k = x_(2k) + i x_(2k+1), k < h = n/2, by the algorithm of Cooley & Tukey with
radix 2; from Z = FFT(z) and with Z_h = Z_0

    X_k = (Z_k + conj Z_(h-k))/2 - (i/2) exp(-2 pi i k/n) (Z_k - conj Z_(h-k)),     k = 0 ... h.

Spectra are float64, features float32. A frame is made by one thread from its samples alone: the same bits for any number
of threads, and for a frame of a recording as for one of a view.
"""

from __future__ import annotations

from math import log

import numpy as np
from numba import prange

from dynlab.machine import jit
from dynlab.sounds.mel import FLOOR, Tables


@jit.inner
def transform(re, im, turn):
    """FFT in place of re + i im (h,), which lie in the order of reversed bits; turn (h, 2) for n = 2 h."""
    h = re.shape[0]
    half = 1
    while half < h:
        step = h // half  # of the table: exp(-2 pi i j/(2 half)) = exp(-2 pi i (j step)/n)
        for start in range(0, h, 2 * half):
            for j in range(half):
                c, s = turn[j * step, 0], turn[j * step, 1]
                a, b = start + j, start + j + half
                x, y = re[b] * c + im[b] * s, im[b] * c - re[b] * s
                re[b], im[b] = re[a] - x, im[a] - y
                re[a], im[a] = re[a] + x, im[a] + y
        half *= 2


@jit.inner
def frame_bands(samples, start, tables, re, im, power, out):
    """Fill out (bands,) with the log-mel features of the frame of `samples` that begins at start."""
    window, turn, order, first, weights = tables
    h, length = re.shape[0], window.shape[0]
    for k in range(h):
        i = 2 * order[k]
        re[k] = samples[start + i] * window[i] if i < length else 0.0
        im[k] = samples[start + i + 1] * window[i + 1] if i + 1 < length else 0.0
    transform(re, im, turn)
    for k in range(h + 1):
        p, q = k % h, (h - k) % h
        even_re, even_im = 0.5 * (re[p] + re[q]), 0.5 * (im[p] - im[q])
        odd_re, odd_im = 0.5 * (im[p] + im[q]), 0.5 * (re[q] - re[p])
        c, s = (turn[k, 0], turn[k, 1]) if k < h else (-1.0, 0.0)
        x, y = even_re + c * odd_re + s * odd_im, even_im + c * odd_im - s * odd_re
        power[k] = x * x + y * y
    for b in range(out.shape[0]):
        total = 0.0
        for j in range(weights.shape[1]):
            k = first[b] + j
            if k <= h:
                total += weights[b, j] * power[k]
        out[b] = log(total + FLOOR)


@jit.parallel
def _fill(samples, starts, tables, size, out):
    parts = min(out.shape[0], 64)
    for part in prange(parts):
        re, im, power = np.empty(size // 2), np.empty(size // 2), np.empty(size // 2 + 1)
        for i in range(part * out.shape[0] // parts, (part + 1) * out.shape[0] // parts):
            frame_bands(samples, starts[i], tables, re, im, power, out[i])


def log_mel(samples: np.ndarray, tables: Tables) -> np.ndarray:
    """Features (frames, bands), float32, of samples (N,), float32 within [-1, 1]; not normalised."""
    return log_mel_of_many(samples, np.array([0, len(samples)], np.int64), tables)[0]


def log_mel_of_many(samples: np.ndarray, bounds: np.ndarray, tables: Tables) -> tuple[np.ndarray, np.ndarray]:
    """(features (frames of all, bands), bounds of each recording in them) for recordings bounds[i] to bounds[i + 1]."""
    counts = np.array([tables.frames(int(n)) for n in np.diff(bounds)], np.int64)
    starts = [start + tables.hop * np.arange(count) for start, count in zip(bounds[:-1], counts, strict=True)]
    at = np.concatenate([np.empty(0, np.int64), *starts]).astype(np.int64)
    out = np.empty((len(at), len(tables.first)), np.float32)
    _fill(np.ascontiguousarray(samples, np.float32), at, tables.arrays, tables.size, out)
    return out, np.concatenate([[0], np.cumsum(counts)])


def moments_of_bands(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (bands,), float32, over frames (n, bands); a band that never changes has deviation 1."""
    deviation = features.std(axis=0, dtype=np.float64)
    return features.mean(axis=0, dtype=np.float64).astype(np.float32), np.where(deviation > 0, deviation, 1).astype("f4")
