"""Random views of pictures made on a CUDA device: the twin of `dynlab.images.data.augment`, whose definitions stand in
`views`.

A thread draws what a view is made of; then a block makes a view in its place of the result, each thread some of its pixels,
so that only the mean of the contrast and the blur need the others. Numbers are drawn as on the CPU; pixels are the CPU's up
to the order in which that mean is summed.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from dynlab.images.cuda.memory import launch, ordered_sum, scratch, to_device
from dynlab.images.data import augment as host
from dynlab.images.data import views
from dynlab.machine import gpu, rng
from dynlab.machine.gpu import cuda

SQUAD = 8 if gpu.SIMULATED else 128  # threads of a view
_room = 3 * SQUAD
float32 = np.float32

gpu.compile_module(rng)
_v = gpu.compile_module(views)
_draw_view, _fill_taps, _jitter_at = _v.draw_view, _v.fill_taps, _v.jitter_at
_sample_at, _between, _blend, _clipped, _luma = _v.sample_at, _v.between, _v.blend, _v.clipped, _v.luma
_shift_hue, _reflected, _solarised = _v.shift_hue, _v.reflected, _v.solarised


def _draw(numbers, height, width, indices, view, epoch, k0, k1, drawn, taps):
    """drawn (b, PARAMETERS), and taps (b, kernel) of those views that are blurred: a thread a view."""
    i = cuda.grid(1)
    if i < indices.shape[0]:
        _draw_view(numbers, height, width, int(indices[i]), view, epoch, k0, k1, drawn[i])
        if drawn[i, views.SIGMA] > 0.0:
            _fill_taps(drawn[i, views.SIGMA], taps[i])


def _crop_pixel(picture, p, y, x, size, pixel):
    """Fill pixel (c,) from where the crop has it."""
    left = int(p[views.LEFT])
    low, high, weight = _sample_at(size - 1 - x if p[views.FLIP] > 0.0 else x, size, int(p[views.WIDTH]))
    above, below, share = _sample_at(y, size, int(p[views.HEIGHT]))
    above, below = int(p[views.TOP]) + above, int(p[views.TOP]) + below
    for c in range(picture.shape[2]):
        near = _between(float32(picture[above, left + low, c]), float32(picture[below, left + low, c]), share) * views.UNIT
        far = _between(float32(picture[above, left + high, c]), float32(picture[below, left + high, c]), share) * views.UNIT
        pixel[c] = _between(near, far, weight)


def _colour_pixel(kind, p, pixel):
    """Change pixel (c,) by one of brightness 0, saturation 2, hue 3."""
    channels = pixel.shape[0]
    if kind == 0:
        part = float32(p[views.BRIGHTNESS])
        for c in range(channels):
            pixel[c] = _clipped(part * pixel[c])
    elif channels == 3 and kind == 2 and p[views.SATURATION] != 1.0:
        part = float32(p[views.SATURATION])
        grey = _luma(pixel[0], pixel[1], pixel[2])
        for c in range(3):
            pixel[c] = _blend(pixel[c], grey, part)
    elif channels == 3 and kind == 3 and p[views.HUE] != 0.0:
        pixel[0], pixel[1], pixel[2] = _shift_hue(pixel[0], pixel[1], pixel[2], float32(6.0 * p[views.HUE]))


def _blur_pixel(source, y, x, down, taps):
    """The weighted sum of a pixel's neighbours in its row, or (down) in its column; source (size, size)."""
    size, reach = source.shape[0], taps.shape[0] // 2
    total = float32(0.0)
    for k in range(taps.shape[0]):
        if down:
            total += taps[k] * source[_reflected(y + k - reach, size), x]
        else:
            total += taps[k] * source[y, _reflected(x + k - reach, size)]
    return total


_crop_pixel, _colour_pixel, _blur_pixel = (gpu.inner(f) for f in (_crop_pixel, _colour_pixel, _blur_pixel))


