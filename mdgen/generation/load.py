"""A trained simulator from the folder of a run."""

import json
from pathlib import Path
from typing import Any

from torch import nn

from mdgen.errors import MdgenError
from mdgen.generation.simulator import LatentSimulator
from mdgen.interfaces import Decoder, Encoder, Propagator
from mdgen.models.checkpoint import load_model

PARTS: dict[str, Any] = {"encoder": Encoder, "propagator": Propagator, "decoder": Decoder}


def load(run: Path | str) -> LatentSimulator:
    """The simulator that a run trained, or one that a run used.

    Args:
        run: a folder with `encoder.safetensors`, `propagator.safetensors` and `decoder.safetensors`, or with a
            `simulator.json` that names these three files, relative to the folder.

    Raises:
        MdgenError: if the folder lacks a part, or the parts do not belong together.
    """
    folder = Path(run)
    if not folder.is_dir():
        raise MdgenError(f"{folder} is not a folder; give the folder of a run of `mdgen train`")
    encoder, propagator, decoder = (
        _as_part(load_model(path), path, part) for path, part in zip(_files(folder), PARTS, strict=True)
    )
    return LatentSimulator(encoder, propagator, decoder)


def _as_part(module: nn.Module, path: Path, part: str) -> Any:
    if not isinstance(module, PARTS[part]):
        raise MdgenError(f"{path} holds a {type(module).__name__}, which is no {part}; name a run that trained one")
    return module


def _files(folder: Path) -> list[Path]:
    named = folder / "simulator.json"
    if named.is_file():
        try:
            paths = json.loads(named.read_text())
            files = [folder / paths[part] for part in PARTS]
        except (ValueError, KeyError, TypeError) as error:
            raise MdgenError(f"{named} does not name an encoder, a propagator and a decoder; write it again") from error
    else:
        files = [folder / f"{part}.safetensors" for part in PARTS]
    missing = [str(file.name) for file in files if not file.is_file()]
    if missing:
        raise MdgenError(f"{folder} lacks {', '.join(missing)}; give the folder of a finished run of `mdgen train`")
    return files
