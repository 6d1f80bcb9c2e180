"""Convolutions with square kernels of 1 or 3, padding k // 2, and their two derivatives.

Images are (n, h, w, c_in), weights (k, k, c_in, c_out), results (n, h', w', c_out) with h' = (h - 1) // stride + 1:

    out[i, y, x, o] = sum_{a, b, c} x[i, stride y + a - k // 2, stride x + b - k // 2, c] w[a, b, c, o],

terms outside of the picture being zero. Nothing is rearranged into columns: for each tap (a, b) a place of the result has
one place of the picture, or a row of zeros, and the tiles of `dynlab.images.layers.tiles` read through tables of addresses.

* **Data.** dL/dx at the places y = stride q + r (r < stride) is again such a sum, over the taps with r + k // 2 - a a
  multiple of the stride, of dL/dout at q + (r + k // 2 - a) / stride times the transposed weights: stride^2 classes of
  places, each a convolution of stride 1.
* **Weights.** dL/dw[a, b] = sum over places of (picture at the tap)^T dL/dout. Places are cut into a number of parts that
  depends on the shapes alone, each summed on its own, the parts added in order.
* **Few channels** (a first layer). In a picture copied with a margin of zeros the three taps of a row are 3 c_in numbers
  side by side, so that there are three taps of 3 c_in numbers instead of nine of c_in.

Each entry is a sum in an order that depends on the shapes alone: the same bits for any number of threads.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dynlab.images.layers import products

FEW = 8  # channels up to which a copy with a margin is made


def output_size(size: int, stride: int) -> int:
    """Rows or columns of the result, for a picture with `size` of them; padding k // 2 makes it the same for all k."""
    return (size - 1) // stride + 1


@dataclass(frozen=True)
class _Class:
    """Places of dL/dx that share their taps (T, 2); geometry and offsets as `products.gather_places` takes them.

    first: where their packed weights begin.
    """

    geometry: np.ndarray
    offsets: np.ndarray
    taps: np.ndarray
    first: int


class ConvolutionWork:
    """Scratch and tables of the three functions for one set of shapes."""

    def __init__(self, x_shape, w_shape, stride, dtype):
        n, h, w, c_in = x_shape
        k, _, _, c_out = w_shape
        rows, columns = output_size(h, stride), output_size(w, stride)
        self.shapes = tuple(x_shape), tuple(w_shape), (n, rows, columns, c_out)
        self.stride, self.dtype = stride, np.dtype(dtype)
        self.few = k > 1 and c_in <= FEW
        pad = k // 2
        width = products.panel_width(np.dtype(dtype))
        if self.few:
            self.margin = np.zeros((n, h + 2 * pad, w + 2 * pad, c_in), dtype)
            count, offsets = k * c_in, [(a, 0) for a in range(k)]
            source = (h + 2 * pad, w + 2 * pad, c_in)
        else:
            count, offsets = c_in, [(a - pad, b - pad) for a in range(k) for b in range(k)]
            source = (h, w, c_in)
        self.offsets = np.array(offsets, np.int64)
        self.geometry = np.array([n, rows, columns, *source, count, stride, rows, columns, c_out, 1, 0, 0], np.int64)
        self.classes, numbers = self._classes(x_shape, w_shape, stride, rows, columns, width)
        panels = -(-c_out // width)
        self.packed = np.empty(max(panels * k * k * c_in * width, numbers), dtype)
        self.zeros = np.zeros(max(count, c_out), dtype)
        padded = panels * width
        size = k * k * c_in * padded
        self.parts = products.parts(size, n * rows * columns)
        self.sums = np.empty((self.parts, k * k * c_in, padded), dtype) if self.parts > 1 or padded != c_out else None

    def check(self, x, w, stride, out):
        """The tables hold addresses: arrays of other shapes or types would be written beyond their ends."""
        fits = (x.shape, w.shape, out.shape) == self.shapes and stride == self.stride
        if not (fits and x.dtype == w.dtype == out.dtype == self.dtype):
            raise ValueError(f"scratch is for x, w, out of shapes {self.shapes}, stride {self.stride}, {self.dtype}")

    @staticmethod
    def _classes(x_shape, w_shape, stride, rows, columns, width):
        n, h, w, c_in = x_shape
        k, _, _, c_out = w_shape
        pad, classes, first = k // 2, [], 0
        for r in range(min(stride, h)):
            for s in range(min(stride, w)):
                taps = [
                    (a, b) for a in range(k) for b in range(k)
                    if (r + pad - a) % stride == 0 and (s + pad - b) % stride == 0
                ]  # fmt: skip
                offsets = [((r + pad - a) // stride, (s + pad - b) // stride) for a, b in taps]
                places = (n, output_size(h - r, stride), output_size(w - s, stride))
                geometry = (*places, rows, columns, c_out, c_out, 1, h, w, c_in, stride, r, s)
                tables = np.array(geometry, np.int64), np.array(offsets, np.int64).reshape(-1, 2)
                classes.append(_Class(*tables, np.array(taps, np.int64).reshape(-1, 2), first))
                first += -(-c_in // width) * width * len(taps) * c_out
        return classes, first


def convolution_work(x_shape, w_shape, stride, dtype="float32"):
    """Scratch for the three functions below, for these shapes."""
    return ConvolutionWork(x_shape, w_shape, stride, dtype)


def convolve(x, w, stride, out, work):
    """out = the convolution of x with w."""
    work.check(x, w, stride, out)
    source = products.add_margin(x, work.margin) if work.few else x
    products.pack(w.reshape(-1, w.shape[3]), work.packed)
    products.gather_places(source.reshape(-1), work.zeros, work.geometry, work.offsets, work.packed, out.reshape(-1))
    return out


def convolve_backward_data(d_out, w, stride, d_x, work):
    """d_x = dL/dx from d_out = dL/dout."""
    work.check(d_x, w, stride, d_out)
    for part in work.classes:
        packed = work.packed[part.first :]
        products.pack_transposed(w, part.taps, packed)
        products.gather_places(d_out.reshape(-1), work.zeros, part.geometry, part.offsets, packed, d_x.reshape(-1))
    return d_x


def convolve_backward_weights(x, d_out, stride, d_w, work):
    """d_w = dL/dw from d_out = dL/dout."""
    work.check(x, d_w, stride, d_out)
    source = products.add_margin(x, work.margin) if work.few else x
    flat = d_w.reshape(-1, d_w.shape[3])
    sums = flat.reshape(1, *flat.shape) if work.sums is None else work.sums
    products.accumulate_places(
        source.reshape(-1), work.zeros, work.geometry, work.offsets, d_out.reshape(-1, d_out.shape[3]), sums
    )
    if work.sums is not None:
        products.fold(sums, flat)
    return d_w
