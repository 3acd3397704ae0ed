"""What `mdgen reweight` looks at in each frame, and its drawing."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from matplotlib.figure import Figure

from mdgen.data.trajectories import TrajectorySet
from mdgen.geometry.dihedrals import dihedral_angles
from mdgen.molecule.torsions import torsion_atoms, torsions

MOST = 12
"""Torsions or coordinates that are looked at, at most."""

_BLOCK = 10_000


def observed(data: TrajectorySet) -> Iterator[tuple[str, Float[np.ndarray, "frame"], tuple[float, float]]]:
    """Name, values and range of the first torsions, or of the first coordinates of particles without any."""
    chosen = torsions(data.molecule)[:MOST]
    blocks = [np.array(each) for index in range(len(data)) for each in data.blocks(index, _BLOCK)]
    if chosen:
        table = torch.cat([dihedral_angles(torch.from_numpy(each), torsion_atoms(chosen)) for each in blocks]).numpy()
        for torsion, values in zip(chosen, table.T, strict=True):
            yield torsion.name, values, (-np.pi, np.pi)
        return
    positions = np.concatenate(blocks)[:, : MOST // 3]
    for particle in range(positions.shape[1]):
        for axis, letter in enumerate("xyz"):
            values = positions[:, particle, axis]
            yield f"{letter} (nm) of particle {particle}", values, (float(values.min()), float(values.max()))


def draw_reweighting(figures: dict[str, Any]) -> Figure:
    """Free energies as they were sampled and reweighted, one panel each."""
    panels = figures["free_energies"]
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(3.6 * columns, 2.8 * rows), layout="constrained")
    axes = np.atleast_1d(figure.subplots(rows, columns)).ravel()
    before, after = (f"{figures[key]:g} K" for key in ("sampled_temperature_K", "temperature_K"))
    for each, panel in zip(axes, panels, strict=False):
        each.plot(panel["centres"], panel["sampled_kT"], color="0.6", lw=1.2, label=f"as sampled, {before}")
        finite = np.isfinite(panel["low_kT"]) & np.isfinite(panel["high_kT"])
        low, high = (np.where(finite, panel[key], np.nan) for key in ("low_kT", "high_kT"))
        each.fill_between(panel["centres"], low, high, color="#e2572b", alpha=0.25, lw=0)
        each.plot(panel["centres"], panel["reweighted_kT"], color="#e2572b", lw=1.6, label=f"reweighted, {after}")
        each.set(xlabel=panel["name"], ylabel="F (kT)", ylim=(-0.2, 10))
    axes[0].legend(fontsize=8, frameon=False)
    for each in axes[len(panels) :]:
        each.set_axis_off()
    return figure
