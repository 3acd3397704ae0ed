"""Tensors of an interrupted experiment in a file, with the settings that they belong to."""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.files import write_aside


def save_tensors(path: Path | None, tensors: dict[str, Tensor], settings: dict[str, Any]) -> None:
    """Write `tensors` with `settings` in the header; nothing is written where `path` is None."""
    if path is not None:
        whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
        write_aside(path, safetensors.torch.save(whole, {"settings": json.dumps(settings)}))


def load_tensors(path: Path | None, settings: dict[str, Any]) -> dict[str, Tensor] | None:
    """Tensors that `save_tensors` wrote; None if there is no file.

    Raises:
        MdgenError: if the file cannot be read, or belongs to other settings.
    """
    if path is None or not path.is_file():
        return None
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            found = json.loads((file.metadata() or {}).get("settings", "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dictionary
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise MdgenError(f"{path} cannot be read ({reason}); delete it to start again") from error
    for key, value in settings.items():
        if found.get(key) != value:
            raise MdgenError(
                f"{path} belongs to {key}={found.get(key)!r}, but {key}={value!r} is asked for; name another output, "
                "or restore that setting to resume"
            )
    return tensors
