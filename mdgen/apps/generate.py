"""`mdgen generate`: trained parts composed, new trajectories to disk."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import mdtraj

from mdgen.apps.config.instantiation import required
from mdgen.apps.runs.provenance import content_hash
from mdgen.apps.runs.run_folder import open_run
from mdgen.apps.runs.threads import use_threads
from mdgen.apps.train import part_file
from mdgen.apps.trajectories import STORE
from mdgen.data.store import TrajectoryStore
from mdgen.data.trajectories import open_trajectories, write_trajectory
from mdgen.errors import MdgenError
from mdgen.files import write_aside
from mdgen.generation.load import load
from mdgen.generation.simulator import LatentSimulator
from mdgen.progress import duration
from mdgen.units import NANOSECOND

logger = logging.getLogger("mdgen")

PARTS = ("encoder", "propagator", "decoder")
EXPORTS = ("xtc", "dcd", "h5", "pdb")


def run(config: dict[str, Any]) -> None:
    """Compose the parts and generate."""
    required(config, "encoder_run", "propagator_run", "decoder_run")
    if config["export"] not in (None, *EXPORTS):
        raise MdgenError(f"export={config['export']}: expected one of {', '.join(EXPORTS)}, or null")
    files = {part: part_file(config[f"{part}_run"], part) for part in PARTS}
    # A part that is trained again is another part, though its path is the same.
    config = {**config, "inputs": {part: content_hash(file) for part, file in files.items()}}
    use_threads(config["threads"])
    with open_run(config["output"], "generate", config) as folder:
        if folder.done:
            logger.info("generate      done already: %s", folder.path)
            return
        relative = {part: os.path.relpath(file.resolve(), folder.path.resolve()) for part, file in files.items()}
        write_aside(folder.path / "simulator.json", (json.dumps(relative, indent=2) + "\n").encode())
        simulator = load(folder.path)
        n_trajectories, n_frames = int(config["n_trajectories"]), _n_frames(config, simulator)
        start = None if config["start"] is None else _start(config["start"])
        store = simulator.rollout_to_store(
            folder.path / STORE, start, n_frames, n_trajectories, int(config["seed"]), {"generated": True}
        )
        if config["export"] is not None:
            _export(store, folder.path, config["export"])
        total_us = n_trajectories * n_frames * simulator.frame_spacing_ps / 1e6
        figures = {"n_trajectories": n_trajectories, "n_frames": n_frames, "total_us": total_us}
        folder.finish({**figures, "frame_spacing_ps": simulator.frame_spacing_ps, "store": STORE})
        took = duration(folder.seconds)
        logger.info("generate      %.4g us in %s; trajectories in %s", total_us, took, store.path)


def _n_frames(config: dict[str, Any], simulator: LatentSimulator) -> int:
    n_frames = round(float(config["length_ns"]) * NANOSECOND / simulator.frame_spacing_ps)
    if n_frames < 1:
        raise MdgenError(
            f"length_ns={config['length_ns']} is shorter than one lag, {simulator.frame_spacing_ps:g} ps; ask for more"
        )
    return n_frames


def _start(path: str) -> mdtraj.Trajectory:
    """The frames of a structure file, whatever time lies between them."""
    try:
        return open_trajectories(path, path).trajectory(0)
    except MdgenError:  # a file that states no spacing, as pdb
        return open_trajectories(path, path, frame_spacing_ps=1.0).trajectory(0)


def _export(store: TrajectoryStore, folder: Path, suffix: str) -> None:
    """One file a trajectory beside the store, with the topology as a pdb."""
    spacing = store.frame_spacing_ps
    write_trajectory(folder / "topology.pdb", store.positions(0, 0, 1), store.molecule, spacing)
    for index in range(store.n_trajectories):
        blocks = (store.positions(index, begin, begin + 10_000) for begin in range(0, store.n_frames, 10_000))
        write_trajectory(folder / f"trajectory-{index:04d}.{suffix}", blocks, store.molecule, spacing)
