"""The one registry of parts: what configs and model files may name, each entered where it is defined.

A config or a model file is data. It names a class or a function by its dotted path, and only what was registered is
ever called: a module is imported for a name only if it is one of this package's own, or one that the user has named as
a plug-in. To add a part, decorate it:

>>> @register
... class Harmonic:
...     "A potential of one's own."
>>> Harmonic in registered()
True
"""

import importlib
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from typing import Any, TypeVar

from mdgen.errors import MdgenError

Part = TypeVar("Part", bound=Callable[..., Any])

ENTRY_POINT_GROUP = "mdgen.plugins"
"""Installed packages announce their plug-in modules under this name, as pytest's do under `pytest11`."""

LIBRARY_PARTS = ("torch.optim.Adam", "torch.optim.AdamW", "torch.optim.SGD")
"""What configs may name of other libraries; imported when first used."""

_PARTS: dict[str, Any] = dict.fromkeys(LIBRARY_PARTS)
_PLUGINS: list[str] = []


def register(part: Part) -> Part:
    """Enter a class or function of this package or of a plug-in, by its dotted path; a decorator."""
    _PARTS[name_of(part)] = part
    return part


def registered() -> list[Any]:
    """Everything that is registered so far and imported."""
    return [part for part in _PARTS.values() if part is not None]


def name_of(part: Any) -> str:
    """The dotted path of a class or function."""
    return f"{part.__module__}.{part.__qualname__}"


def resolve(name: str) -> Any:
    """The part of a dotted path.

    Raises:
        MdgenError: if nothing of that name is registered.
    """
    module, _, _ = name.rpartition(".")
    own = module == "mdgen" or module.startswith("mdgen.")
    if own and name not in _PARTS:
        _import_own(module)
    if name not in _PARTS:
        load_plugins()
    if name not in _PARTS:
        hint = "name its module, as plugins=[{module}], or import it first"
        if own or module in sys.modules or not module:
            hint = "expected a part decorated with mdgen.registry.register"
        raise MdgenError(f"{name!r} is not registered with mdgen, so it is not called; {hint.format(module=module)}")
    if _PARTS[name] is None:
        library, _, attribute = name.rpartition(".")
        _PARTS[name] = getattr(importlib.import_module(library), attribute)
    return _PARTS[name]


def load_plugins(modules: Sequence[str] = ()) -> list[str]:
    """Import the plug-ins that the user names, and those that installed packages announce; returns all their names.

    Raises:
        MdgenError: if one cannot be imported.
    """
    announced = [] if os.environ.get("MDGEN_NO_ENTRY_POINTS") else entry_points(group=ENTRY_POINT_GROUP)
    for module in [*(point.module for point in announced), *modules]:
        if module in _PLUGINS:
            continue
        try:
            importlib.import_module(module)
        except Exception as error:  # a plug-in may raise anything while it is imported
            reason = " ".join(str(error).split())[:200]
            raise MdgenError(
                f"the plug-in {module} cannot be imported ({type(error).__name__}: {reason}); name a module on "
                "PYTHONPATH or in the folder you run in"
            ) from error
        _PLUGINS.append(module)
    return list(_PLUGINS)


def _import_own(module: str) -> None:
    """Import a module of this package; a name of none is left to be refused."""
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("mdgen"):
            raise
