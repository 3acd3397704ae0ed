"""Sixteen numbers as one value: a SIMD vector type for compiled code.

`Lanes(float32)` is LLVM's `<16 x float>`: one AVX-512 register, two AVX registers, four NEON registers. Code over
it reads like code for one number, and every operation is one vector instruction whatever the auto-vectoriser makes
of the loop around it. Arithmetic never crosses lanes, so what they hold, replicas or atoms, cannot influence each
other, not even in rounding.

`+ - * /` and unary minus take two lane values or a lane value and a number (which is converted to the lanes' type, so
that one source serves single and double precision); integers also have `& | ^ << >>`.
"""

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

LANES = 16
"""Numbers in a lane value: single precision fills a 512-bit register."""

FLAGS = ("nsz", "contract")
"""Freedom of every operation: a product may be fused with a sum, and the sign of zero is ignored."""

ESTIMATE_FLAGS = ("nsz", "contract", "arcp", "afn", "ninf", "reassoc")
"""Freedom of quotients and roots: an estimate with one Newton step instead of the exact instruction."""


class Lanes(types.Type):
    """The type of `LANES` values; `dtype` is a numba float or integer type."""

    def __init__(self, dtype: types.Type) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype}, {LANES})")


def element_type(dtype: types.Type) -> ir.Type:
    """LLVM's type of one number."""
    if dtype == types.float32:
        return ir.FloatType()
    if dtype == types.float64:
        return ir.DoubleType()
    return ir.IntType(dtype.bitwidth)


def vector_type(dtype: types.Type) -> ir.VectorType:
    """LLVM's type of one lane value."""
    return ir.VectorType(element_type(dtype), LANES)


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Lanes) -> None:
        super().__init__(dmm, fe_type, vector_type(fe_type.dtype))


def splat(builder: ir.IRBuilder, scalar: ir.Value) -> ir.Value:
    """A scalar in every lane."""
    vector = ir.VectorType(scalar.type, LANES)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.IntType(32)(0))
    return builder.shuffle_vector(
        one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    )


def as_lanes(context: Any, builder: ir.IRBuilder, value: ir.Value, kind: types.Type, dtype: types.Type) -> ir.Value:
    """A lane value as it is; a number converted to `dtype`, in every lane."""
    if isinstance(kind, Lanes):
        return value
    return splat(builder, context.cast(builder, value, kind, dtype))


_INSTRUCTIONS = {"truediv": "div", "lshift": "shl"}
"""LLVM's names where they differ from those of Python's operators."""


def _emit(builder: ir.IRBuilder, name: str, dtype: types.Type, a: ir.Value, b: ir.Value) -> ir.Value:
    instruction = _INSTRUCTIONS.get(name, name)
    if isinstance(dtype, types.Float):
        return getattr(builder, f"f{instruction}")(a, b, flags=ESTIMATE_FLAGS if name == "truediv" else FLAGS)
    if name == "rshift":
        instruction = "ashr" if dtype.signed else "lshr"
    return getattr(builder, instruction)(a, b)


def _register(operation: Any, name: str) -> None:
    @type_callable(operation)
    def typing(context: Any) -> Any:
        def resolve(a: types.Type, b: types.Type) -> types.Type | None:
            lanes, other = (a, b) if isinstance(a, Lanes) else (b, a)
            return lanes if isinstance(lanes, Lanes) and (other == lanes or isinstance(other, types.Number)) else None

        return resolve

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        dtype = sig.return_type.dtype
        a, b = (as_lanes(context, builder, arg, kind, dtype) for arg, kind in zip(args, sig.args, strict=True))
        return _emit(builder, name, dtype, a, b)

    for left, right in ((Lanes, Lanes), (Lanes, types.Number), (types.Number, Lanes)):
        lower_builtin(operation, left, right)(lower)


for _name in ("add", "sub", "mul", "truediv", "and_", "or_", "xor", "lshift", "rshift"):
    _register(getattr(operator, _name), _name)


@type_callable(operator.neg)
def _neg_type(context: Any) -> Any:
    return lambda a: a if isinstance(a, Lanes) else None


