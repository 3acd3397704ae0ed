"""Trained parts in files: safetensors, with everything needed to build the part again in the header as JSON.

Nothing that a file names is imported: classes come from the list below alone, and weights are plain arrays.
"""

import importlib
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

KEY = "mdgen"
FORMAT = 1
KNOWN = {
    "SRV": "mdgen.models.encoders.srv",
    "TICA": "mdgen.models.encoders.tica",
    "MDN": "mdgen.models.propagators.mdn",
    "MarkovStateModel": "mdgen.models.propagators.markov_state_model",
    "CWGAN": "mdgen.models.decoders.cwgan",
    "NearestFrame": "mdgen.models.decoders.nearest_frame",
    "CartesianRepresentation": "mdgen.models.decoders.cartesian",
    "InternalRepresentation": "mdgen.models.decoders.internal",
    "TorsionDistanceFeatures": "mdgen.molecule.features",
    "LatentSpace": "mdgen.interfaces",
    "Molecule": "mdgen.molecule.topology",
}
"""The classes a file may name, and where each is."""

_BAD_RECIPE = (RuntimeError, SafetensorError, LookupError, TypeError, AttributeError, ValueError, ArithmeticError)
"""What building a part from arguments of wrong types or sizes, or filling it with others' weights, may raise."""


def save_model(path: Path | str, module: nn.Module, metadata: dict[str, Any] | None = None) -> None:
    """Write a trained part: its weights, how to build it, and `metadata` (plain JSON: training data, settings, seeds).

    The file is written aside and renamed. The part says how it is built by its attribute `arguments`.

    Raises:
        MdgenError: if the part is none of `KNOWN`, or the file cannot be written.
    """
    header = {
        "format": FORMAT,
        "mdgen": __version__,
        "recipe": describe(module),
        "metadata": metadata or {},
    }
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in module.state_dict().items()}
    write_aside(path, save(tensors, metadata={KEY: json.dumps(header)}))


def load_model(path: Path | str) -> nn.Module:
    """The part that `save_model` wrote, on the CPU, in evaluation mode.

    Raises:
        MdgenError: if the file is missing, is no such file (a pickle, say), is damaged, or names an unknown class.
    """
    content, header = _open(path)
    try:
        module = build(header["recipe"])
        if not isinstance(module, nn.Module):
            raise MdgenError(f"{path} holds a {type(module).__name__}, which is no trained part; give another file")
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


def read_metadata(path: Path | str) -> dict[str, Any]:
    """The `metadata` that a file was saved with."""
    return dict(_open(path)[1].get("metadata", {}))


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

    Raises:
        MdgenError: if an object's class is none of `KNOWN`.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [describe(item) for item in value]
    name = type(value).__name__
    if KNOWN.get(name) != type(value).__module__:
        raise MdgenError(f"a {name} cannot be stored in a checkpoint; use one of {', '.join(sorted(KNOWN))}")
    if name == "Molecule":
        return {"class": name, "arguments": value.to_json()}
    # Records and the features keep every constructor argument as an attribute of the same name.
    names = inspect.signature(type(value)).parameters
    arguments = getattr(value, "arguments", None) or {key: getattr(value, key) for key in names}
    return {"class": name, "arguments": {key: describe(item) for key, item in arguments.items()}}


def build(recipe: Any) -> Any:
    """The inverse of `describe`.

    Raises:
        MdgenError: if the recipe names a class that is none of `KNOWN`.
    """
    if isinstance(recipe, list):
        return [build(item) for item in recipe]
    if not isinstance(recipe, dict):
        return recipe
    name = recipe["class"]
    if not isinstance(name, str) or name not in KNOWN:
        raise MdgenError(
            f"the checkpoint names {name!r}, which mdgen does not know; it may be damaged or made by others"
        )
    found = getattr(importlib.import_module(KNOWN[name]), name)
    if name == "Molecule":
        return found.from_json(recipe["arguments"])
    return found(**{key: build(item) for key, item in recipe["arguments"].items()})
