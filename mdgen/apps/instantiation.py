"""Building objects from configs, from an allow-list alone: a config is data and must not be able to name any code."""

import functools
import importlib
import inspect
from typing import Any

from mdgen.errors import MdgenError
from mdgen.registry import resolve

ALLOWED_TARGETS = frozenset(
    {
        "mdgen.evaluation.settings.Bounds",
        "mdgen.evaluation.settings.Settings",
        "mdgen.benchmarks.speed.speed_suite.SpeedSettings",
        "mdgen.md.dynamics.integrators.Langevin",
        "mdgen.md.dynamics.integrators.VelocityVerlet",
        "mdgen.md.dynamics.overdamped.OverdampedLangevin",
        "mdgen.md.dynamics.replica_exchange.Tempering",
        "mdgen.md.systems.build.build_system",
        "mdgen.benchmarks.validation.validation_suite.ValidationSettings",
        "mdgen.md.systems.yaml_system.build_yaml_system",
    }
)


def instantiate(config: dict[str, Any], **arguments: Any) -> Any:
    """Call what `config["_target_"]` names with the other keys and `arguments`; nested targets are built first.

    With `_partial_: true` the call is prepared rather than made, as for optimisers.

    Raises:
        MdgenError: if the target is not on the allow-list, or does not take the arguments.
    """
    target = _target(str(config.get("_target_", "")))
    kinds = _annotations(target)
    built = {key: _as_number(_build(value), kinds.get(key)) for key, value in config.items() if not key.startswith("_")}
    if config.get("_partial_", False):
        return functools.partial(target, **built, **arguments)
    try:
        return target(**built, **arguments)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise MdgenError(f"{config['_target_']} cannot be made from this config: {error}") from error


def _annotations(target: Any) -> dict[str, Any]:
    try:
        return {name: parameter.annotation for name, parameter in inspect.signature(target).parameters.items()}
    except (TypeError, ValueError):
        return {}


def _as_number(value: Any, annotation: Any) -> Any:
    """`4` where a float is wanted is 4.0: YAML cannot know."""
    wants_float = annotation in (float, float | None)
    return float(value) if wants_float and isinstance(value, int) and not isinstance(value, bool) else value


def _build(value: Any) -> Any:
    if isinstance(value, dict):
        return instantiate(value) if "_target_" in value else {key: _build(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_build(item) for item in value]
    return value


def _target(name: str) -> Any:
    if name not in ALLOWED_TARGETS:
        return resolve(name)
    module_name, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module_name), attribute)


def required(config: dict[str, Any], *keys: str) -> None:
    """Raise unless every key was given a value.

    Raises:
        MdgenError: naming the first that was not.
    """
    for key in keys:
        if config.get(key) in (None, "???"):
            raise MdgenError(f"{key} was not given; say {key}=..., see --help")
