"""Trained parts in files: safetensors, with everything needed to build the part again in the header as JSON.

A file names classes by their dotted paths; what is not registered (`mdgen.registry`) is not built. Weights are plain
arrays.
"""

import inspect
import json
import struct
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from mdgen import __version__
from mdgen.errors import MdgenError
from mdgen.files import write_aside
from mdgen.interfaces import LatentSpace
from mdgen.molecule.topology import Molecule
from mdgen.registry import name_of, registered, resolve

KEY = "mdgen"
FORMAT = 1
_BAD_RECIPE = (RuntimeError, SafetensorError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError)
"""What building a part from arguments of wrong types or sizes, or filling it with others' weights, may raise."""


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
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}
    write_aside(path, save(tensors, metadata={KEY: json.dumps(header)}))


def load_model(path: Path | str) -> nn.Module:
    """The part that `save_model` wrote, on the CPU, in evaluation mode, its `metadata` an attribute.

    Raises:
        MdgenError: if the file is missing, damaged or no such file (a pickle, say), or names an unregistered class.
    """
    content, header = _open(path)
    try:
        module = build(header["recipe"])
        module.load_state_dict(load(content))
    except MdgenError:
        raise
    except _BAD_RECIPE as error:
        reason = " ".join(str(error).split())[:200]
        raise MdgenError(
            f"{path} is damaged or of another version of mdgen ({reason}); train the part again"
        ) from error
    module.metadata = header.get("metadata", {})  # type: ignore[assignment]
    return module.eval()


def _open(path: Path | str) -> tuple[bytes, dict[str, Any]]:
    path = Path(path)
    if not path.is_file():
        raise MdgenError(f"{path} does not exist; give a .safetensors file that `mdgen train` wrote")
    content = path.read_bytes()
    try:
        (length,) = struct.unpack_from("<Q", content)
        header = json.loads(content[8 : 8 + length])["__metadata__"][KEY]
        document = json.loads(header)
        if not isinstance(document, dict) or not isinstance(document.get("metadata", {}), dict):
            raise TypeError("the header is no table")
    except (struct.error, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise MdgenError(
            f"{path} is not a checkpoint of mdgen; give a .safetensors file that `mdgen train` wrote"
        ) from error
    if document.get("format") != FORMAT:
        raise MdgenError(
            f"{path} has format {document.get('format')}, this version of mdgen reads {FORMAT}; "
            f"use the version that wrote it ({document.get('mdgen')})"
        )
    return content, document


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
