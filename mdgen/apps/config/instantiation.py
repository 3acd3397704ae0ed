"""Objects built from configs: a config is data, and only what the registry holds is ever called."""

import functools
from typing import Any

from mdgen.apps.config.signatures import MISSING
from mdgen.errors import MdgenError
from mdgen.registry import resolve


def instantiate(config: dict[str, Any], **arguments: Any) -> Any:
    """Call what `config["_target_"]` names with the other keys and `arguments`; nested targets are built first.

    With `_partial_: true` the call is prepared rather than made, as for optimisers.

    Raises:
        MdgenError: if the target is not registered, or does not take the arguments.
    """
    if config.get("_target_") == MISSING:
        raise MdgenError("_target_ was not given; name a registered part, such as potential._target_=MODULE.CLASS")
    target = resolve(str(config.get("_target_", "")))
    built = {key: _build(value) for key, value in config.items() if not key.startswith("_")}
    if config.get("_partial_", False):
        return functools.partial(target, **built, **arguments)
    try:
        return target(**built, **arguments)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise MdgenError(f"{config['_target_']} cannot be made from this config: {error}") from error


def _build(value: Any) -> Any:
    if isinstance(value, dict):
        return instantiate(value) if "_target_" in value else {key: _build(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_build(item) for item in value]
    return value


def required(config: dict[str, Any], *keys: str) -> None:
    """Raise unless every key was given a value.

    Raises:
        MdgenError: naming the first that was not.
    """
    for key in keys:
        if config.get(key) in (None, MISSING):
            raise MdgenError(f"{key} was not given; say {key}=..., see --help")
