"""Types of config keys, read from the signature of what a config names, and whether a value is of its type."""

import functools
import inspect
import json
import re
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union

from pydantic import ConfigDict, PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from mdgen.errors import MdgenError

MISSING = "???"


@functools.lru_cache(maxsize=256)
def annotations_of(target: Any) -> Mapping[str, Any] | None:
    """The annotation of each parameter, `Any` where there is none; None for a target that takes any keyword."""
    try:
        parameters = inspect.signature(target, eval_str=True).parameters.values()
    except (TypeError, ValueError, NameError):
        return None
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    empty = inspect.Parameter.empty
    return {each.name: Any if each.annotation is empty else each.annotation for each in parameters}


def checked(key: str, value: Any, annotation: Any, default: Any = None) -> Any:
    """The value as its annotation has it: `1` as 1.0 where a float is wanted, other values as they are.

    Args:
        key: dotted name of the key, for the message.
        value: scalar or list, as YAML gives it.
        annotation: annotation of the parameter; one that pydantic does not know accepts everything.
        default: value in the config files, as an example in the message.

    Raises:
        MdgenError: saying what was expected.
    """
    annotation = _without_classes(annotation)
    adapter = _adapter(annotation)
    if adapter is None:
        return value
    listed = value if isinstance(value, list) else [value]
    empty = default != "" and any(isinstance(each, str) and not each.strip() for each in listed)
    try:
        if not empty:
            # JSON, since that is what a config can say: a list is then a tuple too, and 1 a float, but "1" no number.
            return adapter.dump_python(adapter.validate_json(json.dumps(value)), mode="json", warnings="none")
    except ValidationError:
        pass
    expected = described(annotation)
    if default not in (None, MISSING, "", []) and annotation is not bool and not _choices(annotation):
        expected += f"{',' if ',' in expected else ''} such as {shown(default)}"
    hint = "; text that looks like a number or a list is put in quotes" if re.search("text|path", expected) else ""
    raise MdgenError(f"{key}={shown(value)}: expected {expected}{hint}")


@functools.lru_cache(maxsize=256)
def _adapter(annotation: Any) -> TypeAdapter[Any] | None:
    try:
        return TypeAdapter(annotation, config=ConfigDict(strict=True, allow_inf_nan=False))
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError):
        return None


def _without_classes(annotation: Any) -> Any:
    """A union without the classes that no config can give, such as tensors."""
    if typing.get_origin(annotation) not in (Union, types.UnionType):
        return annotation
    known = tuple(each for each in typing.get_args(annotation) if _adapter(each) is not None)
    return Union[known] if set(known) - {type(None)} else annotation  # noqa: UP007 (members known only here)


_NAMES = {int: "whole number", float: "number", str: "text", bool: "true or false", type(None): "null"}
_COUNTS = ("no", "one", "two", "three", "four")


def described(annotation: Any) -> str:
    """An annotation in words.

    >>> described(float | None)
    'a number, or null'
    >>> described(str | list[str])
    'text, or a list of texts'
    >>> described(tuple[float, float])
    'a list of two numbers'
    """
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if choices := _choices(annotation):
        return " or ".join(map(shown, choices)) if len(choices) < 3 else f"one of {', '.join(map(shown, choices))}"
    if origin in (Union, types.UnionType):
        return ", or ".join(described(each) for each in sorted(arguments, key=lambda each: each is type(None)))
    if origin is typing.Annotated and isinstance(arguments[1], str):
        return f"a {arguments[1]}"
    if origin is tuple and arguments[-1] is not Ellipsis:
        count = _COUNTS[len(arguments)] if len(arguments) < len(_COUNTS) else str(len(arguments))
        return f"a list of {count} {_plural(arguments[0])}"
    if isinstance(origin, type) and issubclass(origin, typing.Collection):
        return f"a list of {_plural(arguments[0])}"
    name = _NAMES.get(annotation, getattr(annotation, "__name__", str(annotation)))
    return f"a {name}" if annotation in (int, float) else name


def _plural(annotation: Any) -> str:
    return {int: "whole numbers", float: "numbers", str: "texts"}.get(annotation, described(annotation)[2:] + "s")


def _choices(annotation: Any) -> tuple[Any, ...]:
    """The values of a Literal, null among them where it may be left out."""
    if typing.get_origin(annotation) is Literal:
        return typing.get_args(annotation)
    members = typing.get_args(annotation) if typing.get_origin(annotation) in (Union, types.UnionType) else ()
    found = [_choices(each) for each in members if each is not type(None)]
    return (*(value for each in found for value in each), None) if found and all(found) else ()


def shown(value: Any) -> str:
    """A value as it is written on a command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(shown, value)) + "]"
    return " ".join(str(value).split())
