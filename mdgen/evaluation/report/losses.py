"""Losses of training runs, read from the tables that they logged, and their plots."""

import csv
from pathlib import Path

import numpy as np
from jaxtyping import Float

from mdgen.errors import MdgenError
from mdgen.evaluation.report.canvas import Plot, file_name, legend_above, new_figure, to_svg
from mdgen.evaluation.result import Evaluation

LOG = Path("log") / "metrics.csv"
"""Table of a training run, relative to its folder."""

STYLES = {"train": "-", "validation": "--"}
PALETTE = ("#16181d", "#e2572b", "#3f7cac", "#7a6bb0", "#8b909a")
MOST_POINTS = 500


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


def loss_plots(result: Evaluation) -> list[Plot]:
    """One plot a training: its losses, on training data drawn solid and on validation data dashed."""
    runs: dict[str, dict[str, np.ndarray]] = {}
    for key, values in result.curves.items():
        if key.startswith("loss/"):
            _, run, quantity = key.split("/", 2)
            runs.setdefault(run, {})[quantity] = values
    return [_plot(run, _chosen(quantities)) for run, quantities in runs.items()]


def _chosen(quantities: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The loss itself where there is one, else every term of it."""
    losses = {name: values for name, values in quantities.items() if name.split("/")[-1] == "loss"}
    return losses or quantities


def _plot(run: str, quantities: dict[str, np.ndarray]) -> Plot:
    figure, axes = new_figure()
    terms = list(dict.fromkeys(name.split("/")[-1] for name in quantities))[: len(PALETTE)]
    for name, (steps, values) in quantities.items():
        part, term = name.split("/")[0], name.split("/")[-1]
        if term in terms:
            every = max(1, len(steps) // MOST_POINTS)
            label = part if len(terms) == 1 else term if part == name else f"{term}, {part}"
            axes.plot(
                steps[::every], values[::every], STYLES.get(part, "-"), lw=1.4, color=PALETTE[terms.index(term)],
                label=label.replace("_", " ").removesuffix(", train"), marker="o" if len(steps) < 3 else None,
            )  # fmt: skip
    axes.set(xlabel="step", ylabel="loss")
    if len(terms) > 2:
        axes.legend(fontsize=8)
    else:
        legend_above(figure, axes)
    caption = f"Training of the {run}: solid on training data, dashed on validation data."
    return Plot(f"loss_{file_name(run)}", "Training", caption, to_svg(figure))
