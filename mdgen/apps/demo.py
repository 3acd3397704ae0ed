"""`mdgen demo`: the whole chain, each step a run folder of its own, ending in a report."""

import importlib
import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mdgen.apps import evaluate, generate, simulate, train
from mdgen.apps.runs.concurrent_steps import require_one_device, run_concurrently
from mdgen.apps.runs.run_folder import open_run
from mdgen.apps.runs.threads import use_threads
from mdgen.apps.trajectories import open_data
from mdgen.data.trajectories import write_trajectory
from mdgen.errors import MdgenError
from mdgen.evaluation import verdict_table, write_report
from mdgen.evaluation.protocols import MdgenProtocol
from mdgen.files import MARK
from mdgen.progress import duration
from mdgen.registry import resolve
from mdgen.results import Acceptance

logger = logging.getLogger("mdgen")

STARTS, COARSE = "starts.h5", "coarse-*.h5"
"""Files of an output folder: frames that rollouts begin at, and dynamics that are to be upsampled."""


def run(config: dict[str, Any]) -> None:
    """Simulate (or take the data that are named), train three parts, generate, evaluate."""
    require_one_device(config)
    config = with_data(config)
    report = Path(config["output"]) / "report.html"
    use_threads(config["threads"])
    with open_run(config["output"], "demo", config) as folder:
        if folder.done:
            logger.info("demo          done already: %s", report)
            return
        if config["data"]["trajectories"] == config["simulate"]["output"]:
            simulate.run(config["simulate"])
        _train_parts(config)
        use_threads(config["threads"])  # a training in this process set its own
        write_known(config)
        generate.run(config["generate"])
        result = evaluate.judged(config["evaluate"])
        acceptance = (*result.acceptance, *_four_wells(config))
        result = replace(result, acceptance=acceptance, notes=(*result.notes, *_cost(config)))
        write_report(result, folder.path, evaluate.origin(config["evaluate"]))
        folder.mark_done()
        logger.info("\n%s\n", verdict_table(result))
        logger.info("demo          done in %s; open %s", duration(folder.seconds), report)


def _train_parts(config: dict[str, Any]) -> None:
    """Train the three parts, and beside the encoder run the benchmark of four wells.

    Parts that learn nothing are only made.
    """
    steps = {part: ("train", config[f"train_{part}"]) for part in train.PARTS}
    for part, (_, step) in list(steps.items()):
        if train.learns_from(step[part]) == "nothing":
            train.run(step)
            del steps[part]
    first = {part: steps.pop(part) for part in ("encoder",) if part in steps}
    wells = config["four_wells"]
    if wells is not None and not Path(wells["output"]).is_file():
        first["four_wells"] = ("benchmark", wells)
    _run_steps(first, config.get("plugins", []))
    _run_steps(steps, config.get("plugins", []))


def _run_steps(steps: dict[str, tuple[str, dict[str, Any]]], plugins: list[str]) -> None:
    """Run several steps at once; one that is alone, and those done already, need no process of their own."""
    done = {name: step for name, step in steps.items() if (Path(step[1]["output"]) / MARK).is_file()}
    left = {name: step for name, step in steps.items() if name not in done}
    for module, step in [*done.values(), *(left.values() if len(left) == 1 else ())]:
        importlib.import_module(f"mdgen.apps.{module}").run(step)
    if len(left) > 1:
        run_concurrently(left, plugins)


def write_known(config: dict[str, Any]) -> None:
    """What is given of the generated trajectories: evenly spaced frames of the training data, at which they begin; or
    every k-th frame of unseen dynamics, between which the others are to be filled in.
    """
    folder, task = Path(config["output"]), config["generate"]
    if task["coarse"] == str(folder / COARSE):
        data, factor = open_data(config["evaluate"]["reference"]), int(task["factor"])
        for number in range(len(data)):
            path = folder / COARSE.replace("*", f"{number:04d}")
            if not path.is_file():
                frames = data.positions(number, stride=factor)
                write_trajectory(path, frames, data.molecule, data.frame_spacing_ps * factor)
    elif task["start"] == str(folder / STARTS) and not (folder / STARTS).is_file():
        data = open_data(config["train_encoder"]["data"])
        places = (np.arange(config["n_starts"]) + 0.5) * data.n_frames // config["n_starts"]
        write_trajectory(folder / STARTS, data.frames(places.astype(int)), data.molecule, data.frame_spacing_ps)


def _four_wells(config: dict[str, Any]) -> list[Acceptance]:
    if config["four_wells"] is None:
        return []
    document = json.loads(Path(config["four_wells"]["output"]).read_text())
    return [Acceptance(**row) for row in document["acceptance"]]


def _cost(config: dict[str, Any]) -> list[str]:
    """A sentence on what a generated nanosecond costs of a simulated one, where the speeds of both runs are known.

    It is no bound: the two are timed one after the other, on a machine that may be shared. `suite=tokens` times both
    side by side.
    """
    speeds = []
    for run in (config["generate"]["output"], config["data"]["trajectories"]):
        file = Path(run) / "metrics.json" if isinstance(run, str) else Path()
        speeds.append(json.loads(file.read_text()).get("ns_per_second") if file.is_file() else None)
    generated, simulated = speeds
    if generated is None or simulated is None:
        return []
    return [f"A generated nanosecond took {simulated / generated:.2g} of the time of a simulated one, by the clock."]


def with_data(config: dict[str, Any]) -> dict[str, Any]:
    """The config with the data of every step filled in: files of the user's, or what the first step simulates."""
    data = dict(config["data"])
    if data["trajectories"] is None:
        data["trajectories"] = config["simulate"]["output"]

    def part(name: str) -> dict[str, Any]:
        return {**data, "fraction": config[f"{name}_fraction"]}

    filled = {**config, "data": data}
    for name in ("train_encoder", "train_propagator", "train_decoder"):
        more = {} if name == "train_encoder" else {"encoder_run": config["train_encoder"]["output"]}
        filled[name] = {**config[name], **more, "data": {**config[name]["data"], **part("training")}}

    task = config["generate"]
    known: dict[str, Any] = {}
    if task["task"] == "interpolate" and task["start"] is None:
        judge = config["evaluate"].get("protocol")
        states = {"protocol": judge} if judge and resolve(judge["_target_"]) is MdgenProtocol else {}
        dynamics = part("reference") if task["between"]["trajectories"] is None else {}
        known = {"between": {**states, **task["between"], **dynamics}}
    elif task["task"] == "upsample" and task["coarse"] is None:
        if not isinstance(task["factor"], int) or task["factor"] < 1:
            raise MdgenError(f"generate.factor={task['factor']}: say how many frames are made for each that is kept")
        known = {"coarse": str(Path(config["output"]) / COARSE)}
    elif task["task"] == "rollout" and config["n_starts"] and task["start"] is None:
        known = {"start": str(Path(config["output"]) / STARTS)}
    filled["generate"] = {**task, **known}
    filled["evaluate"] = {
        **config["evaluate"],
        "reference": part("reference"),
        "replicate": part("replicate"),
        "training": part("training"),
        "generated": {**data, "trajectories": config["generate"]["output"], "topology": None, "frame_spacing_ps": None}
        | {"fraction": [0.0, 1.0]},
    }
    return filled
