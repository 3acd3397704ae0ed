"""`mdgen evaluate`: any trajectories judged against any others; metrics and a report."""

import logging
from dataclasses import replace
from typing import Any

from mdgen.apps.config.instantiation import instantiate
from mdgen.apps.runs.molecule_pairs import run_pairs
from mdgen.apps.runs.potentials import potential_for
from mdgen.apps.runs.provenance import command_line
from mdgen.apps.runs.run_folder import open_run
from mdgen.apps.runs.threads import use_threads
from mdgen.apps.runs.trained_parts import load_encoder
from mdgen.apps.runs.training_runs import task_of, training_runs
from mdgen.apps.trajectories import open_data
from mdgen.errors import MdgenError
from mdgen.evaluation import Evaluation, evaluate, verdict_table, write_report
from mdgen.evaluation.protocols import Protocol
from mdgen.evaluation.report.losses import loss_curves
from mdgen.progress import duration

logger = logging.getLogger("mdgen")

INTERPOLATED = (
    "The generated trajectories are interpolations, whose ends were given: they need not be distributed as dynamics "
    "are, and no criterion judges them. The path statistics of protocol=mdgen do."
)


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
        report = write_report(result, folder.path, origin(config))
        folder.mark_done()
        logger.info("\n%s\n", verdict_table(result))
        logger.info("evaluate      done in %s; report in %s", duration(folder.seconds), report)


def origin(config: dict[str, Any]) -> dict[str, str]:
    """What the top of the report names: the trajectories of each side, as the config does, and the command."""
    sides = ("reference", "replicate", "generated", "training")
    named = {side: config[side]["trajectories"] for side in sides if config[side]["trajectories"] is not None}
    texts = {side: each if isinstance(each, str) else ", ".join(map(str, each)) for side, each in named.items()}
    return {**texts, "command": command_line()}


def judged(config: dict[str, Any]) -> Evaluation:
    """The evaluation that a config asks for."""
    reference = open_data(config["reference"], "reference")
    generated = open_data(config["generated"], "generated")
    named = config["replicate"]["trajectories"] is not None
    replicate = open_data(config["replicate"], "replicate") if named else None
    training = open_data(config["training"], "training") if config["training"]["trajectories"] is not None else None
    protocol: Protocol | None = instantiate(config["protocol"]) if config.get("protocol") else None
    if protocol is not None:
        protocol.require_applicable(reference)
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
        None if encoder is None else encoder.encode,
        potential_for(config["system"], reference.molecule) if config.get("system") else None,
        settings,
        config["metrics"]["tolerances"],
        seeds=[open_data({**config["generated"], "trajectories": run}, "seeds") for run in config["seeds"] or []],
        training=training,
    )
    judged_by = {"generated": generated, **({} if replicate is None else {"replicate": replicate})}
    numbers = None if protocol is None else protocol.judge(reference, judged_by)
    result = replace(result, curves={**result.curves, **losses}, protocol=numbers)
    if task_of(config["generated"]["trajectories"]) == "interpolate":
        return replace(result, criteria=(), flags=(INTERPOLATED, *result.flags))
    return result
