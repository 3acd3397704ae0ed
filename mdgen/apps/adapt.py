"""`mdgen adapt`: rounds of short runs, each started where the kinetics of all before are least known."""

import json
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mdgen.apps import simulate, train
from mdgen.apps.config.stored import data_defaults
from mdgen.apps.runs.adaptive_rounds import draw_timescales, has_settled
from mdgen.apps.runs.run_folder import open_run
from mdgen.apps.runs.threads import use_threads
from mdgen.data.spacing import lag_in_frames
from mdgen.data.trajectories import TrajectorySet, open_trajectories, write_trajectory
from mdgen.documents import read_json
from mdgen.enhanced_sampling.markov_estimate import MarkovEstimate, resampled_timescales, transition_counts
from mdgen.enhanced_sampling.start_choice import (
    equilibrium_weights,
    farthest_point_cells,
    frames_in,
    least_counts,
    timescale_uncertainty,
)
from mdgen.errors import MdgenError
from mdgen.evaluation.report.canvas import write_png
from mdgen.evaluation.statistics.states import States
from mdgen.files import write_aside
from mdgen.interfaces import Encoder
from mdgen.progress import duration, simulated
from mdgen.results import Acceptance, Estimate
from mdgen.training.gathering import encode_trajectories

logger = logging.getLogger("mdgen")

CHOICES = ("counts", "uncertainty")
ROUND = "round.json"
STARTS = "starts.h5"


@dataclass(frozen=True)
class Kinetics:
    """What all rounds so far say.

    Args:
        data: their runs.
        latents: latent of every frame.
        states: state of every frame.
        n_states: number of states.
        counts: transitions in each run.
        estimate: chain behind all of them.
        lag_frames: lag of the transitions.
    """

    data: TrajectorySet
    latents: Float[np.ndarray, "frame channel"]
    states: Int[np.ndarray, "frame"]
    n_states: int
    counts: Int[np.ndarray, "run state state"]
    estimate: MarkovEstimate
    lag_frames: int


def run(config: dict[str, Any]) -> None:
    """Go on round by round until the timescales have settled or the budget is used."""
    _check(config)
    use_threads(config["threads"])
    with open_run(config["output"], "adapt", config) as folder:
        if folder.done:
            logger.info("adapt         done already: %s", folder.path)
            return
        rounds: list[dict[str, Any]] = []
        kinetics = None
        while len(rounds) < config["n_rounds"] and not has_settled(rounds, config):
            file = _path(folder.path, len(rounds)) / ROUND
            if file.is_file():
                rounds.append(read_json(file, dict[str, Any], "delete it and go on"))
                kinetics = None  # of fewer rounds, where one of them was done again
                continue
            kinetics = _one_round(config, folder.path, len(rounds), rounds)
        n_rounds = len(rounds)
        kinetics = kinetics or _kinetics(config, folder.path, n_rounds)
        weights = equilibrium_weights(kinetics.estimate, kinetics.states, kinetics.n_states)
        write_aside(folder.path / "weights.npy", partial(np.save, arr=weights))
        write_png(folder.path / "timescales.png", lambda: draw_timescales(rounds, config))
        settled = has_settled(rounds, config)
        row = Acceptance.judged("rounds", Estimate(n_rounds), f"settled within {config['n_rounds']} rounds", settled)
        names = [str(_path(Path(), number) / "simulate") for number in range(n_rounds)]
        folder.finish({"settled": settled, "runs": names, "rounds": rounds}, [row])
        said = "settled" if settled else "not settled; raise n_rounds to go on"
        logger.info(
            "adapt         %s after %s in %s", said, simulated(rounds[-1]["total_ns"]), duration(folder.seconds)
        )


def _check(config: dict[str, Any]) -> None:
    if config["choice"] not in CHOICES:
        raise MdgenError(f"choice={config['choice']}: expected one of {', '.join(CHOICES)}")
    for key, least in (("n_rounds", 1), ("n_states", 2), ("n_timescales", 1), ("resamples", 2), ("seed", 0)):
        if config[key] < least:
            raise MdgenError(f"{key}={config[key]}: expected at least {least}")
    if not config["tolerance"] > 0:
        raise MdgenError(f"tolerance={config['tolerance']}: expected a number above 0")
    for key in ("save_atoms", "tempering", "pressure_bar"):
        if config["simulate"].get(key) is not None:
            raise MdgenError(
                f"simulate.{key} does not go with adapt, whose runs start from whole frames in one box; leave it out"
            )
    if config["lag_ps"] >= 1000 * config["simulate"]["length_ns"]:
        raise MdgenError(
            f"lag_ps={config['lag_ps']:g} is not shorter than a run of simulate.length_ns="
            f"{config['simulate']['length_ns']:g}; shorten the lag or lengthen the runs"
        )


def _path(folder: Path, number: int) -> Path:
    return folder / f"round-{number:03d}"


