"""Shared parts of all plots: style, colours, lines, free-energy maps, legends and files."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from mdgen.evaluation.result import Evaluation
from mdgen.files import write_aside

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
"""Largest number of Ramachandran maps and of torsion histograms, those furthest from MD; the tables hold the rest."""

GUIDE: Any = {"color": "#5b606b", "lw": 1.3, "ls": (0, (0.5, 2.5)), "dash_capstyle": "round"}
"""Dotted lines, such as those at a level."""


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


def drawn_torsions(result: Evaluation) -> list[int]:
    """Torsions that are drawn, in their order: all, or those furthest from MD."""
    return _furthest(result, "torsion_jsd/", [str(name) for name in result.curves["torsion_names"]], MOST_TORSIONS)


def residues(result: Evaluation) -> list[str]:
    """Residues with phi and psi."""
    return [key.split("/", 2)[2] for key in result.curves if key.startswith("ramachandran_kT/reference/")]


def drawn_residues(result: Evaluation) -> list[str]:
    """Residues that are drawn, in their order: all, or those furthest from MD."""
    names = residues(result)
    return [names[i] for i in _furthest(result, "torsion_pair_jsd/", names, MOST_RESIDUES)]


def _furthest(result: Evaluation, kind: str, names: list[str], most: int) -> list[int]:
    metrics = result.rows[main_row(result)].metrics
    distances = np.array([metrics[kind + name].value if kind + name in metrics else 0.0 for name in names])
    return sorted(np.argsort(-distances, kind="stable")[:most].tolist())


def cut_note(result: Evaluation, section: str) -> str:
    """What a section does not draw; empty where it draws everything."""
    torsions = len(result.curves.get("torsion_names", ()))
    if section in ("Distributions", "Kinetics") and torsions > MOST_TORSIONS:
        return f"Drawn are the {MOST_TORSIONS} of {torsions} torsions furthest from MD; the last table has them all."
    if section == "Free energies" and len(residues(result)) > MOST_RESIDUES:
        return (
            f"Drawn are the {MOST_RESIDUES} of {len(residues(result))} residues whose phi and psi lie furthest from MD."
        )
    return ""


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


def write_png(path: Path, draw: Callable[[], Figure]) -> Path:
    """Write the figure that `draw` makes, in the style of the reports on white; returns `path`.

    Raises:
        MdgenError: if it cannot be written.
    """
    content = io.BytesIO()
    with matplotlib.rc_context(STYLE | {"figure.facecolor": "white"}):
        draw().savefig(content, dpi=160, facecolor="white", format="png")
    write_aside(path, content.getvalue())
    return path


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
