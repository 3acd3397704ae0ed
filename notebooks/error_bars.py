"""How much longer synthetic trajectories shrink error bars, and what the error bars then leave out.

    mdgen demo --multirun seed=0,1,2,3,4 output=runs/seeds
    python notebooks/error_bars.py runs/seeds/* data/results/error_bars.json

Each demo simulates and trains anew, so each model is judged by the dynamics of all the others, seen through its own
encoder. Of every slow mode: its timescale, from its correlation after a lag, and the free energy of its rarer side,
`ln(p / (1 - p))` for the share p beyond 0. Errors are standard errors of the bootstrap over trajectories, of
logarithms for timescales. `inherited` adds to that of the synthetic dynamics that of the training data, which no model
can be better than.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from jaxtyping import Float

import mdgen
from mdgen.apps.trajectories import open_data
from mdgen.data.conditions import first_frame
from mdgen.evaluation.statistics.intervals import bootstrap_weights
from mdgen.files import MARK
from mdgen.generation.simulator import LatentSimulator
from mdgen.results import Acceptance, Estimate, write_result

LENGTHS = (1, 10, 100)
"""Synthetic dynamics, in lengths of the training data."""
RESAMPLES, TWO_SIDED = 200, 1.96

Latents = Float[np.ndarray, "trajectory frame mode"]
Sums = Float[np.ndarray, "trajectory sum mode"]


def dynamics(folder: Path, simulator: LatentSimulator, fraction: tuple[float, float]) -> Latents:
    """Part of what a demo simulated, as the slow modes of a model."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    data = open_data({**config["data"], "fraction": list(fraction)})
    return np.stack([simulator.latent(data.positions(index))[:, 0] for index in range(len(data))])


def synthetic(simulator: LatentSimulator, n: int, n_frames: int, seed: int) -> Latents:
    """As many trajectories of the propagator, without a decoder."""
    propagator: Any = simulator.propagator
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randint(len(propagator.starts), (n,), generator=generator)
    return simulator.sample(first_frame(propagator.starts[chosen], n_frames), generator)[:, :, 0].numpy()


def sums_of(latents: Latents) -> Sums:
    """What both statistics are made of: products after a lag, squares, means, and frames beyond 0, by trajectory."""
    now, later = latents[:, :-1].astype(np.float64), latents[:, 1:].astype(np.float64)
    beyond = (latents > 0).mean(1)
    parts = [(now * later).mean(1), (now**2 + later**2).mean(1) / 2, (now + later).mean(1) / 2, beyond]
    return np.stack(parts, 1)


def statistics(sums: Float[np.ndarray, "*draw sum mode"], lag_ps: float) -> Float[np.ndarray, "*draw statistic mode"]:
    """Logarithm of the timescale, and free energy in kT of the side beyond 0, of each mode."""
    product, square, mean, beyond = np.moveaxis(sums, -2, 0)
    correlation = (product - mean**2) / (square - mean**2)
    correlation = correlation.clip(1e-6, 1 - 1e-6)  # no time is told beyond
    return np.stack([np.log(-lag_ps / np.log(correlation)), np.log(beyond / (1 - beyond))], -2)


def with_errors(sums: Sums, lag_ps: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The statistics of all trajectories, and their standard errors."""
    weights = bootstrap_weights(len(sums), RESAMPLES, rng) / len(sums)
    drawn = statistics(np.tensordot(weights, sums, 1), lag_ps)
    return statistics(sums.mean(0), lag_ps), drawn.std(0, ddof=1)


def line(folder: Path, others: list[Path]) -> list[dict[str, Any]]:
    """What one model says of each of its modes beside its training data and the dynamics of the other demos."""
    rng = np.random.default_rng(0)
    simulator: LatentSimulator = mdgen.load(folder / "generate")
    config = yaml.safe_load((folder / "config.yaml").read_text())
    lag_ps = simulator.frame_spacing_ps
    trained = dynamics(folder, simulator, tuple(config["training_fraction"]))
    truth = np.concatenate([dynamics(other, simulator, (0.0, 1.0)) for other in others])
    found = {"training data": with_errors(sums_of(trained), lag_ps, rng)}
    found["other dynamics"] = with_errors(sums_of(truth), lag_ps, rng)
    n, n_frames = trained.shape[:2]
    for times in LENGTHS:
        made = synthetic(simulator, n, times * n_frames, seed=times)
        found[f"synthetic, {times} times"] = with_errors(sums_of(made), lag_ps, rng)
    lines = []
    for mode in range(trained.shape[2]):
        for number, name in enumerate(("log_timescale_ps", "free_energy_kT")):
            rows = {key: {"value": v[number, mode], "error": e[number, mode]} for key, (v, e) in found.items()}
            lines.append({"run": folder.name, "mode": mode + 1, "statistic": name, **rows})
    return lines


def holds(line: dict[str, Any], name: str, inherited: bool) -> bool:
    """Whether the value of the other dynamics lies within 95 % of the error, that of these dynamics included."""
    made, truth = line[name], line["other dynamics"]
    errors = [made["error"], truth["error"], line["training data"]["error"] if inherited else 0.0]
    return bool(abs(made["value"] - truth["value"]) < TWO_SIDED * np.hypot.reduce(errors))


def summary(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each length: errors beside those of the training data, and in how many cases the interval holds."""
    made = ["training data", *(f"synthetic, {times} times" for times in LENGTHS)]
    return [
        {
            "dynamics": name,
            "statistic": statistic,
            "cases": len(chosen),
            "error_over_training": float(np.median([e[name]["error"] / e["training data"]["error"] for e in chosen])),
            "rms_deviation": rms([e[name]["value"] - e["other dynamics"]["value"] for e in chosen]),
            "rms_error": rms([e[name]["error"] for e in chosen]),
            "holds": sum(holds(e, name, inherited=False) for e in chosen),
            "holds_inherited": sum(holds(e, name, inherited=name != "training data") for e in chosen),
        }
        for statistic in ("log_timescale_ps", "free_energy_kT")
        for chosen in [[line for line in lines if line["statistic"] == statistic]]
        for name in made
    ]


def rms(values: list[float]) -> float:
    """Root of the mean square."""
    return float(np.sqrt(np.mean(np.square(values))))


def main() -> None:
    """Read the demos, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    lines = []
    for folder in arguments.runs:
        if not (folder / "generate" / MARK).is_file():  # not yet trained: its dynamics judge the others
            continue
        lines += line(folder, [other for other in arguments.runs if other != folder])
        sys.stdout.write(f"{folder.name} done\n")
    rows = summary(lines)
    for row in rows:
        sys.stdout.write(json.dumps(row) + "\n")
    share = sum(row["holds_inherited"] for row in rows if row["dynamics"] == f"synthetic, {LENGTHS[-1]} times")
    share /= len(lines)
    command = f"python notebooks/error_bars.py runs/seeds/* {arguments.output}"
    provenance = {each.name: json.loads((each / "provenance.json").read_text())[-1] for each in arguments.runs}
    accepted = [Acceptance.above("share_of_inherited_intervals_that_hold", Estimate(share), 0.85)]
    write_result(
        arguments.output, {"command": command, "provenance": provenance, "summary": rows, "lines": lines}, accepted
    )


if __name__ == "__main__":
    main()
