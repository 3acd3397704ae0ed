"""Operations on lane values beside arithmetic: roots, selections, conversions, bit patterns, the sum over lanes."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mdgen.simd.lanes import ESTIMATE_FLAGS, FLAGS, LANES, Lanes, as_lanes, element_type, splat, vector_type

_INTEGER_OF = {types.float32: types.int32, types.float64: types.int64, types.uint32: types.int32}


def _call(builder: ir.IRBuilder, name: str, result: ir.Type, args: Any, flags: tuple[str, ...]) -> ir.Value:
    suffix = {ir.FloatType(): "f32", ir.DoubleType(): "f64"}[args[-1].type.element]
    kind = ir.FunctionType(result, [arg.type for arg in args])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}{suffix}")
    return builder.call(function, args, fastmath=flags)


def _unary(name: str) -> Any:
    def declare(typingctx: Any, a: Any) -> Any:
        return a(a), lambda context, builder, sig, args: _call(builder, name, args[0].type, args, FLAGS)

    declare.__name__ = name
    declare.__doc__ = f"LLVM's `{name}` of each lane."
    return intrinsic(declare)


absolute = _unary("fabs")
round_to_even = _unary("rint")
square_root = _unary("sqrt")
library_exp2 = _unary("exp2")
library_log = _unary("log")
library_sin = _unary("sin")
library_cos = _unary("cos")
library_acos = _unary("acos")


@intrinsic
def reciprocal_root(typingctx: Any, a: Any) -> Any:
    """`1 / sqrt(a)`: in single precision an estimate with one Newton step, good to two units of rounding."""

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        root = _call(builder, "sqrt", args[0].type, args, ESTIMATE_FLAGS)
        one = splat(builder, ir.Constant(element_type(a.dtype), 1.0))
        return builder.fdiv(one, root, flags=ESTIMATE_FLAGS)

    return a(a), lower


def _select(comparison: str, *kinds: types.Type) -> Any:
    """The last but one argument in the lanes where the first two compare so, else the last."""
    lanes = next(kind for kind in kinds if isinstance(kind, Lanes))

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        values = [as_lanes(context, builder, arg, k, lanes.dtype) for arg, k in zip(args, sig.args, strict=True)]
        return builder.select(builder.fcmp_ordered(comparison, values[0], values[1]), values[-2], values[-1])

    return lanes(*kinds), lower


@intrinsic
def minimum(typingctx: Any, a: Any, b: Any) -> Any:
    """The smaller of two lane values, or of a lane value and a number; `b` where `a` is NaN."""
    return _select("<", a, b)


@intrinsic
def maximum(typingctx: Any, a: Any, b: Any) -> Any:
    """The larger of two lane values, or of a lane value and a number; `b` where `a` is NaN."""
    return _select(">", a, b)


@intrinsic
def select_less(typingctx: Any, a: Any, b: Any, when_true: Any, otherwise: Any) -> Any:
    """`when_true` in the lanes where `a < b`, else `otherwise`."""
    return _select("<", a, b, when_true, otherwise)


@intrinsic
def polynomial(typingctx: Any, x: Any, coefficients: Any) -> Any:
    """A polynomial of a lane value by Horner's rule; the tuple of its coefficients begins with the highest power."""

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        numbers = cgutils.unpack_tuple(builder, args[1])
        value, *rest = (as_lanes(context, builder, number, coefficients.dtype, x.dtype) for number in numbers)
        for number in rest:
            value = builder.fadd(builder.fmul(value, args[0], flags=FLAGS), number, flags=FLAGS)
        return value

    return x(x, coefficients), lower


@intrinsic
def bits(typingctx: Any, a: Any) -> Any:
    """The bit pattern of floating-point or unsigned lanes as signed integers of the same width."""
    integer = _INTEGER_OF[a.dtype]
    return Lanes(integer)(a), lambda context, builder, sig, args: builder.bitcast(args[0], vector_type(integer))


@intrinsic
def from_bits(typingctx: Any, pattern: Any, like: Any) -> Any:
    """Integer lanes read as the bit patterns of floating-point lanes of `like`'s type."""
    return like(pattern, like), lambda context, builder, sig, args: builder.bitcast(args[0], vector_type(like.dtype))


@intrinsic
def converted(typingctx: Any, a: Any, like: Any) -> Any:
    """Lanes converted by value, toward zero, to the lane type of `like`."""
    source, target = a.dtype, like.dtype

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        vector = vector_type(target)
        if isinstance(source, types.Float):
            return builder.fptosi(args[0], vector)
        if isinstance(target, types.Float):
            return builder.sitofp(args[0], vector) if source.signed else builder.uitofp(args[0], vector)
        return args[0] if source.bitwidth == target.bitwidth else builder.sext(args[0], vector)

    return like(a, like), lower


def _set_bits(context: Any, builder: ir.IRBuilder, mask: ir.Value, kind: types.Type) -> ir.Value:
    bits = context.cast(builder, mask, kind, types.uint16)
    return builder.bitcast(bits, ir.VectorType(ir.IntType(1), LANES))


@intrinsic
def select_set(typingctx: Any, mask: Any, when_set: Any, otherwise: Any) -> Any:
    """`when_set` in the lanes whose bit of the integer `mask` is set, else the number `otherwise`; lane 0 is bit 0."""
    if not isinstance(mask, types.Integer):
        return None

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        other = as_lanes(context, builder, args[2], sig.args[2], when_set.dtype)
        return builder.select(_set_bits(context, builder, args[0], sig.args[0]), args[1], other)

    return when_set(mask, when_set, otherwise), lower


@intrinsic
def select_within(typingctx: Any, a: Any, limit: Any, mask: Any, value: Any) -> Any:
    """`value` in the lanes where `a < limit` and whose bit of the integer `mask` is set, else zero; lane 0 is bit 0."""
    if not isinstance(mask, types.Integer) or a != value:
        return None

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        set_bits = _set_bits(context, builder, args[2], sig.args[2])
        less = builder.fcmp_ordered("<", args[0], as_lanes(context, builder, args[1], sig.args[1], a.dtype))
        return builder.select(builder.and_(less, set_bits), args[3], ir.Constant(args[3].type, None))

    return value(a, limit, mask, value), lower


@intrinsic
def bits_less(typingctx: Any, a: Any, b: Any) -> Any:
    """An integer with the bits of those lanes set where `a < b`, so 0 where there are none; `b` may be a number."""

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        right = as_lanes(context, builder, args[1], sig.args[1], a.dtype)
        mask = builder.bitcast(builder.fcmp_ordered("<", args[0], right), ir.IntType(LANES))
        return builder.zext(mask, ir.IntType(64))

    return types.int64(a, b), lower


@intrinsic
def lane_sum(typingctx: Any, a: Any) -> Any:
    """Sum over the lanes, always in the same tree-like order."""

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        start = ir.Constant(element_type(a.dtype), -0.0)
        return _call(builder, "vector.reduce.fadd", start.type, [start, args[0]], ("reassoc",))

    return a.dtype(a), lower
