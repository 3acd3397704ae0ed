"""Trained parts in files: safetensors, with everything needed to build the part again in the header as JSON.

A file names classes by their dotted paths; what is not registered (`mdgen.registry`) is not built. Weights are plain
arrays, and a checksum covers the whole file.
"""

import inspect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from mdgen import __version__
from mdgen.errors import MdgenError
from mdgen.interfaces import LatentSpace
from mdgen.models.allocation import limited_allocation
from mdgen.molecule.topology import Molecule
from mdgen.registry import name_of, registered, resolve
from mdgen.tensor_files import load_tensors, read_header, save_tensors

FORMAT = 1
_BAD_RECIPE = (RuntimeError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError, MemoryError)
"""What building a part from arguments of wrong types or sizes, or filling it with others' weights, may raise."""


@dataclass(frozen=True)
class _Version:
    format: int
    mdgen: str = "unknown"


@dataclass(frozen=True)
class _Header:
    """The header of a model file: how to build the part, and what was noted of its training."""

    format: int
    mdgen: str
    recipe: dict[str, Any]
    metadata: dict[str, Any] = field(default_factory=dict)


def save_model(path: Path | str, module: nn.Module, metadata: dict[str, Any] | None = None) -> None:
    """Write a trained part: its weights, how to build it, and `metadata` (plain JSON: training data, settings, seeds).

    Without `metadata`, that of the part itself is kept, as training set it.

    The file is written aside and renamed.

    Raises:
        MdgenError: if the part is not registered, or the file cannot be written.
    """
    header = {
        "format": FORMAT,
        "mdgen": __version__,
        "recipe": describe(module),
        "metadata": getattr(module, "metadata", None) or {} if metadata is None else metadata,
    }
    save_tensors(Path(path), module.state_dict(), header)


def load_model(path: Path | str) -> nn.Module:
    """The part that `save_model` wrote, on the CPU, in evaluation mode, its `metadata` an attribute.

    Raises:
        MdgenError: if the file is missing, damaged or no such file (a pickle, say), or names an unregistered class or
            a part larger than its weights.
    """
    content, header = _open(Path(path))
    try:
        weights = load_tensors(content)
        with limited_allocation(weights.values()):
            module = build(header.recipe)
        module.load_state_dict(weights)
    except MdgenError:
        raise
    except _BAD_RECIPE as error:
        reason = " ".join(str(error).split())[:200]
        raise MdgenError(
            f"{path} is damaged or of another version of mdgen ({reason}); train the part again"
        ) from error
    module.metadata = header.metadata  # type: ignore[assignment]
    return module.eval()


def _open(path: Path) -> tuple[bytes, _Header]:
    if not path.is_file():
        raise MdgenError(f"{path} does not exist; give a .safetensors file that `mdgen train` wrote")
    try:
        content = path.read_bytes()
        version = read_header(content, _Version)
        if version.format == FORMAT:
            return content, read_header(content, _Header)
    except (OSError, ValueError) as error:
        raise MdgenError(
            f"{path} is not a checkpoint of mdgen ({error}); give a .safetensors file that `mdgen train` wrote"
        ) from error
    raise MdgenError(
        f"{path} has format {version.format}, this version of mdgen reads {FORMAT}; "
        f"use the version that wrote it ({version.mdgen})"
    )


def describe(value: Any) -> Any:
    """How to build `value` again, as JSON: `{"class": name, "arguments": {...}}` for an object, itself otherwise.

    The arguments are those of the constructor: the attribute `arguments`, or else the attributes of the same names.

    Raises:
        MdgenError: if an object's class is not registered.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    name = name_of(type(value))
    if type(value) not in registered():
        raise MdgenError(f"a {name} cannot be stored in a checkpoint; decorate it with mdgen.registry.register")
    if isinstance(value, Molecule):
        return {"class": name, "arguments": value.to_json()}
    names = inspect.signature(type(value)).parameters
    arguments = getattr(value, "arguments", None) or {key: getattr(value, key) for key in names}
    return {"class": name, "arguments": {key: describe(item) for key, item in arguments.items()}}


def build(recipe: Any) -> Any:
    """The inverse of `describe`.

    Raises:
        MdgenError: if the recipe names what is not registered, or no part of a model.
    """
    if isinstance(recipe, list):
        return [build(item) for item in recipe]
    if not isinstance(recipe, dict):
        return recipe
    found = resolve(str(recipe["class"]))
    # The registry also holds what a model is not made of, such as loggers, which write files when they are made.
    if not (isinstance(found, type) and issubclass(found, (nn.Module, LatentSpace, Molecule))):
        raise MdgenError(f"the checkpoint names {recipe['class']}, which is no part of a model; train the part again")
    if found is Molecule:
        return Molecule.from_json(recipe["arguments"])
    return found(**{key: build(item) for key, item in recipe["arguments"].items()})
