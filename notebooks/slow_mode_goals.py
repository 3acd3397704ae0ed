"""Generated dynamics beside the training data, both against held-out dynamics, over several seeds.

    mdgen demo --multirun experiment=pentapeptide seed=0,1,2 output=runs/pentapeptide
    python notebooks/slow_mode_goals.py runs/pentapeptide/seed_* data/results/pentapeptide.json

For demos whose replicate is the training data, as in `experiment=pentapeptide` and `alanine_dipeptide_real`. Goals: the
timescales of the modes that are judged (three) within 15 % of the encoder's own, which are of all training frames, and
inside the interval of held-out dynamics, free energies at most twice and distances at most 1.5 times as far off as
those of the training data, clashes at most twice. Timescales, clashes and the radius of gyration are of all frames that
were generated; free energies and distances, which shrink with more frames, of as many as the training data.
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

from mdgen.apps.config.stored import stored_config
from mdgen.errors import MdgenError
from mdgen.results import Acceptance, write_result

KEPT = re.compile(
    r"(mode_timescale_ps|timescale_ps|free_energy_rmse_kT/psi|outside_share|tica_jsd)\S*|torsion_jsd/(all|backbone|side_chain)"
    r"|clash_share|radius_of_gyration_(nm|sd_nm)|bond_rms_nm|(chirality|prochirality)_error_share|nearest_frame_nm"
    r"|broken_(bond|angle)_share|(path_log_probability|first_passage_log10|decorrelation_log10|step_log10)_error(/all)?"
)
ROWS = ("reference", "replicate", "generated", "generated_all")


def line(folder: Path) -> dict[str, Any]:
    """What one demo found: verdicts, rows, and how far each goal is met.

    Raises:
        MdgenError: if it is not done.
    """
    advice = "give folders of `mdgen demo` that hold a DONE mark"
    if not (folder / "DONE").is_file():
        raise MdgenError(f"{folder} holds no finished demo; {advice}")
    config = stored_config(folder / "config.yaml", advice)
    trained = Path(config["train_encoder"]["output"])
    found = json.loads((folder / "metrics.json").read_text())
    rows = {
        name: {metric: each for metric, each in found["rows"][name]["metrics"].items() if KEPT.fullmatch(metric)}
        for name in ROWS
        if name in found["rows"]  # where as few frames were generated, there is no row of all
    }
    encoder = json.loads((trained / "metrics.json").read_text())["timescales_ps"]
    verdicts = [each["verdict"] for each in found["criteria"]]
    return {
        "verdict": found["verdict"],
        "criteria": {verdict: verdicts.count(verdict) for verdict in ("holds", "undecided", "fails")},
        "fails": [each["metric"] for each in found["criteria"] if each["verdict"] == "fails"],
        "flags": found["flags"],
        "generate": json.loads((folder / "generate" / "metrics.json").read_text()),
        "encoder_timescales_ps": encoder,
        "goals": goals(rows, encoder),
        "rows": rows,
        "provenance": json.loads((folder / "provenance.json").read_text())[-1],
    }


def goals(rows: dict[str, dict[str, dict[str, float]]], encoder_ps: list[float]) -> dict[str, list[Any]]:
    """For each goal a value and whether it is met."""
    held_out, training, made = (rows[name] for name in ROWS[:3])
    every = rows.get("generated_all", made)
    found: dict[str, list[Any]] = {}

    def add(name: str, value: float, met: bool) -> None:
        found[name] = [round(value, 4), met]

    for metric, each in every.items():
        if metric.startswith("mode_timescale_ps"):
            own, interval = each["value"] / encoder_ps[int(metric.split("/")[1]) - 1], held_out[metric]
            add(f"{metric} over the encoder's own", own, abs(own - 1) <= 0.15)
            add(f"{metric} inside of held-out", each["value"], interval["low"] <= each["value"] <= interval["high"])
        elif metric.startswith("radius_of_gyration"):
            add(f"{metric} over held-out", (r := each["value"] / held_out[metric]["value"]), abs(r - 1) <= 0.03)
        elif metric == "clash_share":
            add(f"{metric} over held-out", (r := each["value"] / held_out[metric]["value"]), r <= 2.0)
    for metric, each in made.items():
        if metric.startswith("free_energy_rmse_kT/psi"):
            add(f"{metric} over that of the training data", (r := each["value"] / training[metric]["value"]), r <= 2.0)
        elif metric in ("torsion_jsd/all", "tica_jsd/0,1"):
            add(f"{metric} over that of the training data", (r := each["value"] / training[metric]["value"]), r <= 1.5)
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    runs = {folder.name: line(folder) for folder in arguments.runs}
    acceptance = []
    for goal in next(iter(runs.values()))["goals"]:
        met = [run["goals"][goal][1] for run in runs.values()]
        values = ", ".join(f"{run['goals'][goal][0]:g}" for run in runs.values())
        sys.stdout.write(f"{'met   ' if all(met) else 'missed'}  {goal}: {values}\n")
        acceptance.append(Acceptance(goal, sum(met) / len(met), None, None, "met with every seed", all(met)))
    write_result(arguments.output, {"runs": runs}, acceptance)
