"""What a set of simulations holds and what it cost: one line a run folder, gathered into one JSON file.

mdgen simulate experiment=alanine_dipeptide_1us output=runs/alanine_dipeptide
mdgen simulate --multirun experiment=mdgen_tetrapeptide system.sequence=IPGD,GTLM,FLRH,AAGA output=runs/tetrapeptides
mdgen simulate experiment=mdgen_tetrapeptide_fine system.sequence=GTLM output=runs/GTLM_fine
python notebooks/datasets.py runs/alanine_dipeptide runs/tetrapeptides/* runs/GTLM_fine data/results/datasets.json
"""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import yaml

from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.results import write_result


def line(folder: Path) -> dict[str, Any]:
    """Molecule, length, frames and cost of one run of `mdgen simulate`.

    Raises:
        MdgenError: if the run is not there or not done.
    """
    if not (folder / "DONE").is_file():
        raise MdgenError(f"{folder} holds no finished run; give folders of `mdgen simulate` that hold a DONE mark")
    metrics = json.loads((folder / "metrics.json").read_text())
    parts = json.loads((folder / "provenance.json").read_text())
    config = yaml.safe_load((folder / "config.yaml").read_text())
    store = TrajectoryStore.open(folder / "trajectories")
    return {
        "system": config["system"],
        "integrator": config["integrator"],
        "seed": config["seed"],
        "atoms": metrics["n_atoms"],
        "trajectories": len(store.lengths),
        "ns_each": max(store.lengths) * store.frame_spacing_ps / 1000,
        "total_ns": metrics["total_ns"],
        "frame_spacing_ps": store.frame_spacing_ps,
        "frames": sum(store.lengths),
        "stopped_replicas": metrics.get("stopped_replicas", []),
        "wall_seconds": metrics["wall_seconds_last_part"],
        "threads": config["threads"],
        "times_resumed": len(parts) - 1,
        "git": parts[-1]["git"],
        "command": parts[-1]["command"],
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("output", type=Path)
    parser.add_argument("--note", default="", help="what to say of the machine and of what else ran on it")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    found = {folder.name: line(folder) for folder in arguments.runs}
    write_result(arguments.output, {"note": arguments.note, "runs": found}, [])
