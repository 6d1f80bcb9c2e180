"""The passes over the pixels of a view, compiled: crop, jitter, greyscale, blur, solarisation, normalisation.

A view stays in the first-level cache as planes (channels, size, size) from the crop to the normalised result.
"""

from __future__ import annotations

import numpy as np

from dynlab.images.data import views
from dynlab.machine import jit, rng

jit.compile_module(rng)
_v = jit.compile_module(views)
_draw_view, _whole_view, _fill_taps = _v.draw_view, _v.whole_view, _v.fill_taps
_sample_at, _between, _blend, _clipped, _luma = _v.sample_at, _v.between, _v.blend, _v.clipped, _v.luma
_shift_hue, _reflected, _jitter_at, _solarised = _v.shift_hue, _v.reflected, _v.jitter_at, _v.solarised


@jit.kernel
def draw(numbers, height, width, indices, view, epoch, k0, k1, drawn):
    """Fill drawn (b, PARAMETERS) with what is drawn for a view of each picture."""
    for i in range(indices.shape[0]):
        _draw_view(numbers, height, width, indices[i], view, epoch, k0, k1, drawn[i])


@jit.kernel
def whole(height, width, drawn):
    """Fill drawn (b, PARAMETERS) with the view that is the picture itself."""
    for i in range(drawn.shape[0]):
        _whole_view(height, width, drawn[i])


@jit.kernel
def render(pictures, indices, drawn, normalisation, scratch, out):
    """Fill out (b, size, size, c) with the views of pictures[indices] for what was drawn; normalisation (2, c).

    scratch : planes (c, size, size), one plane, a row of max(w c, size + taps), weights (size,), taps, columns (2, size) of
    integers; all else float32.
    """
    planes, spare, row, weights, taps, columns = scratch
    for i in range(indices.shape[0]):
        p = drawn[i]
        _crop(pictures[indices[i]], p, planes, row, weights, columns)
        if p[views.ORDER] >= 0.0:
            for place in range(4):
                _jitter(_jitter_at(int(p[views.ORDER]), place), p, planes)
        if p[views.GREY] > 0.0:
            _grey(planes)
        if p[views.SIGMA] > 0.0:
            _fill_taps(p[views.SIGMA], taps)
            _blur(taps, planes, spare, row)
        if p[views.SOLARISE] > 0.0:
            _solarise(planes.reshape(-1))
        _store(planes, normalisation, out[i])


@jit.inner
def _crop(picture, p, planes, row, weights, columns):
    """Fill planes with the crop: rows are interpolated first, all channels as they lie, then columns."""
    channels, size = planes.shape[0], planes.shape[1]
    top, left = int(p[views.TOP]), int(p[views.LEFT])
    height, width = int(p[views.HEIGHT]), int(p[views.WIDTH])
    for x in range(size):
        low, high, weight = _sample_at(x, size, width)
        at = size - 1 - x if p[views.FLIP] > 0.0 else x
        columns[0, at] = low * channels
        columns[1, at] = high * channels
        weights[at] = weight
    for y in range(size):
        low, high, weight = _sample_at(y, size, height)
        above = picture[top + low].reshape(-1)[left * channels : (left + width) * channels]
        below = picture[top + high].reshape(-1)[left * channels : (left + width) * channels]
        for x in range(width * channels):
            row[x] = _between(np.float32(above[x]), np.float32(below[x]), weight) * views.UNIT
        for c in range(channels):
            plane = planes[c, y]
            for x in range(size):
                plane[x] = _between(row[columns[0, x] + c], row[columns[1, x] + c], weights[x])


@jit.reduction
def _sum(values):
    total = np.float32(0.0)
    for i in range(values.shape[0]):
        total += values[i]
    return total


@jit.inner
def _mean_luma(planes):
    count = np.float32(planes.shape[1] * planes.shape[2])
    if planes.shape[0] == 1:
        return _sum(planes.reshape(-1)) / count
    flat = planes.reshape(3, -1)
    return _luma(_sum(flat[0]), _sum(flat[1]), _sum(flat[2])) / count


@jit.inner
def _jitter(kind, p, planes):
    """Change the planes by one of brightness 0, contrast 1, saturation 2, hue 3."""
    flat = planes.reshape(-1)
    if kind == 0:
        part = np.float32(p[views.BRIGHTNESS])
        for i in range(flat.shape[0]):
            flat[i] = _clipped(part * flat[i])
    elif kind == 1:
        part, mean = np.float32(p[views.CONTRAST]), _mean_luma(planes)
        for i in range(flat.shape[0]):
            flat[i] = _blend(flat[i], mean, part)
    elif planes.shape[0] == 3 and kind == 2 and p[views.SATURATION] != 1.0:
        _saturate(np.float32(p[views.SATURATION]), planes.reshape(3, -1))
    elif planes.shape[0] == 3 and kind == 3 and p[views.HUE] != 0.0:
        _turn(np.float32(6.0 * p[views.HUE]), planes.reshape(3, -1))


@jit.inner
def _saturate(part, flat):
    red, green, blue = flat[0], flat[1], flat[2]
    for i in range(red.shape[0]):
        grey = _luma(red[i], green[i], blue[i])
        red[i] = _blend(red[i], grey, part)
        green[i] = _blend(green[i], grey, part)
        blue[i] = _blend(blue[i], grey, part)


@jit.inner
def _turn(sixths, flat):
    red, green, blue = flat[0], flat[1], flat[2]
    for i in range(red.shape[0]):
        r, g, b = _shift_hue(red[i], green[i], blue[i], sixths)
        red[i] = r
        green[i] = g
        blue[i] = b


@jit.inner
def _grey(planes):
    if planes.shape[0] == 3:
        flat = planes.reshape(3, -1)
        red, green, blue = flat[0], flat[1], flat[2]
        for i in range(red.shape[0]):
            grey = _luma(red[i], green[i], blue[i])
            red[i] = grey
            green[i] = grey
            blue[i] = grey


@jit.inner
def _blur(taps, planes, spare, row):
    """Convolve the planes with the taps along rows, into `spare`, and along columns, back."""
    size, count = planes.shape[1], taps.shape[0]
    reach = count // 2
    for c in range(planes.shape[0]):
        plane = planes[c]
        for y in range(size):
            for x in range(size + 2 * reach):
                row[x] = plane[y, _reflected(x - reach, size)]
            target = spare[y]
            for x in range(size):
                target[x] = np.float32(0.0)
            for t in range(count):
                for x in range(size):
                    target[x] += taps[t] * row[x + t]
        for y in range(size):
            target = plane[y]
            for x in range(size):
                target[x] = np.float32(0.0)
            for t in range(count):
                source = spare[_reflected(y + t - reach, size)]
                for x in range(size):
                    target[x] += taps[t] * source[x]


@jit.inner
def _solarise(flat):
    for i in range(flat.shape[0]):
        flat[i] = _solarised(flat[i])


@jit.inner
def _store(planes, normalisation, out):
    """Fill out (size, size, c) with the normalised planes."""
    channels = planes.shape[0]
    flat, target = planes.reshape(channels, -1), out.reshape(-1, channels)
    for c in range(channels):
        mean, inverse, plane = normalisation[0, c], normalisation[1, c], flat[c]
        for i in range(plane.shape[0]):
            target[i, c] = (plane[i] - mean) * inverse
