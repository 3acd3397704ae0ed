"""`mdgen compare RUN RUN`: which differences between two evaluations exceed their intervals."""

import logging
from typing import Any

from mdgen.apps.config.instantiation import required
from mdgen.evaluation import compare, comparison_table, read_metrics, unlike

logger = logging.getLogger("mdgen")


def run(config: dict[str, Any]) -> None:
    """Print the comparison."""
    required(config, "first", "second")
    first, second = read_metrics(config["first"]), read_metrics(config["second"])
    differences = compare(first, second, config["row"])
    logger.info("%s", comparison_table(differences, first.name, second.name))
    for sentence in unlike(first, second, config["row"]):
        logger.warning("%s", sentence)
