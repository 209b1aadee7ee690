"""One int8 code against four others at a time, for compiled loops.

Where the processor multiplies bytes in groups (AVX-512 VNNI), one instruction adds 64 products
of unsigned and signed bytes to 16 sums, exactly. Compilers do not find it in a loop over
signed bytes, so it is written out here; elsewhere a plain loop takes its place.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

#: Codes that are compared at a time, and the bytes that one instruction takes of each.
AT_ONCE, STEP = 4, 64
_INT, _FLOAT = ir.IntType(32), ir.FloatType()
_SUMS, _BYTES = ir.VectorType(_INT, STEP // 4), ir.VectorType(ir.IntType(8), STEP)
_FOUR, _FOUR_FLOATS = ir.VectorType(_INT, AT_ONCE), ir.VectorType(_FLOAT, AT_ONCE)
#: Of two vectors of sums, of each four: halves by turns, one at a time or two.
_BY_ONE = [at + side for at in range(0, 16, 4) for side in (0, 16, 1, 17)]
_BY_TWO = [at + side for at in range(0, 16, 4) for side in (0, 1, 16, 17)]


@cache
def grouped(width: int) -> bool:
    """Whether ``four_reach`` may be used for codes of a width on this machine."""
    # Told to compile for another processor, numba would not know the instruction.
    told = getattr(config, "CPU_NAME", None), getattr(config, "CPU_FEATURES", None)
    able = told == (None, None) and binding.get_host_cpu_features().get("avx512vnni", False)
    return bool(able) and width % STEP == 0


@intrinsic
def four_reach(
    typing: Any,  # noqa: ANN401, ARG001
    left: Any,  # noqa: ANN401, ARG001
    right: Any,  # noqa: ANN401, ARG001
    width: Any,  # noqa: ANN401, ARG001
    shift: Any,  # noqa: ANN401, ARG001
    low: Any,  # noqa: ANN401, ARG001
    tails: Any,  # noqa: ANN401, ARG001
    scale: Any,  # noqa: ANN401, ARG001
    tail: Any,  # noqa: ANN401, ARG001
) -> Any:  # noqa: ANN401
    """Which of four codes come close to another, as the four lowest bits.

    Called in compiled code as ``four_reach(left, right, width, shift, low, tails, scale, tail)``:
    addresses of an int8 code, of the first of four that lie one behind the other, the bytes of
    each (a multiple of ``STEP``), addresses of four int32 and twice of four float32, and two
    float32. A bit is set where
    (sum of (left + 128) * right - shift) * scale + tails * tail >= low.
    """
    signature = types.int32(*[types.intp] * 6, types.float32, types.float32)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401, ARG001
        one, others, size, shifts, lows, more, factor, tail = arguments
        sums = _summed(builder, one, others, size)
        totals = builder.sub(sums, _loaded(builder, shifts, _FOUR))
        scaled = builder.fmul(builder.sitofp(totals, _FOUR_FLOATS), _spread(builder, factor))
        behind = builder.fmul(_loaded(builder, more, _FOUR_FLOATS), _spread(builder, tail))
        most = builder.fadd(scaled, behind)
        near = builder.fcmp_ordered(">=", most, _loaded(builder, lows, _FOUR_FLOATS))
        return builder.zext(builder.bitcast(near, ir.IntType(AT_ONCE)), _INT)

    return signature, generate


def _summed(builder: Any, one: Any, others: Any, size: Any) -> Any:  # noqa: ANN401
    """Instructions for the four sums of (left + 128) * right."""
    multiply = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(_SUMS, [_SUMS, _SUMS, _SUMS]),
        "llvm.x86.avx512.vpdpbusd.512",
    )
    sums = [cgutils.alloca_once_value(builder, ir.Constant(_SUMS, None)) for _ in range(AT_ONCE)]
    start, step = ir.Constant(size.type, 0), ir.Constant(size.type, STEP)
    with cgutils.for_range_slice(builder, start, size, step) as (at, _):
        signs = ir.Constant(_BYTES, [0x80] * STEP)
        left = builder.xor(_loaded(builder, builder.add(one, at), _BYTES), signs)
        place = builder.add(others, at)
        for total in sums:
            factors = builder.bitcast(left, _SUMS), _loaded(builder, place, _SUMS)
            builder.store(builder.call(multiply, [builder.load(total), *factors]), total)
            place = builder.add(place, size)
    parts = [builder.load(total) for total in sums]
    first, last = (_added(builder, parts[at], parts[at + 1], _BY_ONE) for at in (0, 2))
    lanes = _added(builder, first, last, _BY_TWO)
    total = None
    for lane in range(0, STEP // 4, AT_ONCE):
        four = _shuffled(builder, lanes, lanes, list(range(lane, lane + AT_ONCE)))
        total = four if total is None else builder.add(total, four)
    return total


def _added(builder: Any, left: Any, right: Any, turns: list[int]) -> Any:  # noqa: ANN401
    """The first halves of each four of two vectors, and their last, added up."""
    last = [at + 2 for at in turns]
    return builder.add(
        _shuffled(builder, left, right, turns), _shuffled(builder, left, right, last)
    )


def _shuffled(builder: Any, left: Any, right: Any, order: list[int]) -> Any:  # noqa: ANN401
    mask = ir.Constant(ir.VectorType(_INT, len(order)), order)
    return builder.shuffle_vector(left, right, mask)


def _spread(builder: Any, factor: Any) -> Any:  # noqa: ANN401
    lanes = ir.Constant(_FOUR_FLOATS, ir.Undefined)
    for lane in range(AT_ONCE):
        lanes = builder.insert_element(lanes, factor, ir.Constant(_INT, lane))
    return lanes


def _loaded(builder: Any, address: Any, kind: ir.VectorType) -> Any:  # noqa: ANN401
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = 1
    return value
