"""Plots of the losses of the trainings behind the generated trajectories."""

import numpy as np

from mdgen.evaluation.report.canvas import Plot, file_name, legend_above, new_figure, to_svg
from mdgen.evaluation.result import Evaluation

STYLES = {"train": "-", "validation": "--"}
PALETTE = ("#16181d", "#e2572b", "#3f7cac", "#7a6bb0", "#8b909a")
MOST_POINTS = 500


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
