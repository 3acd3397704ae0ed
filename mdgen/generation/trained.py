"""Whatever was trained, from its file or folder: `mdgen.load`."""

from pathlib import Path
from typing import Any

from mdgen.generation import load as simulators
from mdgen.models.checkpoint import load_model


def load(path: Path | str, **options: Any) -> Any:
    """A trained part, or the simulator of three.

    Args:
        path: a `.safetensors` file, or the folder of a run of `mdgen train`: its part; a folder with an encoder, a
            propagator and a decoder, or that of a run of `mdgen generate` or `mdgen demo`: their `LatentSimulator`.
        options: further arguments of `mdgen.generation.load.load`, for simulators.

    Raises:
        MdgenError: if there is nothing trained, or its parts do not belong together.
    """
    given = Path(path)
    if given.is_file():
        return load_model(given)
    parts = sorted(given.glob("*.safetensors"))
    if len(parts) == 1 and not (given / "simulator.json").is_file() and not options:
        return load_model(parts[0])
    within = given / "generate"
    demo = not parts and not (given / "simulator.json").is_file() and (within / "simulator.json").is_file()
    return simulators.load(within if demo else path, **options)
