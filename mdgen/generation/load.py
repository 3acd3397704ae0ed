"""A trained simulator from the folder of a run, or by the name of a model that comes with the package."""

from pathlib import Path
from typing import Any

import mdtraj

import mdgen
from mdgen.data.trajectories import open_trajectories
from mdgen.documents import FilePath, read_json
from mdgen.errors import MdgenError
from mdgen.generation.simulator import LatentSimulator
from mdgen.interfaces import Decoder, Encoder, Propagator
from mdgen.models.blocks.se3_tokens import KINDS
from mdgen.models.checkpoint import load_model
from mdgen.molecule.tokens import token_layout
from mdgen.molecule.topology import Molecule

PARTS: dict[str, Any] = {"encoder": Encoder, "propagator": Propagator, "decoder": Decoder}


def load(run: Path | str, pdb: Path | str | None = None) -> LatentSimulator:
    """The simulator that a run trained, one that a run used, or one that comes with the package.

    Args:
        run: a folder with `encoder.safetensors`, `propagator.safetensors` and `decoder.safetensors`, or with a
            `simulator.json` that names these three files, relative to the folder; or a name from `pretrained_models`.
        pdb: structure of the molecule, with its hydrogens: needed where the parts are for any molecule and were trained
            on several. Its frames are where rollouts begin that name no start.

    Raises:
        MdgenError: if the folder lacks a part, the parts do not belong together, or they were trained on one molecule
            that is not the one given.
    """
    folder = model_folder(run)
    files = part_files(folder)
    parts: dict[str, Any] = {}
    for part, kind in PARTS.items():
        parts[part] = load_model(files[part])
        if not isinstance(parts[part], kind):
            found = type(parts[part]).__name__
            raise MdgenError(f"{files[part]} holds a {found}, which is no {part}; name a run that trained one")
    start = None if pdb is None and "pdb" not in files else read_structures(pdb if pdb is not None else files["pdb"])
    given = None if start is None else Molecule.from_mdtraj(start.topology)
    if given is not None and parts["encoder"].latent.kind in KINDS:
        token_layout(given)  # says best what a structure lacks
    return LatentSimulator(**parts, molecule=_molecule(parts, given), start=start)


def model_folder(run: Path | str) -> Path:
    """The folder of a run, or of a model of the package that is given by its name.

    Raises:
        MdgenError: if there is none.
    """
    folder = Path(run)
    if folder.is_dir():
        return folder
    named = pretrained_models()
    if str(run) not in named:
        raise MdgenError(
            f"{run} is not a folder; give the folder of a run of `mdgen train`, or a model that comes with mdgen: "
            f"{', '.join(named) or 'none here'}"
        )
    return named[str(run)]


def pretrained_models() -> dict[str, Path]:
    """Folders of the models that come with the package, by name."""
    package = Path(mdgen.__file__).parent
    # Inside the package when it was installed from a wheel, beside it in a checkout.
    homes = [home for home in (package / "pretrained", package.parent / "data" / "pretrained") if home.is_dir()]
    return {each.name: each for home in homes[:1] for each in sorted(home.iterdir()) if each.is_dir()}


def part_files(folder: Path) -> dict[str, Path]:
    """The file of each part in a folder that `load` takes, and `pdb` where it names one.

    Raises:
        MdgenError: if one is missing.
    """
    named = folder / "simulator.json"
    if named.is_file():
        paths = read_json(named, dict[str, FilePath], "generate again")
        if not paths.keys() >= PARTS.keys():
            raise MdgenError(f"{named} does not name an encoder, a propagator and a decoder; write it again")
        files = {part: folder / paths[part] for part in (*PARTS, *(["pdb"] if "pdb" in paths else []))}
    else:
        files = {part: folder / f"{part}.safetensors" for part in PARTS}
    missing = [str(file.name) for file in files.values() if not file.is_file()]
    if missing:
        raise MdgenError(f"{folder} lacks {', '.join(missing)}; give the folder of a finished run of `mdgen train`")
    return files


def read_structures(path: Path | str) -> mdtraj.Trajectory:
    """The frames of a structure file, whatever time lies between them.

    Raises:
        MdgenError: if the file cannot be read, or does not say which molecule it holds.
    """
    try:
        return open_trajectories(path, path).trajectory(0)
    except MdgenError:  # a file that states no spacing, as pdb
        return open_trajectories(path, path, frame_spacing_ps=1.0).trajectory(0)


def _molecule(parts: dict[str, Any], given: Molecule | None) -> Molecule | None:
    """The molecule of a simulator: the one given, or the only one that the parts have seen.

    Raises:
        MdgenError: if the parts have seen only one, and it has other residues than the one given.
    """
    stored = [(getattr(part, "metadata", None) or {}).get("topology") for part in parts.values()]
    seen = next((Molecule.from_json(each) for each in stored if each is not None), None)
    if given is None or seen is None:
        return given or seen
    mine, theirs = (" ".join(residue.name for residue in each.topology.residues) for each in (given, seen))
    if mine != theirs:
        raise MdgenError(
            f"the model was trained on {theirs} alone, and the structure holds {mine}; give a structure of that "
            "molecule, or a model that was trained on many"
        )
    return given