def _one_round(config: dict[str, Any], folder: Path, number: int, rounds: list[dict[str, Any]]) -> Kinetics:
    """Simulate, fit, estimate and choose the next starts; what was measured is appended to `rounds`."""
    path = _path(folder, number)
    logger.info("adapt         round %d of at most %d", number + 1, config["n_rounds"])
    runs = {**config["simulate"], "output": str(path / "simulate"), "seed": _seed(config, number)}
    if number:
        runs |= {"start": str(path / STARTS), "equilibration_ns": 0.0, "anneal_temperature_K": None}
    simulate.run(runs)
    fitted = {key: config[key] for key in ("trainer", "logger", "seed", "threads")} | {"encoder": _encoder(config)}
    data = {**data_defaults(), "trajectories": _stores(folder, number + 1)}
    train.run({**fitted, "encoder_run": None, "output": str(path / "encoder"), "data": data})
    kinetics = _kinetics(config, folder, number + 1)
    rng = np.random.default_rng([int(config["seed"]), number])
    measured = _measured(config, kinetics, rng)
    frames = _chosen(config, kinetics, rng)
    write_trajectory(_path(folder, number + 1) / STARTS, kinetics.data.frames(frames), kinetics.data.molecule, 1.0)
    equilibration_ns = config["simulate"]["n_replicas"] * config["simulate"]["equilibration_ns"]
    total_ns = kinetics.data.n_frames * kinetics.data.frame_spacing_ps / 1000 + equilibration_ns
    entry = {"round": number, "total_ns": total_ns, **measured, "next_starts": frames.tolist()}
    write_aside(path / ROUND, (json.dumps(entry, indent=1) + "\n").encode())
    rounds.append(read_json(path / ROUND, dict[str, Any], ""))
    shown = ", ".join("gone" if each is None else f"{each:.4g}" for each in entry["timescales_ps"])
    logger.info("adapt         %s in all, timescales %s ps", simulated(total_ns), shown)
    return kinetics


def _encoder(config: dict[str, Any]) -> dict[str, Any]:
    """The config of the encoder, with the lag of the Markov state model where it has one."""
    model = config["encoder"]["model"]
    return {**config["encoder"], "model": model | ({"lag_ps": config["lag_ps"]} if "lag_ps" in model else {})}


def _seed(config: dict[str, Any], number: int) -> int:
    """A seed for each round of each run, so that no two share their random numbers."""
    return int(np.random.SeedSequence([int(config["seed"]), number]).generate_state(1)[0])


def _stores(folder: Path, n_rounds: int) -> list[str]:
    return [str(_path(folder, number) / "simulate") for number in range(n_rounds)]


def _kinetics(config: dict[str, Any], folder: Path, n_rounds: int) -> Kinetics:
    """The chain on the states of the last encoder over the runs of the first rounds."""
    encoder = train.load_encoder(_path(folder, n_rounds - 1) / "encoder")
    data = open_trajectories(_stores(folder, n_rounds))
    return kinetics_of(data, encoder, config["lag_ps"], config["n_states"], int(config["seed"]) + 1)


def kinetics_of(data: TrajectorySet, encoder: Encoder, lag_ps: float, n_states: int, seed: int) -> Kinetics:
    """The chain on k-means cells of the latent of some runs.

    Args:
        data: runs.
        encoder: encoder of the latent.
        lag_ps: lag of the transitions.
        n_states: number of cells.
        seed: seed of k-means.
    """
    latents = np.concatenate([table.flatten(1).numpy() for table in encode_trajectories(data, encoder)])
    clusters = States(latents, n_states, seed)
    states = clusters.assign(latents).astype(np.int64)
    lag_frames = lag_in_frames(lag_ps, data.frame_spacing_ps)
    counts = transition_counts(np.split(states, np.cumsum(data.lengths)[:-1]), lag_frames, clusters.number)
    estimate = MarkovEstimate.from_counts(counts.sum(0), lag_ps)
    return Kinetics(data, latents, states, clusters.number, counts, estimate, lag_frames)


def _measured(config: dict[str, Any], kinetics: Kinetics, rng: np.random.Generator) -> dict[str, Any]:
    """Timescales with their intervals over resampled runs, and how much of the states hangs together."""
    number, estimate = config["n_timescales"], kinetics.estimate
    values = estimate.timescales_ps(number)
    resampled = resampled_timescales(kinetics.counts, config["lag_ps"], number, config["resamples"], rng)
    known = np.isfinite(resampled).all(0)
    low, high = (np.where(known, np.quantile(resampled, q, axis=0), np.nan) for q in (0.025, 0.975))
    visits = np.bincount(kinetics.states, minlength=kinetics.n_states)
    return {
        "timescales_ps": _plain(values),
        "low_ps": _plain(low),
        "high_ps": _plain(high),
        "n_states": kinetics.n_states,
        "connected_share": float(visits[estimate.active].sum() / visits.sum()),
    }


def _plain(values: Float[np.ndarray, "mode"]) -> list[float | None]:
    return [float(each) if np.isfinite(each) else None for each in values]


def _chosen(config: dict[str, Any], kinetics: Kinetics, rng: np.random.Generator) -> Int[np.ndarray, "start"]:
    """The frames that the runs of the next round start from."""
    n_starts = int(config["simulate"]["n_replicas"])
    if config["choice"] == "uncertainty" and len(kinetics.estimate.active) > 1:
        chosen = timescale_uncertainty(kinetics.estimate, kinetics.lag_frames, n_starts)
        return frames_in(kinetics.states, chosen, rng)
    cells = farthest_point_cells(kinetics.latents, int(config["n_states"]), int(rng.integers(len(kinetics.latents))))
    return frames_in(cells, least_counts(np.bincount(cells), n_starts, rng), rng)
