"""Sensitivity of the evaluation: real trajectories, half as reference and half as generated, with known faults.

    python notebooks/evaluation_catches_faults.py ../shared/data data/results

reads `alanine_dipeptide` and `pentapeptide` there and writes `evaluation_catches_faults.json`, ending in `acceptance`,
and Markdown tables of the same name.
"""

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from faults import Frames, in_random_order, mirrored, stretched, turned, with_fault

from mdgen.apps.runs.provenance import provenance
from mdgen.data.trajectories import TrajectorySet, open_trajectories
from mdgen.evaluation import Settings, evaluate
from mdgen.evaluation.metrics.catalogue import label
from mdgen.evaluation.report.tables import with_interval
from mdgen.files import write_aside
from mdgen.molecule.topology import Molecule
from mdgen.molecule.torsions import torsions
from mdgen.results import Acceptance, Estimate, acceptance_table, write_result

COLUMNS = (
    "torsion_jsd/all",
    "free_energy_rmse_kT/psi_1",
    "timescale_ps/1",
    "timescale_ps/2",
    "decorrelation_log10_error/all",
    "first_passage_log10_error",
    "step_rms_deg/phi ALA2",
    "step_rms_deg/omega ALA2",
    "torsion_jsd/omega ALA2",
    "bond_rms_nm",
    "chirality_error_share",
)
"""Columns of the table of alanine dipeptide; that of the pentapeptide has those that apply to it."""

DISTRIBUTIONS = (
    "torsion_jsd/all",
    "torsion_pair_jsd/all",
    "tica_jsd/0",
    "tica_jsd/0,1",
    "free_energy_rmse_kT/phi_psi",
    "free_energy_rmse_kT/psi_1",
    "occupancy_jsd",
    "ramachandran_outlier_share",
    "bond_rms_nm",
    "angle_rms_deg",
    "clash_share",
    "radius_of_gyration_nm",
)
"""Metrics that shuffling in time must leave unchanged."""

KINETICS = (
    "timescale_ps/1",
    "timescale_ps/2",
    "transitions_per_ns",
    "decorrelation_log10_error/all",
    "autocorrelation_rmse/all",
    "dynamical_content_rmse/all",
    "step_log10_error/all",
    "first_passage_log10_error",
    "flux_spearman",
    "path_jsd",
    "path_log_probability_error",
    "timescale_log_error/1",
    "relaxation_log10_error/all",
)
"""Metrics that shuffling in time must change."""


def faults(molecule: Molecule) -> dict[str, tuple[Callable[[Frames], Frames], tuple[str, ...]]]:
    """Each fault with the metrics that must detect it."""
    named = {torsion.name: torsion.atoms for torsion in torsions(molecule, ("backbone", "omega"))}
    oxygen = next(atom.index for atom in molecule.topology.atoms if atom.name == "O" and atom.residue.name == "ALA")
    carbon = next(near for near in molecule.neighbours[oxygen] if molecule.elements[near] == "C")

    def noise(torsion: str) -> Callable[[Frames], Frames]:
        def fault(frames: Frames) -> Frames:
            angles = np.radians(5.0) * np.random.default_rng(0).normal(size=len(frames))
            return turned(frames.astype(np.float64), molecule, named[torsion], angles)

        return fault

    return {
        "shuffled in time": (shuffled, KINETICS),
        "5 degrees of noise on phi": (noise("phi ALA2"), ("step_rms_deg/phi ALA2",)),
        "5 degrees of noise on omega": (noise("omega ALA2"), ("step_rms_deg/omega ALA2", "torsion_jsd/omega ALA2")),
        "one frame in a hundred mirrored": (lambda frames: mirrored(frames, 100), ("chirality_error_share",)),
        "C=O stretched by 0.005 nm": (lambda frames: stretched(frames, carbon, oxygen, 0.005), ("bond_rms_nm",)),
    }


def shuffled(frames: Frames) -> Frames:
    """The frames in random order, the same for every trajectory."""
    return in_random_order(frames, np.random.default_rng(0))


Found = tuple[dict[str, dict[str, Estimate]], list[Acceptance]]
"""Rows of a table, and their acceptance."""


def alanine_dipeptide(folder: Path) -> Found:
    """Evaluate the clean half and each faulty copy of it."""
    paths = [folder / f"trajectory-{i}.dcd" for i in range(6)]
    halves = [open_trajectories(paths[i::2], topology=folder / "ala2.pdb", frame_spacing_ps=1.0) for i in range(2)]
    settings = Settings(lag_ps=5.0)
    rows, acceptance = _clean(halves, settings, "alanine dipeptide")
    good = rows["generated = MD"]
    for name, (fault, catching) in faults(halves[0].molecule).items():
        bad = evaluate(halves[0], with_fault(halves[1], fault), settings=settings).rows["generated"].metrics
        rows[name] = bad
        acceptance += [_caught(f"{name}: {label(metric)}", bad[metric], good[metric]) for metric in catching]
        if name == "shuffled in time":
            acceptance += [_unmoved(f"{name}: {label(m)} stays", bad[m], good[m]) for m in DISTRIBUTIONS]
    return rows, acceptance


