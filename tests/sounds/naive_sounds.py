"""Features, layers over time and verification as loops over definitions: imports nothing of dynlab."""

from __future__ import annotations

import cmath
import math

import numpy as np


def log_mel(samples, rate, bands, size, floor=1e-6):
    """One sum for each frame, frequency and band."""
    length, hop = rate // 40, rate // 100
    mel = [i * 2595.0 * math.log10(1.0 + rate / 1400.0) / (bands + 1) for i in range(bands + 2)]
    edge = [700.0 * (10.0 ** (m / 2595.0) - 1.0) for m in mel]
    out = []
    for start in range(0, len(samples) - length + 1, hop):
        windowed = [samples[start + i] * math.sin(math.pi * i / (length - 1)) ** 2 for i in range(length)]
        power = [
            abs(sum(w * cmath.exp(-2j * math.pi * i * k / size) for i, w in enumerate(windowed))) ** 2
            for k in range(size // 2 + 1)
        ]
        row = []
        for low, middle, high in zip(edge, edge[1:], edge[2:], strict=False):
            total = 0.0
            for k, p in enumerate(power):
                f = k * rate / size
                if low < f <= middle:
                    total += p * (f - low) / (middle - low)
                elif middle < f < high:
                    total += p * (high - f) / (high - middle)
            row.append(math.log(total + floor))
        out.append(row)
    return np.array(out)


def unfold(x, kernel, stride, dilation):
    n, length, c = x.shape
    out = np.zeros((n, len(range(0, length, stride)), kernel, c))
    for t, centre in enumerate(range(0, length, stride)):
        for j in range(kernel):
            s = centre + (j - kernel // 2) * dilation
            if 0 <= s < length:
                out[:, t, j] = x[:, s]
    return out.reshape(n, out.shape[1], kernel * c)


def statistics(x, eps=1e-5):
    means = [[sum(row[:, q]) / len(row) for q in range(x.shape[2])] for row in x]
    spread = [
        [math.sqrt(sum((value - m) ** 2 for value in row[:, q]) / len(row) + eps) for q, m in enumerate(mean)]
        for row, mean in zip(x, means, strict=True)
    ]
    return np.concatenate([means, spread], axis=1)


def operating_points(scores, target):
    """(P_fa, P_miss) by counting, for every threshold that makes a difference, from accepting all to accepting none."""
    hits = [s for s, t in zip(scores, target, strict=True) if t]
    others = [s for s, t in zip(scores, target, strict=True) if not t]
    found = []
    for threshold in [*sorted(set(scores)), math.inf]:
        alarms = sum(s >= threshold for s in others) / len(others)
        found.append((alarms, sum(s < threshold for s in hits) / len(hits)))
    return found


def equal_error_rate(scores, target):
    """Where the polygon through the operating points meets the diagonal, by halving the part of each line that crosses."""
    points = operating_points(scores, target)
    for (fa0, miss0), (fa1, miss1) in zip(points, points[1:], strict=False):
        if miss0 <= fa0 and miss1 >= fa1:
            low, high = 0.0, 1.0
            for _ in range(60):
                part = 0.5 * (low + high)
                below = miss0 + part * (miss1 - miss0) < fa0 + part * (fa1 - fa0)
                low, high = (part, high) if below else (low, part)
            return miss0 + high * (miss1 - miss0)
    raise AssertionError("no crossing")


def least_cost(scores, target, prior):
    costs = [prior * miss + (1.0 - prior) * alarm for alarm, miss in operating_points(scores, target)]
    return min(costs) / min(prior, 1.0 - prior)
