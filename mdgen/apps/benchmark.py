"""`mdgen benchmark`: experiments with known answers, and speed, each into one JSON file."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mdgen.apps import charge_recovery
from mdgen.apps.config.instantiation import instantiate
from mdgen.apps.runs.provenance import provenance
from mdgen.apps.runs.threads import use_threads
from mdgen.benchmarks.charge_recovery import ChargeRecoverySettings
from mdgen.benchmarks.four_wells import FourWellsSettings, run_four_wells
from mdgen.benchmarks.speed.speed_plots import write_speed_plots
from mdgen.benchmarks.speed.speed_suite import SpeedSettings, run_speed
from mdgen.benchmarks.validation.validation_suite import TrustSettings, run_trust
from mdgen.errors import MdgenError
from mdgen.progress import duration
from mdgen.results import Acceptance, acceptance_table, write_result

logger = logging.getLogger("mdgen")

Figures = tuple[dict[str, Any], list[Acceptance]]

SUITES: dict[type, Callable[[Any, Path], Figures]] = {
    FourWellsSettings: lambda settings, side_file: run_four_wells(settings),
    TrustSettings: lambda settings, side_file: run_trust(settings),
    SpeedSettings: run_speed,
    ChargeRecoverySettings: charge_recovery.run,
}
"""What runs a suite, by the class of its settings; the side file is for what a run that was stopped can go on from."""

PLOTS: dict[type, Callable[[dict[str, Any], Path], list[Path]]] = {
    SpeedSettings: write_speed_plots,
    ChargeRecoverySettings: charge_recovery.write_charge_recovery_plot,
}
"""What draws a suite's figures beside its result."""


def run(config: dict[str, Any]) -> None:
    """Run one suite and write its figures and acceptance."""
    output = Path(config["output"])
    if output.suffix != ".json" or output.is_dir():
        raise MdgenError(f"output={output}: expected a file that ends in .json")
    use_threads(config["threads"])
    begin = time.monotonic()
    settings = instantiate(config["suite"])
    figures, rows = SUITES[type(settings)](settings, output.with_name(f".{output.stem}.partial.json"))
    write_result(output, {"provenance": provenance(int(config["seed"])), **figures}, rows)
    for path in PLOTS.get(type(settings), lambda figures, output: [])(figures, output):
        logger.info("benchmark     drawn: %s", path)
    took = duration(time.monotonic() - begin)
    logger.info("\n%s\n\nbenchmark     done in %s; %s", acceptance_table(rows), took, output)
