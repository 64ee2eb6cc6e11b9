"""Sums and inner products of rows that a list names, in vectors that stay in registers.

Loops over arrays give the same numbers. For rows of some tens of elements LLVM's vectoriser spends more on tests for
overlap and on remainders than on the sums; here rows are whole vectors of :data:`BYTES`, which a processor with
narrower ones takes in parts. Matrices come flat, row by row, C-contiguous; lists are ``int32``. Nothing is checked.
"""
# mypy: disallow-untyped-defs=False, disallow-untyped-calls=False

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

BYTES = 64
_MOST = 4  # vectors with a sum of their own: enough to hide how long an addition takes


def fits(num: int, itemsize: int) -> bool:
    """Whether rows of so many elements are whole vectors."""
    return num % (BYTES // itemsize) == 0


@intrinsic
def sum_listed(typing, out, at, rows, listed, count, num):
    """``out[at:at + num]``: the sum of the first ``count`` of the listed rows, each of ``num`` elements."""

    def generate(context, builder, signature, arguments):
        out, at, rows, listed, count, num = _readers(context, builder, signature, arguments)

        def columns(column, width):
            even, odd = ([_variable(builder, rows.zero) for _ in range(width)] for _ in range(2))

            def add(sums, k):
                start = builder.add(builder.mul(listed.number(k), num), column)
                for j, total in enumerate(sums):
                    builder.store(builder.fadd(builder.load(total), rows.load(start, j)), total)

            none, one, two = (ir.Constant(count.type, value) for value in (0, 1, 2))
            whole = builder.and_(count, ir.Constant(count.type, -2))
            with cgutils.for_range_slice(builder, none, whole, two) as (k, _):
                add(even, k)
                add(odd, builder.add(k, one))
            with cgutils.for_range_slice(builder, whole, count, one) as (k, _):
                add(even, k)
            for j, (left, right) in enumerate(zip(even, odd, strict=True)):
                out.store(builder.fadd(builder.load(left), builder.load(right)), builder.add(at, column), j)

        _by_columns(builder, num, rows.lanes, columns)
        return context.get_dummy_value()

    return types.void(out, at, rows, listed, count, num), generate


@intrinsic
def add_to_listed(typing, rows, listed, count, values, at, num):
    """Add ``values[at:at + num]`` to the first ``count`` of the listed rows."""

    def generate(context, builder, signature, arguments):
        rows, listed, count, values, at, num = _readers(context, builder, signature, arguments)

        def columns(column, width):
            added = [values.load(builder.add(at, column), j) for j in range(width)]
            with cgutils.for_range(builder, count) as loop:
                start = builder.add(builder.mul(listed.number(loop.index), num), column)
                for j, value in enumerate(added):
                    rows.store(builder.fadd(rows.load(start, j), value), start, j)

        _by_columns(builder, num, rows.lanes, columns)
        return context.get_dummy_value()

    return types.void(rows, listed, count, values, at, num), generate


@intrinsic
def dot_pairs(typing, left, one, other, left_starts, right, right_starts, shift, begin, end, num):
    """Two sums over k, from ``begin`` to before ``end``, of inner products of ``num`` elements: those of ``left`` from
    ``one + left_starts[k]`` on, or ``other + left_starts[k]``, and those of ``right`` from ``right_starts[k] + shift``.
    """

    def generate(context, builder, signature, arguments):
        readers = _readers(context, builder, signature, arguments)
        left, one, other, left_starts, right, right_starts, shift, begin, end, num = readers
        sums = [[_variable(builder, left.zero) for _ in range(_MOST)] for _ in range(2)]
        with cgutils.for_range_slice(builder, begin, end, ir.Constant(begin.type, 1)) as (k, _):
            start, along = left_starts.number(k), builder.add(right_starts.number(k), shift)
            starts = [builder.add(start, row) for row in (one, other)]

            def columns(column, width):
                for j in range(width):
                    factor = right.load(builder.add(along, column), j)
                    for at, totals in zip(starts, sums, strict=True):
                        product = builder.fmul(left.load(builder.add(at, column), j), factor, flags=("contract",))
                        total = builder.fadd(builder.load(totals[j]), product, flags=("contract",))
                        builder.store(total, totals[j])

            _by_columns(builder, num, left.lanes, columns)
        results = []
        for totals in sums:
            a, b, c, d = (builder.load(total) for total in totals)
            results.append(left.reduce(builder.fadd(builder.fadd(a, b), builder.fadd(c, d))))
        return context.make_tuple(builder, signature.return_type, results)

    returned = types.UniTuple(left.dtype, 2)  # type: ignore[attr-defined]
    return returned(left, one, other, left_starts, right, right_starts, shift, begin, end, num), generate


@intrinsic
def bits_above(typing, left, right, at):
    """Which of the 64 elements from ``at`` on are larger in ``left`` than in ``right``, as the bits of a number."""

    def generate(context, builder, signature, arguments):
        left, right, at = _readers(context, builder, signature, arguments)
        word = ir.IntType(64)
        bits = ir.Constant(word, 0)
        for j in range(64 // left.lanes):
            is_above = builder.fcmp_ordered(">", left.load(at, j), right.load(at, j))
            part = builder.zext(builder.bitcast(is_above, ir.IntType(left.lanes)), word)
            bits = builder.or_(bits, builder.shl(part, ir.Constant(word, j * left.lanes)))
        return bits

    return types.uint64(left, right, at), generate


@intrinsic
def count_bits(typing, bits):
    """How many bits are one."""
    return types.int64(types.uint64), lambda context, builder, signature, arguments: builder.ctpop(arguments[0])


@intrinsic
def lowest_bit(typing, bits):
    """The position of the lowest bit that is one; there must be one."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


class _Array:
    """An array's memory, by vectors or by single integers."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        self.builder = builder
        self.data = context.make_array(kind)(context, builder, value).data
        self.scalar = context.get_value_type(kind.dtype)
        self.itemsize = kind.dtype.bitwidth // 8
        self.lanes = BYTES // self.itemsize
        self.vector = ir.VectorType(self.scalar, self.lanes)

    @property
    def zero(self) -> Any:
        return ir.Constant(self.vector, [0.0] * self.lanes)

    def number(self, position: Any) -> Any:
        return self.builder.sext(self.builder.load(self.builder.gep(self.data, [position])), ir.IntType(64))

    def load(self, start: Any, number: int) -> Any:
        return self.builder.load(self._at(start, number), align=self.itemsize)

    def store(self, value: Any, start: Any, number: int) -> None:
        self.builder.store(value, self._at(start, number), align=self.itemsize)

    def reduce(self, vector: Any) -> Any:
        """The sum of a vector's elements, halves first."""
        width = self.lanes
        while width > 1:
            width //= 2
            low, high = (
                ir.Constant(ir.VectorType(ir.IntType(32), width), list(range(i, i + width))) for i in (0, width)
            )
            undefined = ir.Constant(vector.type, ir.Undefined)
            vector = self.builder.fadd(
                self.builder.shuffle_vector(vector, undefined, low),
                self.builder.shuffle_vector(vector, undefined, high),
            )
        return self.builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))

    def _at(self, start: Any, number: int) -> Any:
        position = self.builder.add(start, ir.Constant(start.type, number * self.lanes))
        return self.builder.bitcast(self.builder.gep(self.data, [position]), self.vector.as_pointer())


def _readers(context: Any, builder: Any, signature: Any, arguments: Any) -> list[Any]:
    """The arguments, arrays as :class:`_Array`, integers as 64 bits."""
    readers = []
    for kind, value in zip(signature.args, arguments, strict=True):
        is_array = isinstance(kind, types.Array)
        readers.append(
            _Array(context, builder, kind, value) if is_array else context.cast(builder, value, kind, types.int64)
        )
    return readers


def _variable(builder: Any, value: Any) -> Any:
    """A variable that is a register once LLVM is done."""
    variable = cgutils.alloca_once(builder, value.type)
    builder.store(value, variable)
    return variable


def _by_columns(builder: Any, num: Any, lanes: int, columns: Any) -> None:
    """Call ``columns(column, width)`` for all of them: as many vectors at once as there are sums, then fewer."""
    first = ir.Constant(num.type, 0)
    for width in (_MOST, _MOST // 2, 1):
        step = ir.Constant(num.type, width * lanes)
        last = builder.mul(builder.sdiv(num, step), step)
        with cgutils.for_range_slice(builder, first, last, step) as (column, _):
            columns(column, width)
        first = last
