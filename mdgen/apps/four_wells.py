"""The four-well experiment as a run of its own: encoder and propagator where the answer is known."""

import json
import logging
from pathlib import Path
from typing import Any

from mdgen.apps.config.instantiation import instantiate
from mdgen.apps.runs.run_folder import open_run
from mdgen.apps.runs.threads import use_threads
from mdgen.benchmarks.four_wells import run_four_wells
from mdgen.progress import duration
from mdgen.results import Acceptance

logger = logging.getLogger("mdgen")


def run(config: dict[str, Any]) -> None:
    """Train both parts on the chain and hold them against it."""
    use_threads(config["threads"])
    with open_run(config["output"], "four_wells", config) as folder:
        if folder.done:
            logger.info("four_wells    done already: %s", folder.path)
            return
        figures, rows = run_four_wells(instantiate(config["suite"]), folder.path)
        folder.finish(figures, rows)
        logger.info("four_wells    done in %s; %s", duration(folder.seconds), folder.path / "metrics.json")


def acceptance_of(path: str | Path) -> list[Acceptance]:
    """The acceptance rows of a finished run."""
    stored = json.loads((Path(path) / "metrics.json").read_text())["acceptance"]
    return [Acceptance(**row) for row in stored]
