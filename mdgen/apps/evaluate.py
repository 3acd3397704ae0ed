"""`mdgen evaluate`: any trajectories judged against any others; metrics and a report."""

import logging
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from mdgen.apps.instantiation import instantiate
from mdgen.apps.molecule_pairs import run_pairs
from mdgen.apps.run_folder import open_run
from mdgen.apps.threads import use_threads
from mdgen.apps.train import load_encoder
from mdgen.apps.training_runs import training_runs
from mdgen.apps.trajectories import open_data
from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.evaluation import Evaluation, evaluate, write_report
from mdgen.evaluation.losses import loss_curves
from mdgen.interfaces import Encoder, Potential
from mdgen.md.force_field import ForceField
from mdgen.progress import duration

logger = logging.getLogger("mdgen")


def run(config: dict[str, Any]) -> None:
    """Evaluate one pair, or a folder of them, and write the report."""
    if config.get("pairs") is not None:
        run_pairs(config, run)
        return
    use_threads(config["threads"])
    with open_run(config["output"], "evaluate", config) as folder:
        if folder.done:
            logger.info("evaluate      done already: %s", folder.path / "report.html")
            return
        result = judged(config)
        report = write_report(result, folder.path)
        folder.mark_done(result.acceptance)
        logger.info("evaluate      done in %s; report in %s", duration(folder.seconds), report)


def judged(config: dict[str, Any]) -> Evaluation:
    """The evaluation that a config asks for."""
    reference = open_data(config["reference"], "reference")
    generated = open_data(config["generated"], "generated")
    named = config["replicate"]["trajectories"] is not None
    replicate = open_data(config["replicate"], "replicate") if named else None
    encoder = None if config["encoder_run"] is None else load_encoder(config["encoder_run"])
    if encoder is not None and encoder.latent.molecule not in ("", reference.molecule.fingerprint):
        raise MdgenError(
            f"encoder_run={config['encoder_run']} was trained on another molecule than the reference, "
            f"{reference.molecule!r}; name its own encoder or none"
        )
    settings = instantiate(config["metrics"]["settings"], seed=int(config["seed"]))
    losses = loss_curves(training_runs(config))
    result = evaluate(
        reference,
        generated,
        replicate,
        None if encoder is None else _projection(encoder),
        _potential(config),
        settings,
        instantiate(config["metrics"]["bounds"]),
        seeds=_seeds(config),
    )
    return replace(result, curves={**result.curves, **losses})


def _seeds(config: dict[str, Any]) -> list[TrajectorySet]:
    """What further training seeds of the model generated, each read as the generated trajectories are."""
    runs = config["seeds"]
    if runs is not None and not isinstance(runs, list):
        raise MdgenError(f"seeds={runs}: expected a list of runs, such as seeds=[runs/seed_2,runs/seed_3]")
    return [open_data({**config["generated"], "trajectories": run}, "seeds") for run in runs or []]


def _projection(encoder: Encoder) -> Any:
    @torch.no_grad()
    def project(positions: Tensor) -> Tensor:
        return encoder.encode(positions).flatten(1)

    return project


def _potential(config: dict[str, Any]) -> Potential | None:
    if config.get("system") is None:
        return None
    potential: Potential = ForceField(instantiate(config["system"]).parameters)
    return potential
