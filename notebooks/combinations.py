"""Every encoder with every propagator and every decoder, over several seeds: which criteria fail, and what decides.

    mdgen demo --multirun experiment=combinations output=runs/combinations seed=0,1,2 \
      encoder@train_encoder.encoder=srv,tica propagator@train_propagator.propagator=mdn,latent_flow,markov_state_model \
      decoder@train_decoder.decoder=nearest_frame,cwgan,neighbour_flow_small
    python notebooks/combinations.py runs/combinations/*-* data/results/combinations.json

A combination's figures are means over its seeds, with Student's interval of the mean where there are three. Seeds are
added to those that the result holds.
"""

import argparse
import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from mdgen.apps.config.stored import stored_config
from mdgen.errors import MdgenError
from mdgen.evaluation.seeds import mean_interval
from mdgen.results import write_result

FIGURES = {
    "timescale_ps/1": "t_1 (ps)",
    "timescale_ps/2": "t_2 (ps)",
    "timescale_ps/3": "t_3 (ps)",
    "free_energy_rmse_kT/psi_1": "F(psi_1) (kT)",
    "free_energy_rmse_kT/psi_2": "F(psi_2) (kT)",
    "torsion_jsd/all": "torsion distance",
    "torsion_pair_jsd/worst": "pair of torsions",
    "tica_jsd/0": "TICA distance",
    "clash_share": "clashes",
}


def line(folder: Path) -> tuple[str, str, dict[str, Any], dict[str, Any]]:
    """Seed, combination, verdicts and figures of one demo, and the figures of its dynamics.

    Raises:
        MdgenError: if it is not done, or its name is not that of a run of the sweep.
    """
    parts = folder.name.split("-")[-3:]  # a sweep over several seeds names them first
    advice = "give folders ENCODER-PROPAGATOR-DECODER of finished runs"
    config = stored_config(folder / "config.yaml", advice) if (folder / "DONE").is_file() else {}
    if len(parts) != 3 or "seed" not in config:
        raise MdgenError(f"{folder} is no finished run of the sweep; {advice}")
    seed = f"seed_{config['seed']}"
    found = json.loads((folder / "metrics.json").read_text())
    verdicts = [each["verdict"] for each in found["criteria"]]
    rows = {
        name: {key: row["metrics"][key] for key in FIGURES if key in row["metrics"]}
        for name, row in found["rows"].items()
    }
    run = {
        "criteria": {verdict: verdicts.count(verdict) for verdict in ("holds", "undecided", "fails")},
        "fails": [each["metric"] for each in found["criteria"] if each["verdict"] == "fails"],
        "generated": rows.pop("generated"),
        "git": json.loads((folder / "provenance.json").read_text())[-1]["git"],
    }
    return seed, " + ".join(parts), run, rows


def means(runs: Collection[dict[str, Any]]) -> dict[str, Any]:
    """The mean of each figure over the seeds of a combination."""
    return {
        key: vars(mean_interval(np.array([run["generated"][key]["value"] for run in runs], float)))
        for key in FIGURES
        if all(key in run["generated"] for run in runs)
    }


def table(combinations: dict[str, dict[str, Any]]) -> str:
    """A line of Markdown for each combination."""
    head = ["encoder", "propagator", "decoder", "fails", "undecided", *FIGURES.values()]
    lines = [head, ["---"] * len(head)]
    for name, found in combinations.items():
        runs = list(found["seeds"].values())
        counts = [", ".join(str(run["criteria"][kind]) for run in runs) for kind in ("fails", "undecided")]
        lines.append([*name.split(" + "), *counts, *(_shown(key, found["mean"].get(key)) for key in FIGURES)])
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
    result = json.loads(arguments.output.read_text()) if arguments.output.is_file() else {}
    combinations, dynamics = (result.setdefault(key, {}) for key in ("combinations", "dynamics"))
    for folder in arguments.runs:
        seed, name, run, rows = line(folder)
        dynamics.setdefault(seed, {})[name.split(" + ")[0]] = rows  # some figures are of the encoder's modes
        combinations.setdefault(name, {"seeds": {}})["seeds"][seed] = run
    for found in combinations.values():
        found["seeds"] = dict(sorted(found["seeds"].items()))
        found["mean"] = means(found["seeds"].values())
    sys.stdout.write(table(combinations) + "\n")
    write_result(arguments.output, result, [])
