"""Losses of training runs, read from the tables that they logged, as curves for the report."""

import csv
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mdgen.errors import MdgenError

LOG = Path("log") / "metrics.csv"
"""Table of a training run, relative to its folder."""


def read_losses(run: Path | str) -> dict[str, Float[np.ndarray, "2 point"]]:
    """Each logged quantity of a training as steps and values, by the name of its column.

    Args:
        run: folder of a training run, or any CSV table with a column `step` and one column a quantity; empty cells
            are left out.

    Raises:
        MdgenError: if there is no such table, or it cannot be read as one.
    """
    path = Path(run)
    file = path / LOG if path.is_dir() else path
    if not file.is_file():
        raise MdgenError(f"there is no table of losses {file}; name a folder that `mdgen train` wrote, or a CSV file")
    try:
        with file.open(encoding="utf-8", newline="") as text:
            lines = list(csv.DictReader(text))
        if not lines or "step" not in lines[0]:
            raise MdgenError(f"{file} has no column 'step' and lines below it; name the CSV table of a training")
        columns = [name for name in lines[0] if name not in ("step", "epoch")]
        found = {
            name: np.array([(float(line["step"]), float(line[name])) for line in lines if line[name]])
            for name in columns
        }
    except (ValueError, KeyError, TypeError, UnicodeDecodeError, csv.Error) as error:
        raise MdgenError(f"{file} is no table of losses ({error}); name the CSV table of a training") from error
    return {name: values.T for name, values in found.items() if len(values)}


def loss_curves(runs: dict[str, Path]) -> dict[str, np.ndarray]:
    """Curves `loss/RUN/QUANTITY` for a report, given the runs by their names in it.

    Raises:
        MdgenError: as `read_losses`.
    """
    return {
        f"loss/{name}/{quantity}": values for name, run in runs.items() for quantity, values in read_losses(run).items()
    }
