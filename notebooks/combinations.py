"""Every encoder with every propagator and every decoder, over several seeds: which criteria fail, and what decides.

    mdgen demo --multirun experiment=combinations output=runs/combinations seed=0,1,2 \
      encoder@train_encoder.encoder=srv,tica propagator@train_propagator.propagator=mdn,latent_flow,markov_state_model \
      decoder@train_decoder.decoder=nearest_frame,cwgan,neighbour_flow_small
    python notebooks/combinations.py runs/combinations/seed_* data/results/combinations.json

A combination's figures are means over its seeds, with Student's interval of the mean where there are three.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from mdgen.errors import MdgenError
from mdgen.evaluation.seeds import mean_interval
from mdgen.results import write_result

FIGURES = {
    "timescale_ps/1": "t_1 (ps)",
    "timescale_ps/2": "t_2 (ps)",
    "free_energy_rmse_kT/psi_1": "F(psi_1) (kT)",
    "torsion_jsd/all": "torsion distance",
    "torsion_pair_jsd/worst": "pair of torsions",
    "tica_jsd/0": "TICA distance",
    "clash_share": "clashes",
}


def line(folder: Path) -> dict[str, Any]:
    """Seed, verdicts and figures of one demo.

    Raises:
        MdgenError: if it is not done, or its name is not that of a run of the sweep.
    """
    seed, *parts = folder.name.split("-")
    if not (folder / "DONE").is_file() or len(parts) != 3 or not seed.startswith("seed_"):
        raise MdgenError(f"{folder} is no finished run of the sweep; give folders seed_N-ENCODER-PROPAGATOR-DECODER")
    found = json.loads((folder / "metrics.json").read_text())
    verdicts = [each["verdict"] for each in found["criteria"]]
    row = found["rows"]["generated"]["metrics"]
    return {
        "parts": parts,
        "seed": int(seed.removeprefix("seed_")),
        "criteria": {verdict: verdicts.count(verdict) for verdict in ("holds", "undecided", "fails")},
        "fails": [each["metric"] for each in found["criteria"] if each["verdict"] == "fails"],
        "generated": {key: row[key] for key in FIGURES if key in row},
        "commit": json.loads((folder / "provenance.json").read_text())[-1].get("commit"),
    }


def over_seeds(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """A combination: the failing criteria of each seed, and the mean of each figure."""
    means = {
        key: vars(mean_interval(np.array([run["generated"][key]["value"] for run in runs], float)))
        for key in FIGURES
        if all(key in run["generated"] for run in runs)
    }
    return {"seeds": {f"seed_{run.pop('seed')}": run for run in runs}, "mean": means}


def table(combinations: dict[str, dict[str, Any]]) -> str:
    """A line of Markdown for each combination."""
    head = ["encoder", "propagator", "decoder", "fails", "undecided", *FIGURES.values()]
    lines = [head, ["---"] * len(head)]
    for found in combinations.values():
        runs = list(found["seeds"].values())
        counts = [", ".join(str(run["criteria"][kind]) for run in runs) for kind in ("fails", "undecided")]
        lines.append([*runs[0]["parts"], *counts, *(_shown(key, found["mean"].get(key)) for key in FIGURES)])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _shown(key: str, mean: dict[str, Any] | None) -> str:
    if mean is None:
        return ""
    factor, unit = (100, " %") if key == "clash_share" else (1, "")
    value, low, high = (
        f"{factor * mean[each]:.3g}" if mean[each] is not None else "" for each in ("value", "low", "high")
    )
    return f"{value}{unit}" if not low else f"{value} ({low} to {high}){unit}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    groups: dict[str, list[dict[str, Any]]] = {}
    for folder in arguments.runs:
        run = line(folder)
        groups.setdefault(" + ".join(run["parts"]), []).append(run)
    combinations = {name: over_seeds(sorted(runs, key=lambda run: run["seed"])) for name, runs in groups.items()}
    sys.stdout.write(table(combinations) + "\n")
    write_result(arguments.output, {"combinations": combinations}, [])
