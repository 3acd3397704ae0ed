"""Opening the trajectories that a config names."""

from typing import Any

from mdgen.data.fraction import take_fraction
from mdgen.data.trajectories import STORE, TrajectorySet, open_trajectories
from mdgen.errors import MdgenError

__all__ = ["STORE", "open_data"]


def open_data(config: dict[str, Any], what: str = "data") -> TrajectorySet:
    """The trajectories of one molecule that a `data` config names: files or stores, and the fraction of their frames.

    Args:
        config: `trajectories`, `topology`, `frame_spacing_ps`, `temperature_K`, `fraction`.
        what: name of the config, for messages.

    Raises:
        MdgenError: if none are named, or they cannot be read as asked.
    """
    named = config.get("trajectories")
    if named is None or named == []:
        raise MdgenError(f"no trajectories were named: give {what}.trajectories=FILES (a run folder, files or a glob)")
    spacing, temperature = (config.get(key) for key in ("frame_spacing_ps", "temperature_K"))
    opened = open_trajectories(
        named,
        config.get("topology"),
        None if spacing is None else float(spacing),
        None if temperature is None else float(temperature),
    )
    ends = config["fraction"]
    if not isinstance(ends, list) or len(ends) != 2:
        raise MdgenError(f"{what}.fraction is {ends}; expected two numbers, such as [0.0, 0.5]")
    return take_fraction(opened, float(ends[0]), float(ends[1]))