@lower_builtin(operator.neg, Lanes)
def _neg(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
    return builder.fneg(args[0], flags=FLAGS)


def _pointer(context: Any, builder: ir.IRBuilder, array: types.Array, index: types.Type, args: Any) -> ir.Value:
    view = context.make_array(array)(context, builder, args[0])
    indices = [
        context.cast(builder, part, kind, types.intp)
        for part, kind in zip(cgutils.unpack_tuple(builder, args[1]), index.types, strict=True)
    ]
    row = len(indices) < array.ndim
    shape = cgutils.unpack_tuple(builder, view.shape)
    strides = cgutils.unpack_tuple(builder, view.strides)
    indices += [ir.IntType(64)(0)] if row else []
    item = cgutils.get_item_pointer2(context, builder, view.data, shape, strides, "C", indices)
    return builder.bitcast(item, vector_type(array.dtype).as_pointer()) if row else item


def _element(array: types.Type, index: types.Type) -> types.Type | None:
    """Type of `array[index]`: a number, or a lane value where `index` leaves out the last axis; None for any other."""
    if not (isinstance(array, types.Array) and array.layout == "C" and isinstance(index, types.BaseTuple)):
        return None
    return {array.ndim - 1: Lanes(array.dtype), array.ndim: array.dtype}.get(len(index))


@intrinsic
def load(typingctx: Any, array: Any, index: Any) -> Any:
    """`array[index]` of a C-contiguous array for a tuple of indices, none of them negative.

    Where the tuple leaves out the last axis, of `LANES` values, it is one lane value, otherwise a number: so the same
    function serves arrays over sixteen replicas and arrays of one.
    """
    element = _element(array, index)
    if element is None:
        return None

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return builder.load(_pointer(context, builder, array, index, args), align=array.dtype.bitwidth // 8)

    return element(array, index), lower


@intrinsic
def store(typingctx: Any, array: Any, index: Any, value: Any) -> Any:
    """Write a lane value or a number to `array[index]`, see `load`; a number is converted to the array's type."""
    element = _element(array, index)
    if element is None or (isinstance(element, Lanes) and value != element):
        return None

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        written = args[2] if isinstance(element, Lanes) else context.cast(builder, args[2], value, element)
        builder.store(written, _pointer(context, builder, array, index, args), align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, index, value), lower


@intrinsic
def filled(typingctx: Any, array: Any, number: Any) -> Any:
    """`number` in every lane, in the number type of `array`."""

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return splat(builder, context.cast(builder, args[1], number, array.dtype))

    return Lanes(array.dtype)(array, number), lower


def _flat_pointer(context: Any, builder: ir.IRBuilder, array: types.Array, offset: types.Type, args: Any) -> ir.Value:
    data = context.make_array(array)(context, builder, args[0]).data
    item = builder.gep(data, [context.cast(builder, args[1], offset, types.intp)])
    return builder.bitcast(item, vector_type(array.dtype).as_pointer())


@intrinsic
def load_at(typingctx: Any, array: Any, offset: Any) -> Any:
    """`LANES` numbers of a flat array from `offset` on, which must not be negative, as one lane value."""

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        return builder.load(_flat_pointer(context, builder, array, offset, args), align=array.dtype.bitwidth // 8)

    return Lanes(array.dtype)(array, offset), lower


@intrinsic
def gathered(typingctx: Any, array: Any, offsets: Any) -> Any:
    """A number of a flat array for each lane, from integer lanes of offsets, all of which must lie within the array."""

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        data = context.make_array(array)(context, builder, args[0]).data
        value = ir.Constant(vector_type(array.dtype), ir.Undefined)
        for lane in map(ir.IntType(32), range(LANES)):
            item = builder.gep(data, [builder.extract_element(args[1], lane)])
            value = builder.insert_element(value, builder.load(item), lane)
        return value

    return Lanes(array.dtype)(array, offsets), lower


@intrinsic
def store_at(typingctx: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write a lane value to a flat array from `offset` on, which must not be negative."""
    if value != Lanes(array.dtype):
        return None

    def lower(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        builder.store(args[2], _flat_pointer(context, builder, array, offset, args), align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, offset, value), lower
