"""`mdgen verify RUN`: whether everything in a run folder is as it was written."""

import logging
from pathlib import Path
from typing import Any

from mdgen.apps.config.instantiation import required
from mdgen.apps.runs.verification import verify
from mdgen.errors import MdgenError

logger = logging.getLogger("mdgen")


def run(config: dict[str, Any]) -> None:
    """Compare every file with its checksum.

    Raises:
        MdgenError: naming the files that are missing or damaged.
    """
    required(config, "run")
    found = verify(Path(config["run"]))
    for each in found.damage:
        logger.error("damaged       %s", each)
    if found.damage:
        raise MdgenError(
            f"{len(found.damage)} of {found.files} files of {config['run']} are missing or not as they were written; "
            "copy them again, or delete the folder and run its command again"
        )
    logger.info("verify        %d files, %.4g MB, all as they were written", found.files, found.bytes / 1e6)
