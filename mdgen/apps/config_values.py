"""Whether the values of a config are of the kinds of its defaults, or, where a default is null, of those below."""

import math
from typing import Any

from mdgen.errors import MdgenError

WHOLE = frozenset({"threads", "seed", "n_states", "n_macrostates"})
NUMBER = frozenset(
    {
        "frame_spacing_ps",
        "anneal_temperature_K",
        "temperature_K",
        "pressure_bar",
        "lag_ps",
        "cutoff_nm",
        "switch_nm",
        "hydrogen_mass_amu",
    }
)
NUMBERS = frozenset({"box_nm"})
PATHS = frozenset({"trajectories", "charmm_files"})
TEXT = frozenset({"topology", "encoder_run", "propagator_run", "decoder_run", "start", "export", "pairs", "psf"})
"""Kinds of keys whose default is null or missing, by the last part of their name."""

NULLABLE = frozenset({"hydrogen_mass_amu"})
"""Keys whose default is a value and that null switches off."""

ONE_EACH = frozenset({"temperature_K"})
"""Keys that take one number for all replicas, or a list of one each."""

MISSING = "???"


def checked_value(key: str, value: Any, default: Any) -> Any:
    """The value if it is of the kind of its default; a whole number where any number will do becomes a float.

    Args:
        key: dotted.
        value: what it was given.
        default: what it would be otherwise; null and `???` say nothing, so the tables above do.

    Raises:
        MdgenError: saying what was expected.
    """
    name = key.rpartition(".")[2]
    unset = default is None or default == MISSING
    if value is None and (unset or name in NULLABLE):
        return value
    if value == MISSING and default == MISSING:
        return value
    expected = _for_unset(name, value) if unset else _for_default(name, value, default)
    if expected:
        raise MdgenError(f"{key}={_shown(value)}: expected {expected}")
    takes_any = name in NUMBER if unset else isinstance(default, float)
    if takes_any and isinstance(value, list):
        return [float(each) for each in value]
    return float(value) if takes_any else value


def _for_unset(name: str, value: Any) -> str | None:
    """What was expected of a key without a default; None where the value will do."""
    if name in WHOLE and not _is_whole(value):
        return "a whole number, or null"
    if name in NUMBER and not _is_number(value):
        return "a number, or null"
    if name in NUMBERS and not (isinstance(value, list) and all(map(_is_number, value))):
        return "a list of numbers such as [3.0,3.0,3.0], or null"
    if name in PATHS and not all(isinstance(each, str) and each for each in _as_list(value)):
        return "a path or a list of paths, in quotes if one looks like a number"
    if name in TEXT and not isinstance(value, str):
        return "text; write it in quotes if it looks like a number or a list"
    return None


def _for_default(name: str, value: Any, default: Any) -> str | None:
    """What was expected of a key with a default; None where the value will do."""
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    if isinstance(default, int):
        return None if _is_whole(value) else f"a whole number such as {default}"
    if isinstance(default, float) and name in ONE_EACH and isinstance(value, list):
        return None if value and all(map(_is_number, value)) else "a number, or a list of one a replica"
    if isinstance(default, float):
        return None if _is_number(value) else f"a number such as {default}"
    if isinstance(default, str):
        given = isinstance(value, str) and (bool(value.strip()) or not default)
        return None if given else f"text such as {default or 'name'}, in quotes if it looks otherwise"
    if isinstance(default, list):
        return _for_list(name, value, default)
    return None


def _for_list(name: str, value: Any, default: list[Any]) -> str | None:
    numbers = bool(default) and all(map(_is_number, default))
    whole = numbers and all(map(_is_whole, default))
    fits = isinstance(value, list) and (not numbers or all(map(_is_whole if whole else _is_number, value)))
    if name.endswith("fraction"):
        return None if fits and len(value) == 2 else f"two numbers such as {_shown(default)}"
    return None if fits else f"a list{' of numbers' if numbers else ''} such as {_shown(default)}"


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    """As it is written on a command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(map(_shown, value)) + "]"
    return " ".join(str(value).split())
