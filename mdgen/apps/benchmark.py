"""`mdgen benchmark`: experiments with known answers, and speed, each into one JSON file."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mdgen.apps.instantiation import instantiate
from mdgen.apps.provenance import provenance
from mdgen.apps.threads import use_threads
from mdgen.errors import MdgenError
from mdgen.md.trust.suite import TrustSettings, run_trust
from mdgen.progress import duration
from mdgen.results import Acceptance, acceptance_table, write_result
from mdgen.training.four_wells import FourWellsSettings, run_four_wells

logger = logging.getLogger("mdgen")

Figures = tuple[dict[str, Any], list[Acceptance]]

SUITES: dict[type, Callable[[Any], Figures]] = {FourWellsSettings: run_four_wells, TrustSettings: run_trust}
"""What runs a suite, by the class of its settings."""


def run(config: dict[str, Any]) -> None:
    """Run one suite and write its figures and acceptance."""
    output = Path(config["output"])
    if output.suffix != ".json" or output.is_dir():
        raise MdgenError(f"output={output}: expected a file that ends in .json")
    use_threads(config["threads"])
    begin = time.monotonic()
    settings = instantiate(config["suite"])
    figures, rows = SUITES[type(settings)](settings)
    write_result(output, {"provenance": provenance(int(config["seed"])), **figures}, rows)
    took = duration(time.monotonic() - begin)
    logger.info("\n%s\n\nbenchmark     done in %s; %s", acceptance_table(rows), took, output)
