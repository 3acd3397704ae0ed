"""The runs behind generated trajectories: the task that made them, and the training runs, for their losses."""

from pathlib import Path
from typing import Any

from mdgen.apps.trajectories import STORE
from mdgen.documents import FilePath, read_json
from mdgen.errors import MdgenError
from mdgen.evaluation.report.losses import LOG


def training_runs(config: dict[str, Any]) -> dict[str, Path]:
    """The runs that the key `training_runs` names, or else those of the generated trajectories, by name.

    Raises:
        MdgenError: if `training_runs` names a folder that holds no table of losses.
    """
    named = config.get("training_runs")
    if named is not None:
        runs = [Path(run) for run in _listed(named)]
        for run in runs:
            if run.is_dir() and not (run / LOG).is_file():
                raise MdgenError(f"training_runs: {run} holds no {LOG}; name folders that `mdgen train` wrote")
        return _distinct([(run.name if run.is_dir() else run.stem, run) for run in runs])
    found = []
    for path in _listed(config["generated"]["trajectories"]) + _listed(config.get("seeds")):
        found += _behind(Path(path))
    return _distinct(found)


def task_of(generated: Any) -> str | None:
    """The task of the run that generated some trajectories; None where they are no run of `mdgen generate`."""
    if not isinstance(generated, str):
        return None
    figures = _folder(Path(generated)) / "metrics.json"
    return read_json(figures, dict[str, Any], "generate again").get("task") if figures.is_file() else None


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _folder(path: Path) -> Path:
    """The run folder of a run, or of the store in one."""
    return path.parent if path.name == STORE else path


def _behind(path: Path) -> list[tuple[str, Path]]:
    """Part and training run of each part of a generation's folder, or of the store in one; none of other files."""
    folder = _folder(path)
    file = folder / "simulator.json"
    if not file.is_file():
        return []
    parts = read_json(file, dict[str, FilePath], "generate again, or name training_runs=[...]")
    runs = [(part, (folder / where).resolve().parent) for part, where in parts.items()]
    return [(part, run) for part, run in runs if (run / LOG).is_file()]


def _distinct(runs: list[tuple[str, Path]]) -> dict[str, Path]:
    """Runs by name, each once; where a name is shared the later ones are numbered."""
    result: dict[str, Path] = {}
    for name, run in runs:
        if run in result.values():
            continue
        number = 1 + sum(key.partition(" ")[0] == name for key in result)
        result[name if number == 1 else f"{name} {number}"] = run
    return result
