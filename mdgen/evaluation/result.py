"""The result of an evaluation, and how it is written to disk and read back."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mdgen.errors import MdgenError
from mdgen.evaluation.protocols.protocol import ProtocolResult
from mdgen.results import Acceptance, Estimate, write_result

SCHEMA = "mdgen.evaluation/1"
"""Version of the schema of `metrics.json`."""


@dataclass(frozen=True)
class RowResult:
    """The metrics of one row.

    Args:
        label: name in tables.
        meaning: origin of its frames.
        frames: number of frames.
        length_ns: time that they span.
        metrics: estimates by name.
    """

    label: str
    meaning: str
    frames: int
    length_ns: float
    metrics: dict[str, Estimate]


@dataclass(frozen=True)
class Evaluation:
    """The result of `evaluate`.

    `metrics.json` is this object without `curves`; `metrics.md` explains its keys, rows and metrics.

    Args:
        molecule: residues, number of atoms, fingerprint.
        settings: resolved settings.
        rows: rows by name.
        notes: sentences for the reader.
        acceptance: bounds, and whether they hold.
        curves: arrays behind the plots, by name.
        protocol: numbers by a published protocol, where one was asked for.
    """

    molecule: dict[str, Any]
    settings: dict[str, Any]
    rows: dict[str, RowResult]
    notes: tuple[str, ...]
    acceptance: tuple[Acceptance, ...]
    curves: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    protocol: ProtocolResult | None = None


def save_metrics(result: Evaluation, path: Path) -> None:
    """Write `metrics.json`."""
    document = {
        "schema": SCHEMA,
        **{key: getattr(result, key) for key in ("molecule", "settings", "rows", "notes", "protocol")},
    }
    write_result(path, document, result.acceptance)


@dataclass(frozen=True)
class SavedMetrics:
    """Contents of `metrics.json`, with the name of its folder; metrics, labels and numbers of frames are by row."""

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
