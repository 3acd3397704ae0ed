"""Opening the trajectories that a config names."""

from pathlib import Path
from typing import Any

from mdgen.data.fraction import take_fraction
from mdgen.data.store import is_store
from mdgen.data.trajectories import TrajectorySet, open_trajectories
from mdgen.errors import MdgenError

STORE = "trajectories"
"""The store within the run folder of a simulation or a generation."""


def open_data(config: dict[str, Any], what: str = "data") -> TrajectorySet:
    """The trajectories of a `data` config: files or stores, and the fraction of their frames.

    Args:
        config: `trajectories`, `topology`, `frame_spacing_ps`, `fraction`.
        what: the config's name, for messages.

    Raises:
        MdgenError: if none are named, or they cannot be read as asked.
    """
    named = config["trajectories"]
    if named is None or named == []:
        raise MdgenError(f"no trajectories were named: give {what}.trajectories=FILES (a run folder, files or a glob)")
    paths = [_resolved(Path(path)) for path in (named if isinstance(named, list) else [named])]
    spacing = config["frame_spacing_ps"]
    opened = open_trajectories(paths, config["topology"], None if spacing is None else float(spacing))
    shares = config["fraction"]
    if not isinstance(shares, list) or len(shares) != 2:
        raise MdgenError(f"{what}.fraction is {shares}; expected two shares, such as [0.0, 0.5]")
    return take_fraction(opened, float(shares[0]), float(shares[1]))


def _resolved(path: Path) -> Path:
    """A run folder stands for the store in it."""
    store = path / STORE
    if not is_store(path) and is_store(store):
        if not (path / "DONE").is_file():
            raise MdgenError(f"the run in {path} is not finished; finish it by running its command again")
        return store
    return path
