"""Does the evaluation catch what it should? Real trajectories, half as reference and half as generated, with faults.

    python notebooks/evaluation_catches_faults.py ../shared/data/alanine_dipeptide data/results

writes `evaluation_catches_faults.json`, ending in `acceptance`, and a Markdown table of the same name.
"""

import argparse
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mdgen.data.trajectories import open_trajectories
from mdgen.evaluation import Settings, evaluate
from mdgen.evaluation.faults import Frames, in_random_order, mirrored, stretched, turned, with_fault
from mdgen.evaluation.names import label
from mdgen.evaluation.tables import with_interval
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


def faults(molecule: Molecule) -> dict[str, tuple[Callable[[Frames], Frames], tuple[str, ...]]]:
    """Each fault with the metrics that must catch it."""
    named = {torsion.name: torsion.atoms for torsion in torsions(molecule, ("backbone", "omega"))}
    oxygen = next(atom.index for atom in molecule.topology.atoms if atom.name == "O" and atom.residue.name == "ALA")
    carbon = next(near for near in molecule.neighbours[oxygen] if molecule.elements[near] == "C")

    def noise(torsion: str) -> Callable[[Frames], Frames]:
        def fault(frames: Frames) -> Frames:
            angles = np.radians(5.0) * np.random.default_rng(0).normal(size=len(frames))
            return turned(frames.astype(np.float64), molecule, named[torsion], angles)

        return fault

    kinetic = ("timescale_ps/1", "decorrelation_log10_error/all", "first_passage_log10_error", "step_rms_deg/phi ALA2")
    return {
        "shuffled in time": (lambda frames: in_random_order(frames, np.random.default_rng(0)), kinetic),
        "5 degrees of noise on phi": (noise("phi ALA2"), ("step_rms_deg/phi ALA2",)),
        "5 degrees of noise on omega": (noise("omega ALA2"), ("step_rms_deg/omega ALA2", "torsion_jsd/omega ALA2")),
        "one frame in a hundred mirrored": (lambda frames: mirrored(frames, 100), ("chirality_error_share",)),
        "C=O stretched by 0.005 nm": (lambda frames: stretched(frames, carbon, oxygen, 0.005), ("bond_rms_nm",)),
    }


def run(folder: Path) -> tuple[dict[str, Any], list[Acceptance]]:
    """Evaluate the clean half and each faulty copy of it."""
    paths = [folder / f"trajectory-{i}.dcd" for i in range(6)]
    halves = [open_trajectories(paths[i::2], topology=folder / "ala2.pdb", frame_spacing_ps=1.0) for i in range(2)]
    settings = Settings(lag_ps=5.0)
    clean = evaluate(*halves, settings=settings)
    replicate, good = clean.rows["replicate"].metrics, clean.rows["generated"].metrics
    rows = {"MD replicate": replicate, "generated = MD": good, "floor": clean.rows["floor"].metrics}
    acceptance = [_no_worse(name, good[name], replicate[name]) for name in COLUMNS[:2]]
    for name, (fault, catching) in faults(halves[0].molecule).items():
        bad = evaluate(halves[0], with_fault(halves[1], fault), settings=settings).rows["generated"].metrics
        rows[name] = bad
        acceptance += [_caught(f"{name}: {label(metric)}", bad[metric], good[metric]) for metric in catching]
        if name == "shuffled in time":
            acceptance += [_unmoved(f"{name}: {label(m)} stays", bad[m], good[m]) for m in COLUMNS[:2]]
    return {
        "columns": COLUMNS,
        "rows": {key: {m: row.get(m) for m in COLUMNS} for key, row in rows.items()},
    }, acceptance


def _caught(name: str, bad: Estimate, good: Estimate) -> Acceptance:
    """The two intervals share nothing."""
    apart = bad.low is not None and good.high is not None and (bad.low > good.high or (bad.high or 0) < (good.low or 0))
    return Acceptance.judged(name, bad, f"apart from {with_interval(good)}", apart)


def _unmoved(name: str, bad: Estimate, good: Estimate) -> Acceptance:
    return Acceptance.judged(name, bad, f"{good.value:.4g}", abs(bad.value - good.value) <= 1e-6)


def _no_worse(name: str, good: Estimate, replicate: Estimate) -> Acceptance:
    high = replicate.high or replicate.value
    return Acceptance.judged(f"MD against MD: {label(name)}", good, f"<= {high:.3g}, replicate", good.value <= high)


def table(result: dict[str, Any]) -> str:
    """The result in Markdown."""
    lines = ["| | " + " | ".join(label(c) for c in COLUMNS) + " |", "| --- |" + " ---: |" * len(COLUMNS)]
    for name, row in result["rows"].items():
        lines.append(f"| {name} | " + " | ".join(with_interval(row[c]) for c in COLUMNS) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("trajectories", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found, lines = run(arguments.trajectories)
    write_result(arguments.output / "evaluation_catches_faults.json", found, lines)
    write_aside(arguments.output / "evaluation_catches_faults.md", table(found).encode())
    logging.getLogger("mdgen").info("\n%s", acceptance_table(lines))
