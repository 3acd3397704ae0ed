"""Tensors with a header of JSON in one safetensors file, with a checksum over all of it."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from mdgen.documents import is_sealed, parse, seal, unsealed_field
from mdgen.files import write_aside

Header = TypeVar("Header")

_KEY = "mdgen"


def save_tensors(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write tensors and a header, aside and renamed.

    Args:
        path: file.
        tensors: tensors by name, copied to the CPU.
        header: plain JSON.

    Raises:
        MdgenError: if it cannot be written.
    """
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    write_aside(path, seal(save(plain, {_KEY: json.dumps(header), **unsealed_field()})))


def read_header(content: bytes, kind: type[Header]) -> Header:
    """The header in the bytes of a file that `save_tensors` wrote.

    Raises:
        ValueError: if they are of no such file, or the header is not of the type `kind`.
    """
    try:
        (length,) = struct.unpack_from("<Q", content)
        header = json.loads(content[8 : 8 + length])["__metadata__"][_KEY]
    except (struct.error, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise ValueError("it is no safetensors file of mdgen's") from error
    if not isinstance(header, str):
        raise ValueError("its header is no text")
    return parse(kind, header)


def load_tensors(content: bytes) -> dict[str, Tensor]:
    """The tensors in the bytes of a file that `save_tensors` wrote.

    Raises:
        ValueError: if a bit of them is not as it was written.
    """
    if not is_sealed(content):
        raise ValueError("its checksum is wrong, so it is not as it was written")
    try:
        return load(content)
    except (SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(" ".join(str(error).split())[:200]) from error
