"""Shared parts of all plots: style, colours, lines, free-energy maps and legends."""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from mdgen.evaluation.result import Evaluation

COLOURS = {
    "reference": "#16181d",
    "replicate": "#8b909a",
    "generated": "#e2572b",
    "generated_all": "#e2572b",
    "shuffled": "#3f7cac",
    "floor": "#b9bec7",
    "md_floor": "#7a6bb0",
}
"""MD is black, its replicate grey, the generated row orange, shuffled MD blue and dashed, the MD floor violet."""

STYLE: Any = dict(
    matplotlib.rc_params_from_file(Path(__file__).with_name("report.mplstyle"), use_default_template=False)
)

LANDSCAPE_KT = 8.0
"""Top of the colour scale of free-energy maps."""

MOST_RESIDUES, MOST_TORSIONS = 8, 24
"""Largest number of Ramachandran maps and of torsion histograms; the tables hold the rest."""


@dataclass(frozen=True)
class Plot:
    """A drawing as an `<svg>` element, with the name of its file, its section of the report, and the line below it.

    `wide` ones take the whole width.
    """

    name: str
    section: str
    caption: str
    svg: str
    wide: bool = False


def main_row(result: Evaluation) -> str:
    """The row of all generated frames."""
    return "generated_all" if "generated_all" in result.rows else "generated"


def compared(result: Evaluation) -> list[str]:
    """Rows that every plot shows: the reference, its replicate, the generated."""
    return ["reference", "replicate", main_row(result)]


def new_figure(width: float = 4.2, height: float = 3.1) -> tuple[Figure, Axes]:
    """A figure with one set of axes; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def to_svg(figure: Figure) -> str:
    """The figure as an `<svg>` element, the same each time."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, dpi=150)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def angle_axis(axis: matplotlib.axis.Axis) -> None:
    """Ticks every quarter turn, in degrees."""
    axis.set_major_locator(MultipleLocator(np.pi / 2))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{np.degrees(value):.0f}°"))


def free_energy_map(
    result: Evaluation, row: str, energy: np.ndarray, extent: tuple[float, float, float, float], x: str, y: str
) -> tuple[Figure, Axes]:
    """A free energy over a plane, in kT, with its scale and titled by its row."""
    figure, axes = new_figure(3.9, 3.3)
    shown = np.ma.masked_invalid(np.where(energy > LANDSCAPE_KT, LANDSCAPE_KT, energy))
    shown.mask = ~np.isfinite(energy)
    image = axes.imshow(
        shown.T, origin="lower", extent=extent, cmap="viridis_r", vmin=0, vmax=LANDSCAPE_KT, interpolation="nearest",
        aspect="auto",
    )  # fmt: skip
    figure.colorbar(image, ax=axes, label="F (kT)", shrink=0.92)
    axes.set(xlabel=x, ylabel=y, title=result.rows[row].label)
    return figure, axes


def tica_map(result: Evaluation, row: str, energy_of: str) -> tuple[Figure, Axes]:
    """The free energy of a row over the two slowest linear coordinates, titled by the first one."""
    (x0, y0), (x1, y1) = result.curves["tica_axis"].tolist()
    energy = result.curves[f"tica_kT/{energy_of}"]
    return free_energy_map(result, row, energy, (x0, x1, y0, y1), "TICA 0", "TICA 1")


def draw_line(axes: Axes, result: Evaluation, row: str, x: np.ndarray, y: np.ndarray) -> None:
    """A line in the colour of its row."""
    wide, dashes = 1.9 if row.startswith("generated") else 1.4, "--" if row == "shuffled" else "-"
    axes.plot(x, y, color=COLOURS[row], lw=wide, ls=dashes, label=result.rows[row].label)


def legend_above(figure: Figure, axes: Axes) -> None:
    """The legend in one line above the axes."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper left", ncols=len(labels), handlelength=1.1, columnspacing=0.9,
        handletextpad=0.4, borderaxespad=0.2, fontsize=8.5 if len(labels) > 3 else 9,
    )  # fmt: skip


def file_name(text: str) -> str:
    """Letters and digits of a label, for the name of a file."""
    return "".join(letter if letter.isalnum() else "_" for letter in text)
