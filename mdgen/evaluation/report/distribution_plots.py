"""Plots of distributions, free energies, structure and energies."""

import numpy as np

from mdgen.evaluation.report.canvas import (
    COLOURS,
    GUIDE,
    Plot,
    angle_axis,
    compared,
    draw_line,
    drawn_residues,
    drawn_torsions,
    file_name,
    free_energy_map,
    legend_above,
    new_figure,
    tica_map,
    to_svg,
)
from mdgen.evaluation.result import Evaluation


def distance_plots(result: Evaluation) -> list[Plot]:
    """Distances of each torsion with their intervals, the rows side by side."""
    names = [str(name) for name in result.curves["torsion_names"]]
    if not names:
        return []
    names = ["all", *names]
    figure, axes = new_figure(6.0, 1.3 + 0.3 * len(names))
    rows = [name for name in ("floor", "md_floor", "shuffled", "replicate", "generated") if name in result.rows]
    for offset, row in enumerate(rows):
        found = [result.rows[row].metrics[f"torsion_jsd/{name}"] for name in names]
        y = np.arange(len(names)) + (offset - (len(rows) - 1) / 2) * 0.15
        values = np.array([estimate.value for estimate in found])
        low = np.array([e.value if e.low is None else e.low for e in found])
        high = np.array([e.value if e.high is None else e.high for e in found])
        axes.errorbar(
            values, y, xerr=[(values - low).clip(0), (high - values).clip(0)], fmt="o", ms=4.5, lw=1.2,
            color=COLOURS[row], label=result.rows[row].label,
        )  # fmt: skip
    axes.set_yticks(np.arange(len(names)), ["mean of all", *names[1:]])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim(left=0)
    axes.set_xlabel("Jensen-Shannon distance from MD (0 to 0.83)")
    axes.grid(axis="y", color="#eceef1", lw=0.8)
    axes.set_axisbelow(True)
    figure.legend(loc="outside upper left", ncols=len(rows), handletextpad=0.2, columnspacing=1.2)
    caption = "How far each torsion's distribution lies from that of MD, at equal frames; bars are 95 % intervals."
    return [Plot("torsion_distances", "Distributions", caption, to_svg(figure), wide=True)]


def torsion_plots(result: Evaluation) -> list[Plot]:
    """The distribution of each torsion."""
    drawn = []
    for index in drawn_torsions(result):
        name = result.curves["torsion_names"][index]
        figure, axes = new_figure()
        for row in compared(result):
            density = result.curves[f"torsion_density/{row}"][index]
            centres = (np.arange(len(density)) + 0.5) * 2 * np.pi / len(density) - np.pi
            draw_line(axes, result, row, centres, density)
        axes.set_xlim(-np.pi, np.pi)
        axes.set_ylim(bottom=0)
        angle_axis(axes.xaxis)
        axes.set_xlabel(str(name))
        axes.set_ylabel("density (1/rad)")
        legend_above(figure, axes)
        drawn.append(Plot(f"torsion_{file_name(str(name))}", "Distributions", f"Torsion {name}.", to_svg(figure)))
    return drawn


def landscapes(result: Evaluation) -> list[Plot]:
    """Free energies over phi and psi of each residue and over the first two TICA components."""
    drawn = []
    for residue in drawn_residues(result):
        for row in compared(result):
            energy, extent = result.curves[f"ramachandran_kT/{row}/{residue}"], (-np.pi, np.pi, -np.pi, np.pi)
            figure, axes = free_energy_map(result, row, energy, extent, f"phi {residue}", f"psi {residue}")
            for axis in (axes.xaxis, axes.yaxis):
                angle_axis(axis)
            caption = f"Free energy of {residue}: {result.rows[row].label}."
            drawn.append(Plot(f"ramachandran_{file_name(residue)}_{row}", "Free energies", caption, to_svg(figure)))
    for row in compared(result):
        if f"tica_kT/{row}" in result.curves:
            figure, _ = tica_map(result, row, energy_of=row)
            caption = f"Free energy over the two slowest linear coordinates: {result.rows[row].label}."
            drawn.append(Plot(f"tica_{row}", "Free energies", caption, to_svg(figure)))
    return drawn


def free_energy_plots(result: Evaluation) -> list[Plot]:
    """The free energy over the slowest coordinate."""
    if "psi_1_axis" not in result.curves:
        return []
    figure, axes = new_figure(6.0, 3.4)
    x, top = result.curves["psi_1_axis"], 0.0
    for row in compared(result):
        energy, (low, high) = result.curves[f"psi_1_kT/{row}"], result.curves[f"psi_1_interval_kT/{row}"]
        axes.fill_between(x, low, np.where(np.isfinite(high), high, 99), color=COLOURS[row], alpha=0.15, lw=0)
        draw_line(axes, result, row, x, energy)
        top = max(top, float(energy[np.isfinite(energy)].max(initial=0)))
    depth = float(result.settings["free_energy_below_kT"])
    axes.axhline(depth, **GUIDE)
    axes.set_ylim(-0.5, top + 1.2)
    axes.set(xlabel="slowest coordinate psi_1", ylabel="F (kT)")
    legend_above(figure, axes)
    caption = (
        f"Free energy over the slowest coordinate with 95 % bands; compared below the dotted line at {depth:g} kT."
    )
    return [Plot("free_energy_psi_1", "Free energies", caption, to_svg(figure), wide=True)]


def structure_plots(result: Evaluation) -> list[Plot]:
    """Deviations of bonds and angles, the closest contact, and the size."""
    labels = {
        "bond_rms_nm": "bonds: RMS deviation from ideal (nm)",
        "angle_rms_deg": "angles: RMS deviation from ideal (degrees)",
        "closest_nm": "closest non-bonded heavy pair (nm)",
        "radius_of_gyration_nm": "radius of gyration (nm)",
    }
    return [
        Plot(
            check.rsplit("_", 1)[0],
            "Structure",
            f"{label[0].upper()}{label[1:]}.",
            _densities(result, f"{check}_axis", f"{check}_density/{{}}", label),
        )
        for check, label in labels.items()
        if f"{check}_axis" in result.curves
    ]


def energy_plots(result: Evaluation) -> list[Plot]:
    """The distribution of each term of the potential."""
    drawn = []
    for axis in [key for key in result.curves if key.startswith("energy_axis/")]:
        term = axis.removeprefix("energy_axis/")
        name = term.replace("_", " ")
        svg = _densities(result, axis, f"energy_density/{{}}/{term}", f"energy, {name} (kJ/mol)")
        drawn.append(Plot(f"energy_{file_name(term)}", "Energies", f"Energy by the force field: {name}.", svg))
    return drawn


def _densities(result: Evaluation, axis: str, density: str, label: str) -> str:
    """Densities of the rows over one axis; `density` names their curves, with `{}` for the row."""
    figure, axes = new_figure()
    for row in compared(result):
        draw_line(axes, result, row, result.curves[axis], result.curves[density.format(row)])
    axes.set_ylim(bottom=0)
    axes.set_yticks([])
    axes.set(xlabel=label, ylabel="density")
    legend_above(figure, axes)
    return to_svg(figure)
