"""Results read back from `metrics.json`, so that runs can be compared and gathered without measuring again."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mdgen.errors import MdgenError
from mdgen.evaluation.result import SCHEMA
from mdgen.results import Estimate


@dataclass(frozen=True)
class SavedMetrics:
    """Contents of `metrics.json`.

    Args:
        name: name of its folder.
        molecule: molecule as in the file.
        rows: metrics by row and name.
        labels: labels of the rows.
        frames: number of frames of the rows.
        settings: settings as in the file.
    """

    name: str
    molecule: dict[str, Any]
    rows: dict[str, dict[str, Estimate]]
    labels: dict[str, str]
    frames: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def read_metrics(path: Path | str) -> SavedMetrics:
    """Read a result; `path` is `metrics.json` or the folder that holds it.

    Raises:
        MdgenError: if there is none, or it is no result of an evaluation.
    """
    path = Path(path)
    file = path / "metrics.json" if path.is_dir() else path
    if not file.is_file():
        raise MdgenError(f"there is no {file}; name a folder that `mdgen evaluate` wrote")
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        if document.get("schema") != SCHEMA:
            raise MdgenError(
                f"{file} has the schema {document.get('schema')!r} where {SCHEMA!r} was expected; name a result of "
                "`mdgen evaluate`, or evaluate again with this version"
            )
        rows = {
            key: {name: _estimate(value) for name, value in row["metrics"].items()}
            for key, row in document["rows"].items()
        }
        labels = {key: str(row["label"]) for key, row in document["rows"].items()}
        frames = {key: int(row["frames"]) for key, row in document["rows"].items()}
        settings = dict(document["settings"])
        return SavedMetrics(file.parent.name, dict(document["molecule"]), rows, labels, frames, settings)
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise MdgenError(f"{file} is no result of an evaluation ({error!r}); evaluate again") from error


def _estimate(value: dict[str, float | None]) -> Estimate:
    number = value["value"]
    return Estimate(float("nan") if number is None else float(number), value["low"], value["high"])
