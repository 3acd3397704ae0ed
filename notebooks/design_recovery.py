"""Recovery of designed residues beside the frequencies of the training data, over molecules.

    mdgen train experiment=tokens_design data.molecules=runs/peptides output=runs/tokens_design
    python notebooks/design_recovery.py runs/tokens_design data/results/tokens_design.json --unseen runs/test/????

Known are residues 0 and 3 of tetrapeptides, designed are 1 and 2. Seen are the molecules of the training, in the runs
that it left out. Every molecule counts alike, and intervals are over molecules (bootstrap): its windows are not
independent. `voted` is the type drawn most often over all windows of a molecule.
"""

import argparse
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import mdgen
from mdgen.apps.runs.provenance import provenance
from mdgen.apps.trajectories import open_windows
from mdgen.evaluation.statistics.intervals import bootstrap_weights, percentile_interval
from mdgen.generation.design import Designs
from mdgen.generation.load import part_files
from mdgen.generation.simulator import LatentSimulator
from mdgen.models.checkpoint import load_model
from mdgen.results import write_result

KNOWN = [0, 3]
RESAMPLES = 10_000
WAYS: dict[str, dict[str, Any]] = {
    "flow": {"by": "flow"},
    "rejection": {"by": "rejection"},
    "rejection_types_told": {"by": "rejection", "tell_types": True},
}
logger = logging.getLogger("mdgen")


def figures(designs: Designs) -> dict[str, float]:
    """Recoveries of one molecule."""
    found, places = designs.metrics(), list(designs.designed)
    voted = [np.bincount(designs.types[:, place]).argmax() for place in places]
    found["recovery_voted"] = float((np.array(voted) == designs.native[places]).mean())
    found["gain"] = found["recovery"] - found["recovery_of_frequencies"]
    found["gain_voted"] = found["recovery_voted"] - found["recovery_of_most_frequent"]
    return found


def over_molecules(rows: Sequence[dict[str, float]], seed: int) -> dict[str, list[float | None]]:
    """Mean of each figure with its interval: value, lower and upper end."""
    weights = bootstrap_weights(len(rows), RESAMPLES, np.random.default_rng(seed)) / len(rows)
    found = {}
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        made = percentile_interval(values.mean(), weights @ values, len(rows))
        found[name] = [None if each is None else round(each, 4) for each in (made.value, made.low, made.high)]
    return found


def recovered(model: Path, folders: Sequence[Path], begin: float, n_designs: int, seed: int) -> dict[str, Any]:
    """Recoveries of some molecules, by each way; `begin` is the share of the runs of each that is left out."""
    rows: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    parts: dict[str, Any] = {part: load_model(file) for part, file in part_files(model).items()}
    by_molecule, designed = {}, 0
    for folder in folders:
        opened = mdgen.open(folder)
        simulator = LatentSimulator(**parts, molecule=opened.molecule)  # a pdb file does not name every bond
        known = [opened[index] for index in range(round(begin * len(opened)), len(opened))]
        for way, options in WAYS.items():
            designs = simulator.design(known, KNOWN, n_designs, seed=seed, **options)
            rows[way].append(figures(designs))
            designed += len(designs) if way == "flow" else 0
        by_molecule[folder.name] = {way: round(made[-1]["recovery"], 4) for way, made in rows.items()}
        logger.info("%s  %s", folder.name, by_molecule[folder.name])
    means = {way: over_molecules(made, seed) for way, made in rows.items()}
    return {"molecules": len(folders), "designs_a_way": designed, "means": means, "recovery": by_molecule}


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--unseen", type=Path, nargs="+", required=True)
    parser.add_argument("--designs", type=int, nargs=2, default=[52, 8], help="of each unseen and each seen molecule")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    config = yaml.safe_load((given.model / "config.yaml").read_text())
    metrics = json.loads((given.model / "metrics.json").read_text())
    training = open_windows(config["data"], int(config["seed"])).training.dataset.collection
    seen = [Path(config["data"]["molecules"]) / name for name in training.names]
    left_out = float(config["data"]["fraction"][1])
    made = {
        "unseen": recovered(given.model, given.unseen, 0.0, given.designs[0], given.seed),
        "seen": recovered(given.model, seen, left_out, given.designs[1], given.seed),
    }
    notes = {"training_seconds": round(metrics["seconds"]), "history": metrics["history"]}
    write_result(given.output, {"provenance": provenance(given.seed), "training": notes, **made}, [])
