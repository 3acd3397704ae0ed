"""A bound on the memory that building a part takes, so that a small file cannot ask for a large one."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

_SPARE_BYTES = 2**24
_SPARE_TENSORS = 2_000
_LARGER = 8


class _Limit(TorchDispatchMode):
    """Refuses an operation whose result would not fit, before it is computed: shapes are found on the device `meta`."""

    def __init__(self, bytes_left: int, operations_left: int) -> None:
        super().__init__()
        self._bytes, self._operations = bytes_left, operations_left

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        self._operations -= 1
        if self._operations < 0:
            raise ValueError("it is made of far more tensors than the file holds")
        if not operation.is_view and not operation._schema.is_mutable:
            largest = max(
                (each.numel() * each.element_size() for each in self._results(operation, args, kwargs)), default=0
            )
            self._bytes -= largest
            if self._bytes < 0:
                raise ValueError("it is far larger than the weights that the file holds")
        return operation(*args, **kwargs)

    def _results(self, operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Tensor]:
        described, keys = tree_map(_on_meta, args), tree_map(_on_meta, kwargs)
        if any(argument.name == "device" for argument in operation._schema.arguments):
            keys["device"] = "meta"
        try:
            found = operation(*described, **keys)
        except (RuntimeError, NotImplementedError):  # its shape follows from values: it is made, and seen at the next
            return []
        return [each for each in tree_leaves(found) if isinstance(each, Tensor)]


def _on_meta(value: Any) -> Any:
    return value.to("meta") if isinstance(value, Tensor) else None if isinstance(value, torch.Generator) else value


@contextmanager
def limited_allocation(weights: Iterable[Tensor]) -> Iterator[None]:
    """Within the context, tensors can be made in number and size as it takes to hold `weights`, and not much more.

    Args:
        weights: tensors that are to be filled in.

    Raises:
        ValueError: within the context, when more is asked for.
    """
    kept = list(weights)
    size = sum(each.numel() * each.element_size() for each in kept)
    with _Limit(_LARGER * size + _SPARE_BYTES, 100 * len(kept) + _SPARE_TENSORS):
        yield
