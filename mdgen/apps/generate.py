"""`mdgen generate`: trained parts composed, new trajectories of one of four tasks to disk."""

import json
import logging
import os
from typing import Any

import mdtraj

from mdgen.apps.config.instantiation import required
from mdgen.apps.runs.provenance import content_hash
from mdgen.apps.runs.run_folder import open_run
from mdgen.apps.runs.threads import use_threads
from mdgen.apps.train import part_file
from mdgen.apps.trajectories import STORE
from mdgen.data.export import FORMATS, TOPOLOGY, export_trajectories
from mdgen.data.trajectories import open_trajectories, write_trajectory
from mdgen.errors import MdgenError
from mdgen.files import write_aside
from mdgen.generation.load import PARTS, load
from mdgen.generation.simulator import LatentSimulator
from mdgen.generation.tasks import Inpainting, Interpolation, Rollout, Task, Upsampling
from mdgen.progress import duration
from mdgen.units import NANOSECOND

logger = logging.getLogger("mdgen")

KEYS = {
    "rollout": ("start",),
    "interpolate": ("start", "end"),
    "upsample": ("coarse", "factor"),
    "inpaint": ("known", "tokens"),
}
"""What each task takes beside the keys of all; all but a rollout's start must be given."""


def run(config: dict[str, Any]) -> None:
    """Compose the parts and generate."""
    required(config, "encoder_run", "propagator_run", "decoder_run")
    _check(config)
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
        simulator = load(folder.path).to(config["device"])
        store = simulator.generate_to_store(
            folder.path / STORE,
            _task(config, simulator),
            {"generated": True},
            n_trajectories=int(config["n_trajectories"]),
            seed=int(config["seed"]),
            temperature_K=_number(config["temperature_K"]),
            frame_spacing_ps=_number(config["frame_spacing_ps"]),
        )
        generated = open_trajectories(store.path)
        write_trajectory(folder.path / TOPOLOGY, generated.positions(0, 0, 1), store.molecule, store.frame_spacing_ps)
        if config["export"] is not None:
            export_trajectories(generated, folder.path, config["export"])
        total_us = store.n_trajectories * store.n_frames * store.frame_spacing_ps / 1e6
        figures = {"n_trajectories": store.n_trajectories, "n_frames": store.n_frames, "total_us": total_us}
        made = {"frame_spacing_ps": store.frame_spacing_ps, "temperature_K": store.metadata.get("temperature_K")}
        folder.finish({"task": config["task"], **figures, **made, "store": STORE})
        logger.info("generate      %.4g us in %s; trajectories in %s", total_us, duration(folder.seconds), store.path)


def _check(config: dict[str, Any]) -> None:
    """Refuse an unknown task or export, and keys that the task lacks or does not take."""
    task = config["task"]
    for key, options in (("task", tuple(KEYS)), ("export", FORMATS)):
        if config[key] not in options and not (key == "export" and config[key] is None):
            raise MdgenError(f"{key}={config[key]}: expected one of {', '.join(options)}")
    if task != "rollout":
        required(config, *KEYS[task])
    for key in sorted({key for keys in KEYS.values() for key in keys} - set(KEYS[task])):
        if config[key] is not None:
            raise MdgenError(f"{key}={config[key]} says nothing to task={task}, which takes {', '.join(KEYS[task])}")


def _task(config: dict[str, Any], simulator: LatentSimulator) -> Task:
    """The task of a config, its structures read from their files."""
    asked_ps = _number(config["frame_spacing_ps"])
    spacing_ps = asked_ps or simulator.frame_spacing_ps
    if config["task"] == "upsample":
        factor = int(config["factor"])
        coarse_ps = None if asked_ps is None else asked_ps * factor
        return Upsampling(_trajectories(config["coarse"], simulator, coarse_ps), factor)
    if config["task"] == "inpaint":
        return Inpainting(_trajectories(config["known"], simulator, asked_ps), config["tokens"])
    n_steps = round(float(config["length_ns"]) * NANOSECOND / spacing_ps)
    if n_steps < 1:
        raise MdgenError(f"length_ns={config['length_ns']} is shorter than one frame, {spacing_ps:g} ps; ask for more")
    if config["task"] == "interpolate":
        return Interpolation(_start(config["start"]), _start(config["end"]), n_steps + 1)
    return Rollout(None if config["start"] is None else _start(config["start"]), n_steps)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _trajectories(
    paths: str | list[str], simulator: LatentSimulator, frame_spacing_ps: float | None
) -> list[mdtraj.Trajectory]:
    """Trajectories of the simulator's molecule, with the times that their files or the config tell."""
    opened = open_trajectories(paths, simulator.molecule, frame_spacing_ps)
    return [opened.trajectory(index) for index in range(len(opened))]


def _start(path: str) -> mdtraj.Trajectory:
    """The frames of a structure file, whatever time lies between them."""
    try:
        return open_trajectories(path, path).trajectory(0)
    except MdgenError:  # a file that states no spacing, as pdb
        return open_trajectories(path, path, frame_spacing_ps=1.0).trajectory(0)
