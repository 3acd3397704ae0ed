"""Shapes in signatures are checked when functions are called, sparingly in loops of many calls.

A check takes as long as some operations on small tensors do, so a simulation that makes all of them takes twice as
long. In each test the first calls of a function are checked, and of the others every so many. Functions within
functions are left alone: the code of their checks would be made anew whenever they are defined, in 10 ms.
"""

import dataclasses
import functools
import inspect
import os
from collections.abc import Callable
from types import FunctionType
from typing import Any

import jaxtyping

FIRST, EVERY = 16, 128
"""Calls of a function that are all checked in a test, and the interval of those checked after them."""

_jaxtyped = jaxtyping.jaxtyped
_test = [0]


def begin_test() -> None:
    """Let the calls of every function be counted from the first."""
    _test[0] += 1


def install(modules: list[str]) -> None:
    """Check the shapes of these modules, imported from now on; all calls where MDGEN_CHECK_SHAPES=all asks for it."""
    if os.environ.get("MDGEN_CHECK_SHAPES") != "all":
        jaxtyping.jaxtyped = _sparingly
    jaxtyping.install_import_hook(modules, "beartype.beartype")


def _sparingly(fn: Any = None, *, typechecker: Any) -> Any:
    """In the place of `jaxtyping.jaxtyped`, by which the import hook decorates functions and classes."""
    again = functools.partial(_sparingly, typechecker=typechecker)
    if fn is None:
        return again
    if isinstance(fn, FunctionType) and not inspect.isgeneratorfunction(fn):
        return fn if "<locals>" in fn.__qualname__ else _counted(fn, typechecker)
    if isinstance(fn, classmethod | staticmethod):
        return type(fn)(again(fn.__func__))
    if isinstance(fn, property):
        return property(*(each and again(each) for each in (fn.fget, fn.fset, fn.fdel)))
    if inspect.isclass(fn):
        if dataclasses.is_dataclass(fn) and "__init__" in vars(fn) and not hasattr(fn.__init__, "__wrapped__"):
            fn.__init__ = again(fn.__init__)
        return fn
    return _jaxtyped(fn, typechecker=typechecker)


def _counted(fn: FunctionType, typechecker: Any) -> Callable[..., Any]:
    checked: Callable[..., Any] | None = None  # made when it is first called: that takes a while, and many never are
    test, calls = 0, 0

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        nonlocal checked, test, calls
        __tracebackhide__ = True
        if test != _test[0]:
            test, calls = _test[0], 0
        calls += 1
        if calls > FIRST and calls % EVERY:
            return fn(*args, **kwargs)
        if checked is None:
            checked = _jaxtyped(fn, typechecker=typechecker)
        return checked(*args, **kwargs)

    return wrapper