def pentapeptide(folder: Path) -> Found:
    """Evaluate the clean half and a shuffled copy of it."""
    paths = [folder / f"pentapeptide-{i:02d}-500ns.xtc" for i in range(15)]
    halves = [open_trajectories(paths[i::2], topology=folder / "pentapeptide.pdb") for i in range(2)]
    settings = Settings(lag_ps=1000.0, tica_lag_ps=1000.0)
    rows, acceptance = _clean(halves, settings, "pentapeptide")
    good = rows["generated = MD"]
    bad = evaluate(halves[0], with_fault(halves[1], shuffled), settings=settings).rows["generated"].metrics
    rows["shuffled in time"] = bad
    acceptance += [_caught(f"pentapeptide shuffled: {label(m)}", bad[m], good[m]) for m in KINETICS]
    acceptance += [_unmoved(f"pentapeptide shuffled: {label(m)} stays", bad[m], good[m]) for m in DISTRIBUTIONS]
    return rows, acceptance


def _clean(halves: list[TrajectorySet], settings: Settings, name: str) -> Found:
    """Dynamics against dynamics: every distance of the replicate and of the other half lies at the MD floor."""
    found = evaluate(halves[0], halves[1], settings=settings).rows
    names = {"replicate": "MD replicate", "generated": "generated = MD"}
    acceptance = [
        _at_floor(f"{name}, {names[row]} at the MD floor: {label(metric)}", found[row].metrics[metric], floor)
        for row in names
        for metric, floor in found["md_floor"].metrics.items()
        if " " not in metric
    ]
    names |= {"floor": "i.i.d. floor", "md_floor": "MD floor"}
    return {title: found[row].metrics for row, title in names.items()}, acceptance


def run(folder: Path) -> tuple[dict[str, Any], list[Acceptance]]:
    """Both molecules: their rows, and their acceptance."""
    tables, acceptance = {}, []
    for name, study in (("alanine dipeptide", alanine_dipeptide), ("pentapeptide", pentapeptide)):
        rows, lines = study(folder / name.replace(" ", "_"))
        columns = list(dict.fromkeys([*COLUMNS, *DISTRIBUTIONS, *KINETICS]))
        tables[name] = {key: {m: row[m] for m in columns if m in row} for key, row in rows.items()}
        acceptance += lines
    return {"columns": COLUMNS, "tables": tables}, acceptance


def _caught(name: str, bad: Estimate, good: Estimate) -> Acceptance:
    """The two intervals do not overlap."""
    apart = bad.low is not None and good.high is not None and (bad.low > good.high or (bad.high or 0) < (good.low or 0))
    return Acceptance.judged(name, bad, f"apart from {with_interval(good)}", apart)


def _unmoved(name: str, bad: Estimate, good: Estimate) -> Acceptance:
    return Acceptance.judged(name, bad, f"{good.value:.4g}", abs(bad.value - good.value) <= 1e-6)


def _at_floor(name: str, found: Estimate, floor: Estimate) -> Acceptance:
    """The interval of the row and the spread of the floor overlap."""
    low, high = (found.value if end is None else end for end in (found.low, found.high))
    bottom, top = (floor.value if end is None else end for end in (floor.low, floor.high))
    shares = low <= top and high >= bottom
    return Acceptance.judged(name, found, f"meets {with_interval(floor)}", shares)


def table(result: dict[str, Any]) -> str:
    """The result in Markdown, a table a molecule."""
    text = []
    for name, rows in result["tables"].items():
        columns = [column for column in COLUMNS if any(column in row for row in rows.values())]
        lines = [f"**{name}**", "", "| | " + " | ".join(label(c) for c in columns) + " |"]
        lines.append("| --- |" + " ---: |" * len(columns))
        lines += [
            f"| {key} | " + " | ".join(with_interval(row.get(c)) for c in columns) + " |" for key, row in rows.items()
        ]
        text.append("\n".join(lines) + "\n")
    return "\n".join(text)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trajectories", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    made = {**provenance(0), "command": " ".join(["python", *sys.argv])}
    found, lines = run(arguments.trajectories)
    write_result(arguments.output / "evaluation_catches_faults.json", {"provenance": made, **found}, lines)
    write_aside(arguments.output / "evaluation_catches_faults.md", table(found).encode())
    logging.getLogger("mdgen").info("\n%s", acceptance_table(lines))
