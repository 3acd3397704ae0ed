"""`mdgen generate`: trained parts composed, new trajectories of one of four tasks, or designs, to disk."""

import json
import logging
import os
import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import torch

from mdgen.apps.config.instantiation import instantiate, required
from mdgen.apps.runs.potentials import system_for
from mdgen.apps.runs.provenance import content_hash
from mdgen.apps.runs.run_folder import RunFolder, open_run
from mdgen.apps.runs.threads import use_threads
from mdgen.apps.runs.trained_parts import part_file
from mdgen.apps.trajectories import STORE, open_data
from mdgen.data.export import FORMATS, TOPOLOGY, export_trajectories
from mdgen.data.manifest import MOST_TRAJECTORIES
from mdgen.data.trajectories import open_trajectories, write_trajectory
from mdgen.errors import MdgenError
from mdgen.files import write_aside
from mdgen.generation.decoding_check import DecodingCheck
from mdgen.generation.load import PARTS, load, model_folder, part_files, read_structures
from mdgen.generation.relaxation import Relaxation
from mdgen.generation.simulator import LatentSimulator
from mdgen.generation.tasks import Inpainting, Interpolation, Rollout, Task, Upsampling
from mdgen.md.dynamics.schedule import LONGEST_NS
from mdgen.progress import duration, simulated
from mdgen.units import NANOSECOND

logger = logging.getLogger("mdgen")

KEYS = {
    "rollout": ("start",),
    "interpolate": ("start", "end"),
    "upsample": ("coarse", "factor"),
    "inpaint": ("known", "tokens"),
    "design": ("known", "tokens", "n_designs", "design_by", "tell_types"),
}
"""What each task takes beside the keys of all; all but a rollout's start and `OPTIONAL` must be given."""

OPTIONAL = ("n_designs", "design_by", "tell_types")

IGNORED = {"n_trajectories": 1000, "length_ns": 10.0}
"""Keys of trajectories that a design ignores, with their values in `conf/generate.yaml`."""

DESIGNS = "designs.csv"


