"""Fingerprints of potentials: a hash of every number, by which a resumed run knows that nothing has changed."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256
from typing import Any

from torch import Tensor


def fingerprint(kind: str, numbers: Mapping[str, Any]) -> str:
    """SHA-256 of a potential.

    Args:
        kind: name of its class.
        numbers: what it computes with, by name: tensors, numbers, text; dataclasses, mappings and sequences of such.
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
        array = value.detach().cpu().contiguous()
        return [f"{array.dtype}{tuple(array.shape)}".encode(), array.numpy().tobytes()]
    if is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in fields(value)}
    if isinstance(value, Mapping):
        return [part for name, member in value.items() for part in (f"\0{name}\0".encode(), *_contents(member))]
    if isinstance(value, list | tuple):
        return [f"[{len(value)}]".encode(), *(part for member in value for part in _contents(member))]
    return [repr(value).encode()]
