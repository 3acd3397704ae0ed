"""Opening whatever holds trajectories, for a look at it: `mdgen.open`."""

import logging
from collections.abc import Sequence
from pathlib import Path

from mdgen.data.store import is_store
from mdgen.data.trajectories import STORE, TrajectorySet, open_trajectories
from mdgen.errors import MdgenError
from mdgen.files import MARK
from mdgen.molecule.topology import Molecule

logger = logging.getLogger("mdgen")


def open(
    paths: str | Path | Sequence[str | Path],
    topology: str | Path | Molecule | None = None,
    frame_spacing_ps: float | None = None,
) -> TrajectorySet:
    """Trajectories of a run folder, or of files; each is an `mdtraj.Trajectory` once it is asked for.

    `len` counts them, `for` goes through them, `opened[3]` is the fourth, `opened[3, ::10]` every tenth frame of it.
    Nothing is read before. A run that still goes on is opened as far as it went.

    Args:
        paths: folder of a run of `mdgen simulate` or `mdgen generate`, or what `open_trajectories` takes.
        topology: molecule, or the file that holds it; needed for xtc, dcd, npy and zarr files.
        frame_spacing_ps: time between frames; needed for dcd, pdb, npy and zarr files.

    Raises:
        MdgenError: if there are no trajectories, saying where else to look.
    """
    if not isinstance(paths, (str, Path)) or not Path(paths).is_dir():
        return open_trajectories(paths, topology, frame_spacing_ps)
    run = Path(paths)
    if is_store(run / STORE):
        if not (run / MARK).is_file():
            logger.warning("the run in %s is not finished; it is opened as far as it went", run)
        return open_trajectories(run / STORE, topology, frame_spacing_ps)
    if is_store(run):
        return open_trajectories(run, topology, frame_spacing_ps)
    inside = sorted(str(each.parent) for each in run.glob(f"*/{STORE}"))
    if inside:
        raise MdgenError(f"{run} holds no trajectories itself; name a run within it: {', '.join(inside)}")
    if any(run.glob("*.safetensors")):
        raise MdgenError(f"{run} holds a trained part and no trajectories; mdgen.load({str(run)!r}) reads it")
    return open_trajectories(run, topology, frame_spacing_ps)
