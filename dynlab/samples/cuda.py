r"""Minibatch gradients on a CUDA device: the twin of `dynlab.samples.kernels` and of the passes of `samples.gradient`.

The data are drawn on the device by the same counted random numbers and never stored. Draws are the CPU's bits; sums are in
other orders than there, so losses and gradients agree to rounding.

    contents        a thread a sample: feature, sign, which patches show it, which view has which patch
    responses       a thread a patch: u_j = <w_j, X_p> of the rows of the weights that look at its view, drawing the patch
    outputs         a thread a sample: z, as the CPU adds them
    column_sums, product_sums    a thread a chunk of samples and a column (or two): moments of z
    output_slopes   a thread a number: dL/dz
    slopes          a thread a sample: u_j is overwritten by dL/dz phi'(u_j); the features' part of dL/dw
    noise_sums      a thread a chunk and a block of random numbers: sum of slope times patch, the patch drawn again
    signal_sums     a thread a chunk, neuron and feature
    fold            a thread a number: sums of the chunks, in their order

Chunks depend on batch and dimension alone: results do not depend on the launch. Between the moments and the slopes the host
computes the loss as a function of the moments (`dynlab.samples.objective`): any objective, head and target; outputs of unit
length, which moments do not tell, are worked on there too.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from dynlab.formulas import activations, expansions
from dynlab.machine import gpu, rng
from dynlab.machine.gpu import cuda
from dynlab.samples import gradient, objective, one_sample
from dynlab.samples.kernels import BLOCKS, CARRIERS, CONTENT_STEP, CUTS, DRAW_STEP, HALF, KEY_0, KEY_1, KIND, PATCHES
from dynlab.settings.activation_records import BUILT_IN
from dynlab.tools.checks import SettingError

MOST_NEURONS = 8
BLOCK = 16 if gpu.SIMULATED else 128
MOMENT_CHUNKS = 256
THREADS = 1 << 16  # that noise_sums should have, if the batch has so many samples to share out
VIEW, CARRIES = 1, 2  # bits of what is kept of a patch
float64, int64 = np.float64, np.int64

_draws = gpu.compile_module(rng)
gpu.compile_module(expansions)
gpu.compile_module(activations)
_content = gpu.compile_module(one_sample)
_philox, _normal_pair, _normal_pair_32 = _draws.philox, _draws.normal_pair, _draws.normal_pair_32
_draw_content, _draw_views, _phi, _slope = _content.draw_content, _content.draw_views, _content.phi, _content.slope


def _contents(numbers, order, carries, view, feature, sign):
    """Fill carries, view (n, P), feature (n,), sign (n,) of the samples called `order` (n,)."""
    s = cuda.grid(1)
    if s < len(order):
        k0, k1, sample = numbers[KEY_0], numbers[KEY_1], order[s]
        _draw_views(numbers[HALF] == 1, numbers[PATCHES], sample, numbers[DRAW_STEP], k0, k1, view[s])
        feature[s], sign[s] = _draw_content(
            numbers[CUTS:], numbers[PATCHES], numbers[CARRIERS], sample, numbers[CONTENT_STEP], k0, k1, carries[s]
        )


def _outputs(numbers, first, carries, view, u, z):
    """z (n, C) from u (n, P, rows): noise patches one after another, then those of the feature, as the CPU adds them."""
    s = cuda.grid(1)
    if s < len(z):
        kind = numbers[KIND]
        for v in range(2):
            column = 0 if v == 0 else first[0, 1]
            for j in range(first[v, 1]):
                total = 0.0
                shown = 0
                response = 0.0
                for p in range(numbers[PATCHES]):
                    if view[s, p] == v:
                        value = _phi(kind, u[s, p, j])
                        if carries[s, p] == 1:
                            shown += 1
                            response = value
                        else:
                            total += value
                z[s, column + j] = total + shown * response


def _column_sums(z, chunks, sums):
    """sums (chunks, C) of the columns of z (n, C)."""
    t = cuda.grid(1)
    n, columns = z.shape
    if t < chunks * columns:
        chunk, c = t // columns, t % columns
        total = 0.0
        for s in range(n * chunk // chunks, n * (chunk + 1) // chunks):
            total += z[s, c]
        sums[chunk, c] = total


def _product_sums(z, mean, chunks, sums):
    """sums (chunks, C, C) of products of the columns of z (n, C) without their means."""
    t = cuda.grid(1)
    n, columns = z.shape
    if t < chunks * columns * columns:
        chunk, a, b = t // (columns * columns), t // columns % columns, t % columns
        total = 0.0
        for s in range(n * chunk // chunks, n * (chunk + 1) // chunks):
            total += (z[s, a] - mean[a]) * (z[s, b] - mean[b])
        sums[chunk, a, b] = total


def _output_slopes(const, linear, mean, z, d_z):
    """d_z (n, C) = [const + linear (z - mean)]/n."""
    t = cuda.grid(1)
    n, columns = z.shape
    if t < n * columns:
        s, c = t // columns, t % columns
        total = 0.0
        for k in range(columns):
            total += linear[c, k] * (z[s, k] - mean[k])
        d_z[s, c] = (const[c] + total) / n


def _slopes(numbers, strengths, first, trains, carries, view, feature, sign, d_z, u, own):
    """u becomes dL/dz phi'(u), for views that train; own (n, m): the sample's dL/dA_jl of the feature l it shows."""
    s = cuda.grid(1)
    if s < len(d_z):
        kind, m = numbers[KIND], own.shape[1]
        for j in range(m):
            total = 0.0
            for v in range(2):
                if trains[v] == 1:
                    column = 0 if v == 0 else first[0, 1]
                    shown = 0
                    steep = 0.0
                    for p in range(numbers[PATCHES]):
                        if view[s, p] == v:
                            value = _slope(kind, u[s, p, j])
                            u[s, p, j] = d_z[s, column + j] * value
                            if carries[s, p] == 1:
                                shown += 1
                                steep = value
                    total += d_z[s, column + j] * (shown * sign[s] * strengths[feature[s]] * steep)
            own[s, j] = total


def _signal_sums(own, feature, chunks, sums):
    """sums (chunks, m, K): dL/dA_jl of the chunk's samples."""
    t = cuda.grid(1)
    m, features = sums.shape[1], sums.shape[2]
    if t < chunks * m * features:
        chunk, j, l = t // (m * features), t // features % m, t % features
        n = len(own)
        total = 0.0
        for s in range(n * chunk // chunks, n * (chunk + 1) // chunks):
            if feature[s] == l:
                total += own[s, j]
        sums[chunk, j, l] = total


def _fold(parts, total):
    """total (k,) = the sum of parts (chunks, k), in the order of the chunks."""
    i = cuda.grid(1)
    if i < len(total):
        value = 0.0
        for chunk in range(len(parts)):
            value += parts[chunk, i]
        total[i] = value


def _fill(numbers, order, out):
    """out (n, P, 2 or 4 times blocks): the normals of every patch, where the CPU has them."""
    t = cuda.grid(1)
    patches, blocks = numbers[PATCHES], numbers[BLOCKS]
    if t < len(order) * patches * blocks:
        i, p, s = t % blocks, t // blocks % patches, t // blocks // patches
        a, b, c, d = _philox(i, p, order[s], numbers[CONTENT_STEP], numbers[KEY_0], numbers[KEY_1])
        if out.itemsize == 4:
            out[s, p, i], out[s, p, blocks + i] = _normal_pair_32(a, b)
            out[s, p, 2 * blocks + i], out[s, p, 3 * blocks + i] = _normal_pair_32(c, d)
        else:
            out[s, p, i], out[s, p, blocks + i] = _normal_pair(a, b, c, d)


def _make_responses(count, single):
    """The kernel for so many rows of the weights that look at a view, in single or double precision."""
    real = np.float32 if single else np.float64

    def responses(numbers, sigma, strengths, rows, signals, first, order, carries, view, feature, sign, u):
        """Fill u (n, P, R): <w_j, X_p>. rows (R, W), signals (R, K) of all weights."""
        t = cuda.grid(1)
        patches, blocks = numbers[PATCHES], numbers[BLOCKS]
        if t < len(order) * patches:
            s, p = t // patches, t % patches
            v = view[s, p]
            low = first[v, 0]
            if carries[s, p] == 1:
                for j in range(count):
                    u[s, p, j] = sign[s] * strengths[feature[s]] * signals[low + j, feature[s]]
            else:
                total = cuda.local.array(count, real)
                for j in range(count):
                    total[j] = real(0.0)
                k0, k1, step, sample = numbers[KEY_0], numbers[KEY_1], numbers[CONTENT_STEP], order[s]
                for i in range(blocks):
                    a, b, c, d = _philox(i, p, sample, step, k0, k1)
                    if single:
                        w, x = _normal_pair_32(a, b)
                        y, z = _normal_pair_32(c, d)
                        for j in range(count):
                            row = rows[low + j]
                            total[j] += row[i] * w + row[blocks + i] * x + row[2 * blocks + i] * y + row[3 * blocks + i] * z
                    else:
                        w, x = _normal_pair(a, b, c, d)
                        for j in range(count):
                            total[j] += rows[low + j, i] * w + rows[low + j, blocks + i] * x
                for j in range(count):
                    u[s, p, j] = sigma * total[j]

    return responses


def _make_noise_sums(neurons, single):
    """The kernel for so many neurons, in single or double precision."""
    real, per_block = (np.float32, 4) if single else (np.float64, 2)
    room = neurons * per_block

    def noise_sums(numbers, order, trains, carries, view, u, chunks, parts):
        """parts (chunks, m W): sum over the chunk's samples and noise patches of u_j X_p, still without sigma."""
        t = cuda.grid(1)
        patches, blocks = numbers[PATCHES], numbers[BLOCKS]
        if t < chunks * blocks:
            chunk, i = t // blocks, t % blocks
            total = cuda.local.array(room, real)
            for j in range(room):
                total[j] = real(0.0)
            k0, k1, step = numbers[KEY_0], numbers[KEY_1], numbers[CONTENT_STEP]
            n = len(order)
            for s in range(n * chunk // chunks, n * (chunk + 1) // chunks):
                for p in range(patches):
                    if carries[s, p] == 0 and trains[view[s, p]] == 1:
                        a, b, c, d = _philox(i, p, order[s], step, k0, k1)
                        if single:
                            w, x = _normal_pair_32(a, b)
                            y, z = _normal_pair_32(c, d)
                            for j in range(neurons):
                                weight = real(u[s, p, j])
                                total[4 * j] += weight * w
                                total[4 * j + 1] += weight * x
                                total[4 * j + 2] += weight * y
                                total[4 * j + 3] += weight * z
                        else:
                            w, x = _normal_pair(a, b, c, d)
                            for j in range(neurons):
                                total[2 * j] += u[s, p, j] * w
                                total[2 * j + 1] += u[s, p, j] * x
            width = parts.shape[1] // neurons
            for j in range(neurons):
                for k in range(per_block):
                    parts[chunk, j * width + k * blocks + i] = total[per_block * j + k]

    return noise_sums


_kernel = gpu.kernel()
contents, outputs, column_sums, product_sums = (_kernel(f) for f in (_contents, _outputs, _column_sums, _product_sums))
output_slopes, slopes, signal_sums, fold, fill = (_kernel(f) for f in (_output_slopes, _slopes, _signal_sums, _fold, _fill))


@cache
def responses(count: int, single: bool):
    """The compiled kernel: see `_make_responses`."""
    return _kernel(_make_responses(count, single))


@cache
def noise_sums(neurons: int, single: bool):
    """The compiled kernel: see `_make_noise_sums`."""
    return _kernel(_make_noise_sums(neurons, single))


def missing(model) -> str | None:
    """What keeps minibatches of a model from running on a device, in words; None where nothing does."""
    if model.activation not in BUILT_IN:
        return f"kernels of the device are for {', '.join(BUILT_IN)}, not for {model.activation}"
    if model.layered:
        return "minibatch kernels are for neurons without hidden units"
    return None if model.neurons <= MOST_NEURONS else f"minibatch kernels are for up to {MOST_NEURONS} neurons"


class DeviceMinibatch(gradient.Minibatch):
    """`Minibatch` on a CUDA device: arguments and, to rounding, results as there; threads, passes and tile mean nothing."""

    def __init__(self, model, training, dim, batch, source, precision="float64", *_):
        super().__init__(model, training, dim, batch, source, precision, 1)
        if missing(model) is not None:
            raise SettingError("device", "cuda", f"cpu here: {missing(model)}")
        m, p, columns = model.neurons, model.patches, self.layout.columns
        self.single = precision == "float32"
        self.chunks = min(batch, max(MOMENT_CHUNKS // 2, THREADS // self.blocks))
        self.moment_chunks = min(batch, MOMENT_CHUNKS)
        self.strengths, self.first, self.trains = (
            cuda.to_device(np.ascontiguousarray(part))
            for part in (np.array(model.strengths), self.layout.first, self.layout.trains)
        )
        per_view = int(self.layout.first[:, 1].max())
        self.content = tuple(cuda.device_array(shape, dtype) for shape, dtype in (
            ((batch, p), np.int8), ((batch, p), np.int8), (batch, np.int64), (batch, np.float64)))  # fmt: skip
        shapes = (
            (batch, p, per_view), (batch, columns), (batch, columns), (batch, m), (self.chunks, m * self.width),
            (self.chunks, m, model.features), (m * self.width,), (m * model.features,), (self.moment_chunks, columns),
            (self.moment_chunks, columns, columns),
        )  # fmt: skip
        (self.u, self.z, self.d_z, self.own, self.parts, self.signal_parts, self.noise_total, self.signal_total,
         self.mean_parts, self.product_parts) = (cuda.device_array(shape, np.float64) for shape in shapes)  # fmt: skip
        self.responses, self.noise_sums = responses(per_view, self.single), noise_sums(m, self.single)
        # The padding of a row is drawn but belongs to no axis.
        self.parts.copy_to_device(np.zeros(self.parts.shape))
        self._fresh = cuda.to_device(np.arange(batch)) if source.data is None else None
        self._kept = {}

    def _launch(self, kernel, threads, *arguments):
        kernel[gpu.blocks_for(threads, BLOCK), BLOCK](*arguments)

    def _sent(self, name, value):
        """A host array, on the device in memory that is kept from step to step."""
        value = np.ascontiguousarray(value)
        if name in self._kept:
            self._kept[name].copy_to_device(value)
        else:
            self._kept[name] = cuda.to_device(value)
        return self._kept[name]

    def _forward(self, step, weights, target):
        """Fill z on the device; what the backward pass needs of the step."""
        numbers = self._sent("numbers", self._numbers(step))
        order = self._fresh
        if order is None:
            order = self._sent("order", self.source.numbers(step, self.batch))
        rows, signals = self._rows(weights, target)
        rows, signals = self._sent("rows", rows), self._sent("signals", signals)
        self._launch(contents, self.batch, numbers, order, *self.content)
        self._launch(
            self.responses, self.batch * self.model.patches, numbers, float(self.model.noise), self.strengths,
            rows, signals, self.first, order, *self.content, self.u,
        )  # fmt: skip
        self._launch(outputs, self.batch, numbers, self.first, *self.content[:2], self.u, self.z)
        return numbers, order

    def _moments(self) -> objective.Moments:
        columns, chunks = self.layout.columns, self.moment_chunks
        self._launch(column_sums, chunks * columns, self.z, chunks, self.mean_parts)
        mean = _in_order(self.mean_parts.copy_to_host()) / self.batch
        sent = self._sent("mean", mean)
        self._launch(product_sums, chunks * columns**2, self.z, sent, chunks, self.product_parts)
        return objective.Moments(mean, _in_order(self.product_parts.copy_to_host()) / self.batch)

    def _gradient(self, step, weights, head, target, correlation, readouts=None):
        numbers, order = self._forward(step, weights, target)
        moments = self._moments()
        head, correlation = self._head(moments, head, correlation)
        loss, slope = objective.batch_loss(self.training, moments, self.layout, head)
        if self.training.normalisation == "length":
            z = self.z.copy_to_host()
            d_z = slope.of_outputs(z, moments)
            loss += objective.unit_length_slope(self.training, z, self.layout, head, d_z, slope.head)
            self.d_z.copy_to_device(d_z)
        else:
            line = self._sent("const", slope.const), self._sent("linear", slope.linear), self._sent("mean", moments.mean)
            self._launch(output_slopes, self.z.size, *line, self.z, self.d_z)
        d_weights = self._back(numbers, order)
        return self._finished(loss, d_weights, slope.head, weights, head, correlation, moments)

    def _back(self, numbers, order):
        """dL/dw (m, d) from d_z on the device."""
        m, k = self.model.neurons, self.model.features
        self._launch(slopes, self.batch, numbers, self.strengths, self.first, self.trains, *self.content, self.d_z, self.u,
                     self.own)  # fmt: skip
        self._launch(signal_sums, self.chunks * m * k, self.own, self.content[2], self.chunks, self.signal_parts)
        self._launch(self.noise_sums, self.chunks * self.blocks, numbers, order, self.trains, *self.content[:2], self.u,
                     self.chunks, self.parts)  # fmt: skip
        self._launch(fold, m * k, self.signal_parts.reshape(self.chunks, m * k), self.signal_total)
        self._launch(fold, m * self.width, self.parts, self.noise_total)
        noise = self.noise_total.copy_to_host().reshape(m, self.width)
        return self._joined(noise, self.signal_total.copy_to_host().reshape(m, k))

    def outputs(self, step: int, weights, target=None) -> np.ndarray:
        """The outputs z (batch, C) of the batch of a step."""
        self._forward(step, weights, weights if target is None else target)
        return self.z.copy_to_host()


def _in_order(parts):
    """The sum over the first axis, one after another."""
    total = np.zeros(parts.shape[1:])
    for part in parts:
        total += part
    return total


def _examples() -> dict:
    """Arguments of every kernel, two neurons of five samples, by name."""
    from dynlab.settings.model import Model
    from dynlab.settings.training import Training

    model, training = Model(), Training()
    work = gradient.Minibatch(model, training, 10, 5, gradient.Source(0))
    numbers, order = work._numbers(0), np.arange(5)
    first, trains = work.layout.first, work.layout.trains
    p, m, k, columns = model.patches, 2, 2, work.layout.columns
    strengths, rows = np.array(model.strengths), np.zeros((m, work.width))
    kept = np.zeros((5, p), np.int8), np.zeros((5, p), np.int8)
    content_of = *kept, np.zeros(5, np.int64), np.zeros(5)
    u, z, linear = np.zeros((5, p, m)), np.zeros((5, columns)), np.zeros((columns, columns))
    noise = np.zeros((3, m * work.width))
    seen = numbers, 0.5, strengths
    return {
        "contents": (numbers, order, *content_of), "outputs": (numbers, first, *kept, u, z),
        "column_sums": (z, 3, np.zeros((3, columns))),
        "product_sums": (z, z[0], 3, np.zeros((3, columns, columns))),
        "output_slopes": (z[0], linear, z[0], z, z),
        "slopes": (numbers, strengths, first, trains, *content_of, z, u, np.zeros((5, m))),
        "signal_sums": (np.zeros((5, m)), content_of[2], 3, np.zeros((3, m, k))), "fold": (noise, noise[0]),
        "fill": (numbers, order, np.zeros((5, p, 16))), "fill_single": (numbers, order, np.zeros((5, p, 64), np.float32)),
        "responses": (*seen, rows, np.zeros((m, k)), first, order, *content_of, u),
        "responses_single": (*seen, rows.astype(np.float32), np.zeros((m, k)), first, order, *content_of, u),
        "noise_sums": (numbers, order, trains, *kept, u, 3, noise),
        "noise_sums_single": (numbers, order, trains, *kept, u, 3, noise),
    }  # fmt: skip


def _registry() -> dict:
    made = {
        "contents": contents, "outputs": outputs, "column_sums": column_sums, "product_sums": product_sums,
        "output_slopes": output_slopes, "slopes": slopes, "signal_sums": signal_sums, "fold": fold, "fill": fill,
        "fill_single": fill, "responses": responses(2, False), "responses_single": responses(2, True),
        "noise_sums": noise_sums(2, False), "noise_sums_single": noise_sums(2, True),
    }  # fmt: skip
    return {name: (kernel, lambda name=name: _examples()[name]) for name, kernel in made.items()}


KERNELS = _registry()
