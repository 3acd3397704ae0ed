"""Adaptive sampling against plain dynamics of twice the time, over several seeds: the error of the slowest timescale.

    mdgen simulate system.sequence=A n_replicas=64 length_ns=20 equilibration_ns=1 anneal_temperature_K=600 save_ps=2 \
      integrator.temperature_K=400 seed=900 output=runs/reference
    mdgen adapt --multirun experiment=adapt_alanine_dipeptide seed=0,1,2,3,4,5,6,7 output=runs/adaptive
    mdgen adapt --multirun experiment=adapt_alanine_dipeptide n_rounds=1 simulate.length_ns=2 seed=0,1,2,3,4,5,6,7 \
      output=runs/plain
    python notebooks/adaptive_seeds.py --reference runs/reference/trajectories --adaptive runs/adaptive/* \
      --plain runs/plain/* --output data/results/adapt.json

One estimator judges all three: TICA, k-means cells, a reversible Markov state model at one lag.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from mdgen.apps.adapt import kinetics_of
from mdgen.apps.runs.provenance import provenance
from mdgen.data.trajectories import open_trajectories
from mdgen.enhanced_sampling.markov_estimate import resampled_timescales
from mdgen.models.encoders.tica import TICA
from mdgen.molecule.features import TorsionDistanceFeatures
from mdgen.results import Acceptance, Estimate, acceptance_table, write_result
from mdgen.training.train import train


def reference(store: Path, lag_ps: float, n_states: int) -> dict[str, Any]:
    """The slowest timescale of long dynamics, with the bootstrap's interval over trajectories."""
    data = open_trajectories(store)
    encoder = TICA(TorsionDistanceFeatures(data.molecule), lag_ps, n_modes=3)
    train(encoder, data)
    kinetics = kinetics_of(data, encoder, lag_ps, n_states, seed=1)
    drawn = resampled_timescales(kinetics.counts, lag_ps, 1, 100, np.random.default_rng(0))[:, 0]
    low, high = np.quantile(drawn, [0.025, 0.975])
    total_ns = data.n_frames * data.frame_spacing_ps / 1000
    return {"timescale_ps": kinetics.estimate.timescales_ps(1)[0], "low_ps": low, "high_ps": high, "total_ns": total_ns}


def run_of(folder: Path, most_ns: float) -> dict[str, Any]:
    """Seed, and the last round that took at most `most_ns`, of a run of `mdgen adapt`."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    rounds = json.loads((folder / "metrics.json").read_text())["rounds"]
    kept = [each for each in rounds if each["total_ns"] <= most_ns][-1]
    shown = {"timescale_ps": kept["timescales_ps"][0], "low_ps": kept["low_ps"][0], "high_ps": kept["high_ps"][0]}
    every = [[each["total_ns"], each["timescales_ps"][0]] for each in rounds]
    return {"seed": config["seed"], "total_ns": kept["total_ns"], **shown, "every_round_ns_and_ps": every}


def rms_log_error(runs: list[dict[str, Any]], truth_ps: float) -> float:
    """Root mean square over the seeds of the logarithm of a timescale over the true one."""
    return float(np.sqrt(np.mean([np.log(each["timescale_ps"] / truth_ps) ** 2 for each in runs])))


def main() -> None:
    """Read the runs, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reference", type=Path, required=True)
    parser.add_argument("--adaptive", type=Path, nargs="+", required=True)
    parser.add_argument("--plain", type=Path, nargs="+", required=True)
    parser.add_argument("--output", type=Path, required=True)
    given = parser.parse_args()
    config = yaml.safe_load((given.adaptive[0] / "config.yaml").read_text())
    truth = reference(given.reference, config["lag_ps"], config["n_states"])
    plain = [run_of(folder, np.inf) for folder in given.plain]
    half_ns = min(each["total_ns"] for each in plain) / 2
    adaptive = [run_of(folder, half_ns) for folder in given.adaptive]
    errors = {name: rms_log_error(runs, truth["timescale_ps"]) for name, runs in (("a", adaptive), ("p", plain))}
    spent = max(each["total_ns"] for each in adaptive) / min(each["total_ns"] for each in plain)
    bound = f"<= {errors['p']:.3g}, that of plain dynamics"
    rows = [
        Acceptance.judged("rms_log_error_adaptive", Estimate(errors["a"]), bound, errors["a"] <= errors["p"]),
        Acceptance.below("share_of_the_simulated_time", Estimate(spent), 0.5),
    ]
    command = (__doc__ or "").split("\n\n")[1]
    figures = {"command": command, "reference": truth, "rms_log_error_plain": errors["p"]}
    document = {"provenance": provenance(0), **figures, "adaptive": adaptive, "plain": plain}
    write_result(given.output, document, rows)
    sys.stdout.write(acceptance_table(rows) + "\n")


if __name__ == "__main__":
    main()
