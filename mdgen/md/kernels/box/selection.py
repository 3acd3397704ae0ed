"""Lane operations of boxes: selection by the bits of a number, and the sum over lanes."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mdgen.md.kernels.lanes import LANES, Lanes, as_lanes, element_type


@intrinsic
def select_bits(typingctx: Any, mask: Any, when_set: Any, otherwise: Any) -> Any:
    """`when_set` in the lanes whose bit of the integer `mask` is set, else the number `otherwise`; lane 0 is bit 0."""
    if not isinstance(mask, types.Integer) or not isinstance(when_set, Lanes):
        return None

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        bits = context.cast(builder, args[0], sig.args[0], types.uint16)
        chosen = builder.bitcast(bits, ir.VectorType(ir.IntType(1), LANES))
        return builder.select(chosen, args[1], as_lanes(context, builder, args[2], sig.args[2], when_set.dtype))

    return when_set(mask, when_set, otherwise), lower


@intrinsic
def bits_less(typingctx: Any, a: Any, b: Any) -> Any:
    """An integer with the bits of those lanes set where `a < b`; `b` may be a number."""
    if not isinstance(a, Lanes):
        return None

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        right = as_lanes(context, builder, args[1], sig.args[1], a.dtype)
        mask = builder.bitcast(builder.fcmp_ordered("<", args[0], right), ir.IntType(LANES))
        return builder.zext(mask, ir.IntType(64))

    return types.int64(a, b), lower


@intrinsic
def lane_sum(typingctx: Any, a: Any) -> Any:
    """Sum over the lanes, always in the same tree-like order."""
    if not isinstance(a, Lanes):
        return None

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        element = element_type(a.dtype)
        kind = ir.FunctionType(element, [element, args[0].type])
        suffix = {"float": "f32", "double": "f64"}[str(element)]
        function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.vector.reduce.fadd.v{LANES}{suffix}")
        return builder.call(function, [ir.Constant(element, -0.0), args[0]], fastmath=("reassoc",))

    return a.dtype(a), lower
