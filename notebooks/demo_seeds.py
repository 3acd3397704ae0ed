"""The demo over several seeds: the verdict of every criterion, visits to the rare state, the time of each step.

    mdgen demo --multirun seed=0,1,2,3,4 output=runs/seeds
    python notebooks/demo_seeds.py runs/seeds/* data/results/demo_seeds.json

Each seed is a demo of its own: it simulates, trains and generates afresh.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from mdgen.apps.trajectories import open_data
from mdgen.errors import MdgenError
from mdgen.geometry.dihedrals import dihedral_angles
from mdgen.molecule.torsions import torsions
from mdgen.results import write_result

STEPS = ("simulate", "encoder", "propagator", "decoder", "generate")
COMMON, RARE = (-170.0, -40.0), (30.0, 100.0)
"""Cores of the two states of phi, in degrees: a visit is counted when one is reached from the other."""


def visits(data: dict[str, Any]) -> int:
    """Number of times that the rare state of phi is entered from the other."""
    trajectories = open_data(data)
    phi = next(torsion.atoms for torsion in torsions(trajectories.molecule) if torsion.name.startswith("phi"))
    entered = 0
    for index in range(len(trajectories)):
        blocks = [torch.tensor(block) for block in trajectories.blocks(index, 10_000)]
        angles = np.degrees(dihedral_angles(torch.cat(blocks), np.array([phi]))[:, 0].numpy())
        rare = (angles > RARE[0]) & (angles < RARE[1])
        known = rare | ((angles > COMMON[0]) & (angles < COMMON[1]))
        entered += int((np.diff(rare[known].astype(int)) == 1).sum())
    return entered


def line(folder: Path) -> dict[str, Any]:
    """Verdict, visits and times of one demo.

    Raises:
        MdgenError: if it is not done.
    """
    if not (folder / "DONE").is_file():
        raise MdgenError(f"{folder} holds no finished demo; give folders of `mdgen demo` that hold a DONE mark")
    found = json.loads((folder / "metrics.json").read_text())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    parts = {part: {**config["data"], "fraction": config[f"{part}_fraction"]} for part in ("training", "reference")}
    steps = {step: json.loads((folder / step / "metrics.json").read_text()) for step in STEPS}
    return {
        "seed": config["seed"],
        "verdict": found["verdict"],
        "criteria": {each["metric"]: each["verdict"] for each in found["criteria"]},
        "excess": {each["metric"]: each["excess"] for each in found["criteria"]},
        "flags": found["flags"],
        "bounds": {each["name"]: each["holds"] for each in found["acceptance"]},
        "visits": {name: visits(part) for name, part in parts.items()},
        "seconds_a_step": {step: metrics["wall_seconds_last_part"] for step, metrics in steps.items()},
        "provenance": json.loads((folder / "provenance.json").read_text())[-1],
    }


def table(lines: dict[str, dict[str, Any]]) -> str:
    """A line for each criterion, a column for each seed."""
    criteria = list(dict.fromkeys(name for line in lines.values() for name in line["criteria"]))
    rows = [["", *lines], ["verdict", *(line["verdict"] for line in lines.values())]]
    rows += [[name, *(line["criteria"].get(name, "") for line in lines.values())] for name in criteria]
    for part in ("training", "reference"):
        rows.append([f"visits, {part}", *(str(line["visits"][part]) for line in lines.values())])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    found = {folder.name: line(folder) for folder in arguments.runs}
    sys.stdout.write(table(found) + "\n")
    write_result(arguments.output, {"runs": found}, [])
