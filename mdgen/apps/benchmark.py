"""`mdgen benchmark`: runs one suite and writes what it measured into one JSON file."""

import logging
import shutil
import time
from pathlib import Path
from typing import Any

from mdgen.apps.config.instantiation import instantiate
from mdgen.apps.runs.provenance import provenance
from mdgen.apps.runs.threads import use_threads
from mdgen.benchmarks.suite import Suite
from mdgen.errors import MdgenError
from mdgen.progress import duration
from mdgen.results import acceptance_table, write_result

logger = logging.getLogger("mdgen")


def run(config: dict[str, Any]) -> None:
    """Run one suite and write its figures, its acceptance and its drawings."""
    output = Path(config["output"])
    if output.suffix != ".json" or output.is_dir():
        raise MdgenError(f"output={output}: expected a file that ends in .json")
    use_threads(config["threads"])
    begin = time.monotonic()
    suite = instantiate(config["suite"])
    if not isinstance(suite, Suite):
        raise MdgenError(f"suite={config['suite'].get('_target_')} is not a suite; derive it from {Suite.__module__}")
    partial = output.with_name(f".{output.stem}.partial")
    figures, rows = suite.run(partial)
    write_result(output, {"provenance": provenance(int(config["seed"])), **figures}, rows)
    shutil.rmtree(partial, ignore_errors=True)
    for path in suite.draw(figures, output):
        logger.info("benchmark     drawn: %s", path)
    took = duration(time.monotonic() - begin)
    logger.info("\n%s\n\nbenchmark     done in %s; %s", acceptance_table(rows), took, output)
