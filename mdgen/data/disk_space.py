"""Whether the disk has room for what a run is about to write."""

import shutil
from pathlib import Path

from mdgen.data.store import TrajectoryStore, is_store
from mdgen.errors import MdgenError


def require_space(path: Path | str, n_frames: int, n_trajectories: int, n_atoms: int, cells: bool, advice: str) -> None:
    """Raise unless the disk of a trajectory store has room for the frames that it does not hold yet.

    Args:
        path: folder of the store, which need not be there yet.
        n_frames: frames of each trajectory in the end, those that are stored included.
        n_trajectories: trajectories that grow.
        n_atoms: atoms of a frame.
        cells: whether frames have a periodic box.
        advice: what to change where they do not fit.

    Raises:
        MdgenError: if they do not fit; it names both sizes.
    """
    path = Path(path)
    stored = TrajectoryStore.open(path).n_frames if is_store(path) else 0
    needed = 12 * (n_frames - stored) * n_trajectories * (n_atoms + 3 * cells)
    free = shutil.disk_usage(next(each for each in (path, *path.absolute().parents) if each.is_dir())).free
    if needed > free:
        raise MdgenError(
            f"the frames to come take {needed / 1e9:.3g} GB, but the disk of {path} has {free / 1e9:.3g} GB left; "
            f"{advice}"
        )
