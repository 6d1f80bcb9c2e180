"""Views of pictures and files of pictures straight from their definitions: slow loops that share no code with dynlab.

A picture is an array (h, w, c) of bytes; while a view is made it is an array of floats in [0, 1]. What was drawn for a view
is a dictionary: top, left, height, width, flip, order (a tuple of names, or None), brightness, contrast, saturation, hue,
grey, sigma, solarise.
"""

from __future__ import annotations

import colorsys
import math
import struct

import numpy as np

NAMES = ("brightness", "contrast", "saturation", "hue")


def crop(picture, top, left, height, width, size):
    """The rectangle, interpolated linearly between the four nearest pixel centres, which never lie outside of it."""
    values = picture[top : top + height, left : left + width].astype(float) / 255.0
    out = np.zeros((size, size, picture.shape[2]))
    for i in range(size):
        for j in range(size):
            y = min(max((i + 0.5) * height / size - 0.5, 0.0), height - 1.0)
            x = min(max((j + 0.5) * width / size - 0.5, 0.0), width - 1.0)
            for a in (math.floor(y), math.ceil(y)):
                for b in (math.floor(x), math.ceil(x)):
                    weight = (1.0 - abs(y - a)) * (1.0 - abs(x - b))
                    share = (1 if math.floor(y) != math.ceil(y) else 0.5) * (1 if math.floor(x) != math.ceil(x) else 0.5)
                    out[i, j] += share * weight * values[a, b]
    return out


def clip(value):
    return min(1.0, max(0.0, value))


def grey_value(pixel):
    return pixel[0] if len(pixel) == 1 else 0.2989 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2]


def each_pixel(picture, change):
    """The picture with every pixel (a list of its channels) replaced by change(pixel)."""
    return np.array([[change([float(v) for v in pixel]) for pixel in row] for row in picture])


def brightness(picture, amount):
    return each_pixel(picture, lambda pixel: [clip(amount * v) for v in pixel])


def contrast(picture, amount):
    greys = [grey_value(list(pixel)) for row in picture for pixel in row]
    mean = sum(greys) / len(greys)
    return each_pixel(picture, lambda pixel: [clip(amount * v + (1 - amount) * mean) for v in pixel])


def saturation(picture, amount):
    if picture.shape[2] == 1:
        return picture
    return each_pixel(picture, lambda pixel: [clip(amount * v + (1 - amount) * grey_value(pixel)) for v in pixel])


def hue(picture, shift):
    if picture.shape[2] == 1:
        return picture

    def turned(pixel):
        h, s, v = colorsys.rgb_to_hsv(*pixel)
        return colorsys.hsv_to_rgb((h + shift) % 1.0, s, v)

    return each_pixel(picture, turned)


def grey(picture):
    return each_pixel(picture, lambda pixel: [grey_value(pixel)] * len(pixel))


def blur(picture, sigma, count):
    """The sum over a square of count x count neighbours, the picture mirrored at the centres of its outermost pixels."""
    size, reach = len(picture), count // 2
    offsets = range(-reach, reach + 1)
    weights = {(a, b): math.exp(-(a * a + b * b) / (2 * sigma * sigma)) for a in offsets for b in offsets}
    total = sum(weights.values())

    def mirrored(i):
        return -i if i < 0 else 2 * (size - 1) - i if i > size - 1 else i

    out = np.zeros(picture.shape)
    for i in range(size):
        for j in range(size):
            for (a, b), weight in weights.items():
                out[i, j] += weight / total * picture[mirrored(i + a), mirrored(j + b)]
    return out


def view(picture, drawn, size, taps=3, mean=(0.0,), deviation=(1.0,)):
    """The view (size, size, c) for what was drawn."""
    out = crop(picture, drawn["top"], drawn["left"], drawn["height"], drawn["width"], size)
    if drawn["flip"]:
        out = out[:, ::-1]
    for name in drawn["order"] or ():
        out = {"brightness": brightness, "contrast": contrast, "saturation": saturation, "hue": hue}[name](out, drawn[name])
    if drawn["grey"]:
        out = grey(out)
    if drawn["sigma"]:
        out = blur(out, drawn["sigma"], taps)
    if drawn["solarise"]:
        out = each_pixel(out, lambda pixel: [v if v < 0.5 else 1.0 - v for v in pixel])
    return (out - np.array(mean)) / np.array(deviation)


def order_of(number):
    """The order of the jitter that a number from 0 to 23 stands for."""
    left, order = list(NAMES), []
    for base in (4, 3, 2, 1):
        order.append(left.pop(number % base))
        number //= base
    return tuple(order)


def draw(words, settings, height, width):
    """What is drawn for a view of a picture; words(block): four integers below 2^32."""
    drawn = {"order": None, "sigma": 0.0}

    def between(word, low, high):
        return low + (high - low) * word / 2**32

    for block in range(10):
        a, b, c, d = words(block)
        area = between(a, *settings.scale) * height * width
        ratio = math.exp(between(b, math.log(settings.ratio[0]), math.log(settings.ratio[1])))
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            drawn |= {"top": c * (height - h + 1) // 2**32, "left": d * (width - w + 1) // 2**32, "height": h, "width": w}
            break
    else:
        w, h = width, height
        if width / height < settings.ratio[0]:
            h = round(width / settings.ratio[0])
        if width / height > settings.ratio[1]:
            w = round(height * settings.ratio[1])
        drawn |= {"top": (height - h) // 2, "left": (width - w) // 2, "height": h, "width": w}
    flip, jitter, grey_word, blur_word = words(10)
    drawn["flip"] = flip / 2**32 < settings.flip
    drawn["grey"] = grey_word / 2**32 < settings.grey
    order, sigma, solarise, _ = words(12)
    drawn["solarise"] = solarise / 2**32 < settings.solarise
    if jitter / 2**32 < settings.jitter:
        drawn["order"] = order_of(order * 24 // 2**32)
    if blur_word / 2**32 < settings.blur:
        drawn["sigma"] = between(sigma, *settings.sigma)
    factors = words(11)
    for name, word in zip(NAMES[:3], factors[:3], strict=True):
        most = getattr(settings, name)
        drawn[name] = between(word, max(0.0, 1.0 - most), 1.0 + most)
    drawn["hue"] = between(factors[3], -settings.hue, settings.hue)
    return drawn


def python2_pickle(content):
    """A dictionary as Python 2 pickled it (protocol 2): strings of bytes, lists of small integers, arrays of bytes."""

    def string(data):
        return b"U" + bytes([len(data)]) + data if len(data) < 256 else b"T" + struct.pack("<i", len(data)) + data

    def value(item):
        if isinstance(item, bytes):
            return string(item)
        if isinstance(item, int):
            return b"K" + bytes([item]) if 0 <= item < 256 else b"J" + struct.pack("<i", item)
        if isinstance(item, list):
            return b"](" + b"".join(value(x) for x in item) + b"e"
        n, m = item.shape
        empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        dtype = b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        state = b"(K\x01J" + struct.pack("<i", n) + b"J" + struct.pack("<i", m) + b"\x86" + dtype + b"\x89"
        return empty + state + string(item.tobytes()) + b"tb"

    return b"\x80\x02}(" + b"".join(value(key) + value(item) for key, item in content.items()) + b"u."
