"""A trained simulator from the folder of a run."""

from pathlib import Path
from typing import Any

from mdgen.documents import FilePath, read_json
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
    parts: dict[str, Any] = {}
    for path, (part, kind) in zip(_files(folder), PARTS.items(), strict=True):
        parts[part] = load_model(path)
        if not isinstance(parts[part], kind):
            found = type(parts[part]).__name__
            raise MdgenError(f"{path} holds a {found}, which is no {part}; name a run that trained one")
    return LatentSimulator(**parts)


def _files(folder: Path) -> list[Path]:
    named = folder / "simulator.json"
    if named.is_file():
        paths = read_json(named, dict[str, FilePath], "generate again")
        if not paths.keys() >= PARTS.keys():
            raise MdgenError(f"{named} does not name an encoder, a propagator and a decoder; write it again")
        files = [folder / paths[part] for part in PARTS]
    else:
        files = [folder / f"{part}.safetensors" for part in PARTS]
    missing = [str(file.name) for file in files if not file.is_file()]
    if missing:
        raise MdgenError(f"{folder} lacks {', '.join(missing)}; give the folder of a finished run of `mdgen train`")
    return files
