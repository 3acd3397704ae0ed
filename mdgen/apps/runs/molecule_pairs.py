"""`mdgen evaluate pairs=FOLDER`: batch evaluation of molecules, one pair of trajectories each."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mdgen.apps.runs.run_folder import open_run
from mdgen.errors import MdgenError
from mdgen.evaluation import aggregate_table, evaluate_batch

logger = logging.getLogger("mdgen")

ROLES = ("reference", "generated", "replicate", "training")
OPTIONAL = ("replicate", "training")
TOPOLOGIES = (".pdb", ".prmtop", ".psf", ".h5", ".gro")
STRUCTURES = (".pdb", ".prmtop", ".psf", ".gro", ".top")
"""Formats of structures, which are not read as trajectories where there are others."""


def configs_of_pairs(config: dict[str, Any]) -> list[dict[str, Any]]:
    """One evaluation config for each folder in `config["pairs"]`.

    Such a folder holds `reference*` and `generated*` (stores or files), `replicate*` and `training*` where there are
    such, and `topology.*` where the files need one. A structure beside trajectories of that name, such as
    `reference.pdb` beside `reference.dcd`, is not read as one of them.

    Raises:
        MdgenError: if there is no such folder, or one lacks a side.
    """
    root = Path(config["pairs"])
    folders = sorted(path for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    if not folders:
        raise MdgenError(f"pairs={root} holds no folders; expected one a molecule, with reference* and generated*")
    return [_config(config, folder) for folder in folders]


def _config(config: dict[str, Any], folder: Path) -> dict[str, Any]:
    topologies = [path for path in sorted(folder.glob("topology.*")) if path.suffix in TOPOLOGIES]
    filled = {**config, "pairs": None, "output": str(Path(config["output"]) / folder.name)}
    for role in ROLES:
        named = sorted(folder.glob(f"{role}*"))
        found = [str(path) for path in [path for path in named if path.suffix not in STRUCTURES] or named]
        if not found and role not in OPTIONAL:
            raise MdgenError(f"{folder} holds no {role}*; expected trajectories of both sides, reference and generated")
        topology = str(topologies[0]) if topologies else config[role]["topology"]
        filled[role] = {**config[role], "trajectories": found or None, "topology": topology}
    return filled


def run_pairs(config: dict[str, Any], evaluate_one: Callable[[dict[str, Any]], None]) -> None:
    """Evaluate every molecule, each in a run folder of its own, and gather them.

    Raises:
        MdgenError: naming the molecules that could not be judged, once the others are gathered.
    """
    evaluations = {
        Path(each["output"]).name: lambda _, each=each: evaluate_one(each) for each in configs_of_pairs(config)
    }
    with open_run(config["output"], "evaluate", config) as folder:
        batch = evaluate_batch(evaluations, folder.path, int(config["seed"]))
        judged, failures = batch.gathered.molecules, batch.failures
        table = aggregate_table(batch.gathered)
        logger.info("\n%s\nevaluate      %d molecules; aggregate in %s", table, len(judged), folder.path)
        if failures:
            name, reason = next(iter(failures.items()))
            raise MdgenError(
                f"{len(failures)} of {len(evaluations)} molecules could not be judged ({', '.join(failures)}); "
                f"{name}: {reason}; the same command evaluates them again, and the others are done"
            )
        folder.finish({"molecules": list(judged)})
