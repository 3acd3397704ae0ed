"""Fingerprints of potentials: a hash of every number, by which a resumed run knows that nothing has changed."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mdgen.errors import MdgenError


def fingerprint(kind: str, numbers: Mapping[str, Any]) -> str:
    """SHA-256 of a potential.

    Args:
        kind: name of its class.
        numbers: what it computes with, by name: tensors, arrays, numbers, text, modules; dataclasses, mappings and
            sequences of such.

    Raises:
        MdgenError: for a value of another kind, which nothing could tell from another of its kind.
    """
    digest = sha256(kind.encode())
    for content in _contents(numbers):
        digest.update(content)
    return digest.hexdigest()


class Fingerprinted:
    """A potential whose public attributes are all that it computes with."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its numbers."""
        own = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return fingerprint(type(self).__name__, own)


def _contents(value: Any) -> list[bytes]:
    if isinstance(value, Tensor):
        array = value.detach().cpu().clone(memory_format=torch.contiguous_format)  # tables of one row keep odd strides
        return [f"{array.dtype}{tuple(array.shape)}".encode(), array.reshape(-1).view(torch.uint8).numpy().tobytes()]
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        return [f"{value.dtype}{value.shape}".encode(), np.ascontiguousarray(value).tobytes()]
    if isinstance(value, nn.Module):
        # The names that begin with an underscore are torch's own; what they hold stands in the state and the children.
        own = {name: member for name, member in vars(value).items() if not name.startswith("_") and name != "training"}
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        state = dict(value.named_parameters(recurse=False)) | dict(value.named_buffers(recurse=False))
        value = {"class": kind, **own, **state, **dict(value.named_children())}
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return [part for name, member in value.items() for part in (f"\0{name}\0".encode(), *_contents(member))]
    if isinstance(value, list | tuple):
        return [f"[{len(value)}]".encode(), *(part for member in value for part in _contents(member))]
    if value is None or isinstance(value, bool | int | float | complex | str | bytes | torch.dtype | np.generic):
        return [repr(value).encode()]
    if callable(value) and hasattr(value, "__qualname__"):
        return [f"{value.__module__}.{value.__qualname__}".encode()]
    raise MdgenError(
        f"a potential holds a {type(value).__name__}, of which no fingerprint can be made; keep tensors, arrays, "
        "numbers or text in it, or give it a `fingerprint` of its own"
    )