def run(config: dict[str, Any]) -> None:
    """Compose the parts and generate."""
    files = _files(config)
    _check(config)
    config = _without_idle_groups(config)
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
        if config["task"] == "design":
            _design(config, simulator, folder)
            return
        simulator.relaxation = _relaxation(config, simulator)
        begin = time.monotonic()
        check = DecodingCheck(simulator.encoder, simulator.decoder, simulator.molecule)
        store = simulator.generate_to_store(
            folder.path / STORE,
            _task(config, simulator),
            {"generated": True},
            check,
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
        speed = 1e3 * total_us / (time.monotonic() - begin)
        figures = {"n_trajectories": store.n_trajectories, "n_frames": store.n_frames, "total_us": total_us}
        figures |= {"ns_per_second": speed, "threads": torch.get_num_threads()} | check.figures()
        figures |= simulator.relaxation.figures() if simulator.relaxation is not None else {}
        made = {"frame_spacing_ps": store.frame_spacing_ps, "temperature_K": store.metadata.get("temperature_K")}
        folder.finish({"task": config["task"], **figures, **made, "store": STORE})
        took = f"{simulated(1e3 * total_us)} in {duration(folder.seconds)}, {speed:.3g} ns a second"
        logger.info("generate      %s; trajectories in %s", took, store.path)


def _files(config: dict[str, Any]) -> dict[str, Path]:
    """The file of each part, and `pdb` where one is named: those of a model, or of three runs.

    Raises:
        MdgenError: if neither is named, or both are, or a file is missing.
    """
    keys = [f"{part}_run" for part in PARTS]
    runs = [key for key in keys if config[key] is not None]
    if config["model"] is None:
        if not runs:
            raise MdgenError(f"model was not given; say model=FOLDER_OR_NAME, or each of {', '.join(keys)}")
        required(config, *keys)
        files = {part: part_file(config[f"{part}_run"], part) for part in PARTS}
    elif runs:
        raise MdgenError(f"model={config['model']} names all three parts; leave {runs[0]} out")
    else:
        files = part_files(model_folder(config["model"]))
    if config["pdb"] is not None:
        files["pdb"] = Path(config["pdb"])
        if not files["pdb"].is_file():
            raise MdgenError(f"pdb={config['pdb']} does not exist; name a structure file")
    return files


def _check(config: dict[str, Any]) -> None:
    """Refuse an unknown task or export, and keys that the task lacks or does not take."""
    task = config["task"]
    for key, options in (("task", tuple(KEYS)), ("export", FORMATS)):
        if config[key] not in options and not (key == "export" and config[key] is None):
            raise MdgenError(f"{key}={config[key]}: expected one of {', '.join(options)}")
    between = config["between"]["trajectories"] is not None
    if between and task != "interpolate":
        raise MdgenError(f"between.trajectories says nothing to task={task}; it names the ends of task=interpolate")
    if between and (config["start"] is not None or config["end"] is not None):
        raise MdgenError("between.trajectories was given with a start or an end; name the ends once")
    if task == "interpolate" and not between and config["start"] is None and config["end"] is None:
        raise MdgenError(
            "task=interpolate was given no ends; name structures as start=FILE end=FILE, or dynamics as "
            "between.trajectories=FILES, whose two states of lowest flux are taken"
        )
    if task != "rollout" and not between:
        required(config, *(key for key in KEYS[task] if key not in OPTIONAL))
    for key in ("system", "export") if task == "design" else ():
        if config.get(key) is not None:
            raise MdgenError(f"{key} says nothing to task=design, which makes no trajectories; leave it out")
    for key in sorted({key for keys in KEYS.values() for key in keys} - set(KEYS[task])):
        if config[key] is not None:
            raise MdgenError(f"{key}={config[key]} says nothing to task={task}, which takes {', '.join(KEYS[task])}")
    for key in ("n_trajectories", "n_designs"):
        if config[key] is not None and not 1 <= int(config[key]) <= MOST_TRAJECTORIES:
            raise MdgenError(f"{key}={config[key]}: expected at least 1 and at most {MOST_TRAJECTORIES}")


def _design(config: dict[str, Any], simulator: LatentSimulator, folder: RunFolder) -> None:
    """Sequences instead of trajectories: `designs.csv`, and how many residues are those of the structure."""
    for key, default in IGNORED.items():
        if config[key] != default:
            logger.warning("generate      %s=%s says nothing to task=design, which makes designs", key, config[key])
    asked_ps = _number(config["frame_spacing_ps"])
    try:
        known = _trajectories(config["known"], simulator, None)
    except MdgenError:  # files that state no spacing, which is then the one asked for
        known = _trajectories(config["known"], simulator, asked_ps)
    designs = simulator.design(
        known,
        config["tokens"],
        config["n_designs"],
        config["design_by"] or "flow",
        bool(config["tell_types"]),
        int(config["seed"]),
        _number(config["temperature_K"]),
        asked_ps,
    )
    write_aside(folder.path / DESIGNS, designs.table().encode())
    figures = designs.metrics()
    counts = {"n_designs": len(designs), "n_sequences": len(set(designs.sequences))}
    folder.finish({"task": "design", **counts, **figures, "designs": DESIGNS})
    logger.info("generate      %d designs in %s", len(designs), folder.path / DESIGNS)


def _without_idle_groups(config: dict[str, Any]) -> dict[str, Any]:
    """The config without what is said of a relaxation, or of dynamics between whose states to go, that there are not.

    Raises:
        MdgenError: if something was asked of the relaxation.
    """
    if config["between"]["trajectories"] is None:
        if config["between"].get("protocol") is not None:
            raise MdgenError("between.protocol says nothing without between.trajectories; name these, or leave it out")
        config = {key: value for key, value in config.items() if key != "between"}
    if config.get("system") is not None:
        return config
    defaults = {each.name: each.default for each in fields(Relaxation)}
    for key, value in config.get("relaxation", {}).items():
        if value != defaults[key]:
            raise MdgenError(
                f"relaxation.{key}={value} says nothing without a force field; name one, such as system=pdb "
                "system.pdb=FILE"
            )
    return {key: value for key, value in config.items() if key not in ("relaxation", "system")}


def _relaxation(config: dict[str, Any], simulator: LatentSimulator) -> Relaxation | None:
    """What relaxes every frame; None where no system is named."""
    if config.get("system") is None:
        return None
    system = system_for(config["system"], simulator.molecule)
    return Relaxation(system, **config["relaxation"])


def _task(config: dict[str, Any], simulator: LatentSimulator) -> Task:
    """The task of a config, its structures read from their files."""
    asked_ps = _number(config["frame_spacing_ps"])
    spacing_ps = asked_ps or simulator.frame_spacing_ps
    if config["task"] == "upsample":
        return _upsampling(config["coarse"], int(config["factor"]), asked_ps, simulator)
    if config["task"] == "inpaint":
        return Inpainting(_trajectories(config["known"], simulator, asked_ps), config["tokens"])
    if not 0 < float(config["length_ns"]) < LONGEST_NS:
        raise MdgenError(f"length_ns={config['length_ns']}: expected a number above 0 and below {LONGEST_NS:g}")
    n_steps = round(float(config["length_ns"]) * NANOSECOND / spacing_ps)
    if n_steps < 1:
        raise MdgenError(f"length_ns={config['length_ns']} is shorter than one frame, {spacing_ps:g} ps; ask for more")
    if "between" in config:
        first, last = _ends(config, simulator)
        return Interpolation(first, last, n_steps + 1)
    if config["task"] == "interpolate":
        return Interpolation(read_structures(config["start"]), read_structures(config["end"]), n_steps + 1)
    return Rollout(None if config["start"] is None else read_structures(config["start"]), n_steps)


def _ends(config: dict[str, Any], simulator: LatentSimulator) -> tuple[np.ndarray, np.ndarray]:
    """Frames of the two states of lowest flux of the dynamics that the config names, as `protocol=mdgen` finds them."""
    from mdgen.evaluation.protocols import MdgenProtocol  # with all metrics, for which no other task need wait

    reference = open_data(config["between"], "between")
    if reference.molecule != simulator.molecule:
        raise MdgenError(
            f"between.trajectories are of {reference.molecule!r} and the model is of {simulator.molecule!r}; name "
            "dynamics of that molecule"
        )
    settings = config["between"].get("protocol")
    protocol = MdgenProtocol() if settings is None else instantiate(settings)
    if not isinstance(protocol, MdgenProtocol):
        raise MdgenError("protocol@between.protocol takes mdgen alone, which knows metastable states; choose that")
    return protocol.path_ends(reference, int(config["n_trajectories"]), np.random.default_rng(int(config["seed"])))


def _upsampling(coarse: str | list[str], factor: int, asked_ps: float | None, simulator: LatentSimulator) -> Upsampling:
    """Refuses a factor that does not lead from the spacing of the coarse frames to the one asked for."""
    if factor < 1:
        raise MdgenError(f"factor={factor}: expected at least 1, generated frames from one coarse frame to the next")
    if asked_ps is None:
        return Upsampling(_trajectories(coarse, simulator, None), factor)
    try:
        found = _trajectories(coarse, simulator, None)
    except MdgenError:  # files that state no spacing, which is then what the factor says
        return Upsampling(_trajectories(coarse, simulator, asked_ps * factor), factor)
    spacing_ps = found[0].timestep if len(found[0]) > 1 else asked_ps * factor
    if abs(spacing_ps - asked_ps * factor) > 1e-3 * spacing_ps:
        raise MdgenError(
            f"factor={factor} does not divide the {spacing_ps:g} ps between the coarse frames into steps of "
            f"frame_spacing_ps={asked_ps:g}; leave frame_spacing_ps out, or choose a factor that does"
        )
    return Upsampling(found, factor)


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _trajectories(
    paths: str | list[str], simulator: LatentSimulator, frame_spacing_ps: float | None
) -> list[mdtraj.Trajectory]:
    """Trajectories of the simulator's molecule, with the times that their files or the config tell."""
    opened = open_trajectories(paths, simulator.molecule, frame_spacing_ps)
    return [opened.trajectory(index) for index in range(len(opened))]
