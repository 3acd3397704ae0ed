"""`mdgen export RUN`: trajectories of a run as files of other programs."""

import logging
from pathlib import Path
from typing import Any

import mdgen.data.opening as opening
from mdgen.apps.config.instantiation import required
from mdgen.data.export import TOPOLOGY, export_trajectories

logger = logging.getLogger("mdgen")


def run(config: dict[str, Any]) -> None:
    """Write the files."""
    required(config, "run")
    opened = opening.open(config["run"])
    folder = Path(config["run"]) / "export" if config["output"] is None else Path(config["output"])
    files = export_trajectories(opened, folder, config["to"], config["atoms"], int(config["stride"]))
    logger.info(
        "export        %d files %s to %s, with %s", len(files), files[0].name, files[-1].name, folder / TOPOLOGY
    )
