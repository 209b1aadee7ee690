"""One int8 code against sixteen others at a time, for compiled loops.

Where the processor multiplies bytes in groups (AVX-512 VNNI), one instruction adds 64 products
of unsigned and signed bytes to 16 sums, exactly. Compilers do not find it in a loop over
signed bytes, so it is written out here; elsewhere a plain loop takes its place.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from dedup.cells.codes import Bytes

#: Codes that are compared at a time, and the bytes that are taken of each in one turn.
AT_ONCE, STEP = 16, 64
#: Bytes of a code that one sum takes at a time, and sums that do not wait for each other.
_WORD, _SUMS = 4, 4
_INT, _FLOAT = ir.IntType(32), ir.FloatType()
_INTS, _FLOATS = ir.VectorType(_INT, AT_ONCE), ir.VectorType(_FLOAT, AT_ONCE)


@cache
def grouped(width: int) -> bool:
    """Whether ``sixteen_reach`` may be used for codes of a width on this machine."""
    # Told to compile for another processor, numba would not know the instruction.
    told = getattr(config, "CPU_NAME", None), getattr(config, "CPU_FEATURES", None)
    able = told == (None, None) and binding.get_host_cpu_features().get("avx512vnni", False)
    return bool(able) and width % STEP == 0


def packed(codes: Bytes) -> Bytes:
    """Codes as ``sixteen_reach`` takes them: four bytes of each of sixteen, then the next four.

    Args:
        codes: int8 (n, w), n a multiple of ``AT_ONCE`` and w one of ``STEP``.
    """
    count, width = codes.shape
    blocks = codes.reshape(count // AT_ONCE, AT_ONCE, width // _WORD, _WORD)
    return np.ascontiguousarray(blocks.transpose(0, 2, 1, 3)).reshape(count, width)


@intrinsic
def sixteen_reach(
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
    """Which of sixteen codes come close to another, as the sixteen lowest bits.

    Called in compiled code as
    ``sixteen_reach(left, right, width, shift, low, tails, scale, tail)``: addresses of an int8
    code and of sixteen that are ``packed``, the bytes of each (a multiple of ``STEP``),
    addresses of sixteen int32 and twice of sixteen float32, and two float32. A bit is set where
    (sum of (left + 128) * right - shift) * scale + tails * tail >= low.
    """
    signature = types.int32(*[types.intp] * 6, types.float32, types.float32)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ANN401, ARG001
        one, others, size, shifts, lows, more, factor, tail = arguments
        sums = _summed(builder, one, others, size)
        totals = builder.sub(sums, _loaded(builder, shifts, _INTS))
        scaled = builder.fmul(builder.sitofp(totals, _FLOATS), _spread(builder, factor, _FLOATS))
        behind = builder.fmul(_loaded(builder, more, _FLOATS), _spread(builder, tail, _FLOATS))
        most = builder.fadd(scaled, behind)
        near = builder.fcmp_ordered(">=", most, _loaded(builder, lows, _FLOATS))
        return builder.zext(builder.bitcast(near, ir.IntType(AT_ONCE)), _INT)

    return signature, generate


def _summed(builder: Any, one: Any, others: Any, size: Any) -> Any:  # noqa: ANN401
    """Instructions for the sixteen sums of (left + 128) * right."""
    multiply = cgutils.get_or_insert_function(
        builder.module,
        ir.FunctionType(_INTS, [_INTS, _INTS, _INTS]),
        "llvm.x86.avx512.vpdpbusd.512",
    )
    sums = [cgutils.alloca_once_value(builder, ir.Constant(_INTS, None)) for _ in range(_SUMS)]
    start, step = ir.Constant(size.type, 0), ir.Constant(size.type, _WORD * _SUMS)
    with cgutils.for_range_slice(builder, start, size, step) as (at, _):
        for number, total in enumerate(sums):
            word = builder.add(at, ir.Constant(size.type, _WORD * number))
            four = _loaded(builder, builder.add(one, word), _INT)
            unsigned = builder.xor(four, ir.Constant(_INT, 0x80808080))
            place = builder.add(others, builder.mul(word, ir.Constant(size.type, AT_ONCE)))
            factors = _spread(builder, unsigned, _INTS), _loaded(builder, place, _INTS)
            builder.store(builder.call(multiply, [builder.load(total), *factors]), total)
    first, *rest = [builder.load(total) for total in sums]
    for each in rest:
        first = builder.add(first, each)
    return first


def _spread(builder: Any, value: Any, kind: ir.VectorType) -> Any:  # noqa: ANN401
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), value, ir.Constant(_INT, 0))
    lanes = ir.Constant(ir.VectorType(_INT, AT_ONCE), None)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), lanes)


def _loaded(builder: Any, address: Any, kind: ir.Type) -> Any:  # noqa: ANN401
    value = builder.load(builder.inttoptr(address, kind.as_pointer()))
    value.align = 1
    return value
