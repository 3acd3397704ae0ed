"""The parts that training runs have written."""

from pathlib import Path

from mdgen.errors import MdgenError
from mdgen.interfaces import Encoder
from mdgen.models.checkpoint import load_model


def part_file(run: str | Path, part: str) -> Path:
    """The file of a trained part: named itself, or lying in its run folder.

    Raises:
        MdgenError: if there is none.
    """
    path = Path(run)
    file = path / f"{part}.safetensors" if path.is_dir() else path
    if not file.is_file():
        raise MdgenError(f"{part}_run={run} holds no {part}.safetensors; train one with `mdgen train {part}=...` first")
    return file


def load_encoder(run: str | Path) -> Encoder:
    """The encoder of a run.

    Raises:
        MdgenError: if there is none, or the file holds another kind of part.
    """
    module = load_model(part_file(run, "encoder"))
    if not isinstance(module, Encoder):
        raise MdgenError(f"{run} holds a {type(module).__name__}, which is no encoder; name an encoder's run")
    return module
