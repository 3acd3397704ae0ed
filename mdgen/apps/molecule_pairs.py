"""`mdgen evaluate pairs=FOLDER`: many molecules, one pair of trajectories each, and the aggregate over them."""

import logging
from pathlib import Path
from typing import Any

from mdgen.apps.runs.run_folder import open_run
from mdgen.errors import MdgenError
from mdgen.evaluation import aggregate, aggregate_table, read_metrics, save_aggregate
from mdgen.files import write_aside

logger = logging.getLogger("mdgen")

ROLES = ("reference", "generated", "replicate")
TOPOLOGIES = (".pdb", ".prmtop", ".psf", ".h5", ".gro")
STRUCTURES = (".pdb", ".prmtop", ".psf", ".gro", ".top")
"""Files that are no trajectory where one lies beside them."""


def configs_of_pairs(config: dict[str, Any]) -> list[dict[str, Any]]:
    """One evaluation config for each folder in `config["pairs"]`.

    Such a folder holds `reference*` and `generated*` (stores or files), `replicate*` where there is one, and
    `topology.*` where the files need one. A structure beside trajectories of that name, such as `reference.pdb` beside
    `reference.dcd`, is not read as one of them.

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
        if not found and role != "replicate":
            raise MdgenError(f"{folder} holds no {role}*; expected trajectories of both sides, reference and generated")
        topology = str(topologies[0]) if topologies else config[role]["topology"]
        filled[role] = {**config[role], "trajectories": found or None, "topology": topology}
    return filled


def run_pairs(config: dict[str, Any], evaluate_one: Any) -> None:
    """Evaluate every molecule, each a run folder of its own, and gather them.

    One that cannot be judged does not keep the others from it; it is named at the end.

    Raises:
        MdgenError: naming the molecules that could not be judged, once the others are gathered.
    """
    configs = configs_of_pairs(config)
    names = {Path(each["output"]).name: each for each in configs}
    with open_run(config["output"], "evaluate", config) as folder:
        failures: dict[str, str] = {}
        for name, each in names.items():
            logger.info("evaluate      %s", each["output"])
            try:
                evaluate_one(each)
            except MdgenError as error:
                failures[name] = str(error)
                logger.warning("evaluate      %s: %s", name, error)
        judged = [name for name in names if name not in failures]
        if judged:
            gathered = aggregate([read_metrics(names[name]["output"]) for name in judged], int(config["seed"]))
            save_aggregate(gathered, folder.path)
            table = aggregate_table(gathered)
            write_aside(folder.path / "table.md", table.encode())
            logger.info("\n%s\nevaluate      %d molecules; aggregate in %s", table, len(judged), folder.path)
        if failures:
            raise MdgenError(_told(failures, len(names)))
        folder.finish({"molecules": judged})


def _told(failures: dict[str, str], number: int) -> str:
    name, reason = next(iter(failures.items()))
    return (
        f"{len(failures)} of {number} molecules could not be judged ({', '.join(failures)}); {name}: {reason}; the "
        "same command goes on with them, and the others are done"
    )
