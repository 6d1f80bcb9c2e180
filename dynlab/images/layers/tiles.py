"""Inner loops of all products, written as LLVM vectors: small tiles of a result held in registers.

The compiler does not find these loops by itself: it keeps no two-dimensional tile of sums in registers. So each is spelt
out as code for vectors of the processor's width, HEIGHT rows by two vectors, with a fused multiply-add for each vector and
row. Addresses are integers (bytes). A sum runs over its terms in order, from first to last, for every entry of a tile alike;
how a result is cut into tiles changes no bit of it.
"""

from __future__ import annotations

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_features = llvm.get_host_cpu_features()
WIDE = bool(_features.get("avx512f"))
VECTOR_BYTES = 64 if WIDE else 32 if _features.get("avx") else 16
HEIGHT = 12 if WIDE else 6  # rows of a tile: with two vectors each, and operands, they fill 32 registers, or 16
SUM_HEIGHT = 8 if WIDE else 4
VECTORS = 2

_int = ir.IntType(64)


def panel(itemsize: int) -> int:
    """Columns of a tile for numbers of this size."""
    return VECTORS * VECTOR_BYTES // itemsize


class _Emitter:
    """Shorthand for loads, stores and multiply-adds of one type of number."""

    def __init__(self, context, builder, number):
        self.builder = builder
        self.bytes = number.bitwidth // 8
        self.scalar = context.get_value_type(number)
        self.lanes = VECTOR_BYTES // self.bytes
        self.vector = ir.VectorType(self.scalar, self.lanes)
        name = f"llvm.fma.v{self.lanes}f{number.bitwidth}"
        signature = ir.FunctionType(self.vector, [self.vector] * 3)
        self._fma = cgutils.get_or_insert_function(builder.module, signature, name)
        self.zero = ir.Constant(self.vector, [0.0] * self.lanes)

    def _pointer(self, address, kind):
        return self.builder.inttoptr(address, ir.PointerType(kind))

    def load(self, address, kind):
        return self.builder.load(self._pointer(address, kind), align=self.bytes if kind != _int else 8)

    def store(self, value, address):
        self.builder.store(value, self._pointer(address, value.type), align=self.bytes)

    def add(self, address, offset):
        return self.builder.add(address, ir.Constant(_int, offset) if isinstance(offset, int) else offset)

    def spread(self, address):
        """A vector of one number, `lanes` times."""
        one = self.builder.insert_element(
            ir.Constant(self.vector, ir.Undefined), self.load(address, self.scalar), ir.Constant(ir.IntType(32), 0)
        )
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(one, ir.Constant(self.vector, ir.Undefined), mask)

    def multiply_add(self, a, b, slot):
        self.builder.store(self.builder.call(self._fma, [a, b, self.builder.load(slot)]), slot)

    def slots(self, height):
        """Places for a tile of sums; the compiler turns them into registers."""
        return [[cgutils.alloca_once(self.builder, self.vector) for _ in range(VECTORS)] for _ in range(height)]

    def columns(self, address):
        """The two vectors that stand at an address."""
        step = self.lanes * self.bytes
        return [self.load(self.add(address, v * step), self.vector) for v in range(VECTORS)]


def _gather(height):
    @intrinsic
    def tile(typingctx, number, table, tap_step, taps, count, weights, targets, shift):
        """Entry (i, j) of the tile = sum over taps t and k < count of source_ti[k] weights[t * count + k, j].

        table: address of the addresses source_ti, `height` side by side and tap_step bytes from tap to tap; weights: of
        (taps * count, panel) numbers. The tile's row i goes to
        targets[i] + shift, targets being the address of height addresses. number: any of the type.
        """

        def generate(context, builder, signature, arguments):
            _, table, tap_step, taps, count, weights, targets, shift = arguments
            e = _Emitter(context, builder, signature.args[0])
            sums = e.slots(height)
            for row in sums:
                for slot in row:
                    builder.store(e.zero, slot)
            row_bytes = ir.Constant(_int, VECTORS * e.lanes * e.bytes)
            with cgutils.for_range(builder, taps) as tap:
                first = builder.add(table, builder.mul(tap.index, tap_step))
                sources = [e.load(e.add(first, 8 * i), _int) for i in range(height)]
                start = builder.add(weights, builder.mul(builder.mul(tap.index, count), row_bytes))
                with cgutils.for_range(builder, count) as term:
                    columns = e.columns(builder.add(start, builder.mul(term.index, row_bytes)))
                    offset = builder.mul(term.index, ir.Constant(_int, e.bytes))
                    for i in range(height):
                        one = e.spread(builder.add(sources[i], offset))
                        for v in range(VECTORS):
                            e.multiply_add(one, columns[v], sums[i][v])
            for i in range(height):
                target = builder.add(e.load(e.add(targets, 8 * i), _int), shift)
                for v in range(VECTORS):
                    e.store(builder.load(sums[i][v]), e.add(target, v * e.lanes * e.bytes))
            return context.get_dummy_value()

        return types.void(number, *[types.int64] * 7), generate

    return tile


def _accumulate(height):
    @intrinsic
    def tile(typingctx, number, table, offset, rows, right, right_step, target, target_step):
        """target[i, j] += sum over rows r of source_r[i] right[r, j], i < height, j < panel.

        table: address of the rows' addresses, to each of which `offset` is added; right and target: addresses of the first
        entry, and bytes from one row to the next.
        """

        def generate(context, builder, signature, arguments):
            _, table, offset, rows, right, right_step, target, target_step = arguments
            e = _Emitter(context, builder, signature.args[0])
            sums = e.slots(height)
            places = [builder.add(target, builder.mul(target_step, ir.Constant(_int, i))) for i in range(height)]
            for i in range(height):
                for value, slot in zip(e.columns(places[i]), sums[i], strict=True):
                    builder.store(value, slot)
            with cgutils.for_range(builder, rows) as row:
                source = e.load(builder.add(table, builder.mul(row.index, ir.Constant(_int, 8))), _int)
                source = builder.add(source, offset)
                columns = e.columns(builder.add(right, builder.mul(row.index, right_step)))
                for i in range(height):
                    one = e.spread(e.add(source, i * e.bytes))
                    for v in range(VECTORS):
                        e.multiply_add(one, columns[v], sums[i][v])
            for i in range(height):
                for v in range(VECTORS):
                    e.store(builder.load(sums[i][v]), e.add(places[i], v * e.lanes * e.bytes))
            return context.get_dummy_value()

        return types.void(number, *[types.int64] * 7), generate

    return tile


gather = _gather(HEIGHT)
accumulate = {height: _accumulate(height) for height in range(1, SUM_HEIGHT + 2)}
