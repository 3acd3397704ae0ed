"""Lane operations of boxes: lanes anywhere in a flat array, selection by the bits of a number, the sum over lanes."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mdgen.md.engines.lanes.lanes import LANES, Lanes, as_lanes, element_type, vector_type


@intrinsic
def select_within(typingctx: Any, a: Any, limit: Any, mask: Any, value: Any) -> Any:
    """`value` in the lanes where `a < limit` and whose bit of the integer `mask` is set, else zero; lane 0 is bit 0."""
    if not isinstance(mask, types.Integer) or not isinstance(a, Lanes) or a != value:
        return None

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        bits = context.cast(builder, args[2], sig.args[2], types.uint16)
        set_bits = builder.bitcast(bits, ir.VectorType(ir.IntType(1), LANES))
        less = builder.fcmp_ordered("<", args[0], as_lanes(context, builder, args[1], sig.args[1], a.dtype))
        return builder.select(builder.and_(less, set_bits), args[3], ir.Constant(args[3].type, None))

    return value(a, limit, mask, value), lower


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


def _flat(array: types.Type, offset: types.Type) -> bool:
    return (
        isinstance(array, types.Array) and array.ndim == 1 and array.layout == "C" and isinstance(offset, types.Integer)
    )


def _pointer(context: Any, builder: ir.IRBuilder, array: types.Array, offset: types.Type, args: Any) -> ir.Value:
    view = context.make_array(array)(context, builder, args[0])
    return builder.gep(view.data, [context.cast(builder, args[1], offset, types.intp)])


@intrinsic
def load_at(typingctx: Any, array: Any, offset: Any) -> Any:
    """`LANES` numbers of a flat array from `offset` on, which must not be negative, as one lane value."""
    if not _flat(array, offset):
        return None

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        pointer = _pointer(context, builder, array, offset, args)
        pointer = builder.bitcast(pointer, vector_type(array.dtype).as_pointer())
        return builder.load(pointer, align=array.dtype.bitwidth // 8)

    return Lanes(array.dtype)(array, offset), lower


@intrinsic
def store_at(typingctx: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write a lane value to a flat array from `offset` on, which must not be negative."""
    if not _flat(array, offset) or value != Lanes(array.dtype):
        return None

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        pointer = _pointer(context, builder, array, offset, args)
        pointer = builder.bitcast(pointer, vector_type(array.dtype).as_pointer())
        builder.store(args[2], pointer, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, offset, value), lower


@intrinsic
def number_at(typingctx: Any, array: Any, offset: Any) -> Any:
    """`array[offset]` of a flat array for an offset that is not negative, without the check for one that is."""
    if not _flat(array, offset):
        return None

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return builder.load(_pointer(context, builder, array, offset, args))

    return array.dtype(array, offset), lower