def _render(pictures, indices, drawn, normalisation, taps, spare, out):
    """out (b, size, size, c): a block a view; spare: as large where views are blurred."""
    i, t = cuda.blockIdx.x, cuda.threadIdx.x
    store = cuda.shared.array(_room, float32)
    p, view = drawn[i], out[i]
    picture = pictures[int(indices[i])]
    size, channels = view.shape[0], view.shape[2]
    count = size * size
    for q in range(t, count, SQUAD):
        _crop_pixel(picture, p, q // size, q % size, size, view[q // size, q % size])
    if p[views.ORDER] >= 0.0:
        for place in range(4):
            kind = _jitter_at(int(p[views.ORDER]), place)
            if kind != 1:
                for q in range(t, count, SQUAD):
                    _colour_pixel(kind, p, view[q // size, q % size])
            else:
                for c in range(channels):
                    total = float32(0.0)
                    for q in range(t, count, SQUAD):
                        total += view[q // size, q % size, c]
                    store[c * SQUAD + t] = total
                cuda.syncthreads()
                mean = ordered_sum(store, SQUAD)
                if channels == 3:
                    mean = _luma(mean, ordered_sum(store[SQUAD:], SQUAD), ordered_sum(store[2 * SQUAD :], SQUAD))
                mean = mean / float32(count)
                part = float32(p[views.CONTRAST])
                for q in range(t, count, SQUAD):
                    for c in range(channels):
                        view[q // size, q % size, c] = _blend(view[q // size, q % size, c], mean, part)
    if p[views.GREY] > 0.0 and channels == 3:
        for q in range(t, count, SQUAD):
            y, x = q // size, q % size
            grey = _luma(view[y, x, 0], view[y, x, 1], view[y, x, 2])
            for c in range(3):
                view[y, x, c] = grey
    if p[views.SIGMA] > 0.0:
        cuda.syncthreads()
        for q in range(t, count, SQUAD):
            for c in range(channels):
                spare[i, q // size, q % size, c] = _blur_pixel(view[:, :, c], q // size, q % size, False, taps[i])
        cuda.syncthreads()
        for q in range(t, count, SQUAD):
            for c in range(channels):
                view[q // size, q % size, c] = _blur_pixel(spare[i, :, :, c], q // size, q % size, True, taps[i])
    for q in range(t, count, SQUAD):
        for c in range(channels):
            value = view[q // size, q % size, c]
            if p[views.SOLARISE] > 0.0:
                value = _solarised(value)
            view[q // size, q % size, c] = (value - normalisation[0, c]) * normalisation[1, c]


draw, render = gpu.kernel()(_draw), gpu.kernel()(_render)


@cache
def _numbers(settings):
    return to_device(host._numbers(settings))


@cache
def _normalisation(settings, channels):
    return to_device(host._normalisation(settings, channels))


def augment(pictures, indices, settings, seed, epoch, view, out, threads=None):
    """Fill out with one random view of each of some pictures, and return it.

    Parameters
    ----------
    pictures : uint8 (n, h, w, c), c = 1 or 3. indices : int64 (b,), rows of `pictures`; not checked. Both on the device.
    settings : Augmentation. seed, epoch, view : what the views are drawn from, beside the index of the picture; view 0, 1
        are the two views of a step.
    out : float32 (b, size, size, c), contiguous. threads : means nothing here.
    """
    _, height, width, channels = pictures.shape
    count, blurred = indices.shape[0], settings.blur > 0.0
    drawn = scratch("drawn", count * views.PARAMETERS, np.float64).reshape(count, views.PARAMETERS)
    taps = scratch("taps", count * settings.kernel, float32).reshape(count, settings.kernel)
    spare = scratch("blurred", out.size, float32).reshape(*out.shape) if blurred else out
    key = rng.key_of(seed)
    launch(draw, count, _numbers(settings), height, width, indices, int(view), int(epoch), *key, drawn, taps)
    render[count, SQUAD](pictures, indices, drawn, _normalisation(settings, channels), taps, spare, out)
    return out
