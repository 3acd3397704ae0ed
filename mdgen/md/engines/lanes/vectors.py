"""Vectors in space: three lane values from an array (atom, 3, lane), or three numbers from an array (atom, 3)."""

from typing import Any

from mdgen.simd.jit import lane_function
from mdgen.simd.lanes import load, store


@lane_function
def load_vector(array: Any, atom: Any) -> Any:
    """The vector of one atom."""
    return load(array, (atom, 0)), load(array, (atom, 1)), load(array, (atom, 2))


@lane_function
def store_vector(array: Any, atom: Any, a: Any) -> None:
    """Write the vector of one atom."""
    store(array, (atom, 0), a[0])
    store(array, (atom, 1), a[1])
    store(array, (atom, 2), a[2])


@lane_function
def add_to(array: Any, atom: Any, a: Any) -> None:
    """Add to the vector of one atom."""
    store_vector(array, atom, plus(load_vector(array, atom), a))


@lane_function
def subtract_from(array: Any, atom: Any, a: Any) -> None:
    """Subtract from the vector of one atom."""
    store_vector(array, atom, minus(load_vector(array, atom), a))


@lane_function
def plus(a: Any, b: Any) -> Any:
    """`a + b`."""
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


@lane_function
def minus(a: Any, b: Any) -> Any:
    """`a - b`."""
    return a[0] - b[0], a[1] - b[1], a[2] - b[2]


@lane_function
def scaled(a: Any, factor: Any) -> Any:
    """`factor * a`."""
    return factor * a[0], factor * a[1], factor * a[2]


@lane_function
def dot(a: Any, b: Any) -> Any:
    """Scalar product."""
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


@lane_function
def cross(a: Any, b: Any) -> Any:
    """Vector product."""
    return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
