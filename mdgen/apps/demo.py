"""`mdgen demo`: the whole chain, each step a run folder of its own, ending in a report."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

from mdgen.apps import evaluate, generate, simulate
from mdgen.apps.runs.concurrent_steps import require_one_device, run_concurrently
from mdgen.apps.runs.run_folder import open_run
from mdgen.apps.runs.threads import use_threads
from mdgen.evaluation import verdict_table, write_report
from mdgen.progress import duration
from mdgen.results import Acceptance

logger = logging.getLogger("mdgen")


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
        four_wells = Path(config["four_wells"]["output"])
        plugins = config.get("plugins", [])
        first = {"encoder": ("train", config["train_encoder"])}
        if not four_wells.is_file():
            first["four_wells"] = ("benchmark", config["four_wells"])
        run_concurrently(first, plugins)
        both = {part: ("train", config[f"train_{part}"]) for part in ("propagator", "decoder")}
        run_concurrently(both, plugins)
        generate.run(config["generate"])
        rows = [Acceptance(**row) for row in json.loads(four_wells.read_text())["acceptance"]]
        result = evaluate.judged(config["evaluate"])
        result = replace(result, acceptance=(*result.acceptance, *rows))
        write_report(result, folder.path)
        folder.mark_done()
        logger.info("\n%s\n", verdict_table(result))
        logger.info("demo          done in %s; open %s", duration(folder.seconds), report)


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
        filled[name] = {**config[name], **more, "data": part("training")}
    filled["evaluate"] = {
        **config["evaluate"],
        "reference": part("reference"),
        "replicate": part("replicate"),
        "training": part("training"),
        "generated": {**data, "trajectories": config["generate"]["output"], "topology": None, "frame_spacing_ps": None}
        | {"fraction": [0.0, 1.0]},
    }
    return filled
