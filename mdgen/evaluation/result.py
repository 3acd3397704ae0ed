"""The result of an evaluation, and how it is written to disk."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

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
    """

    molecule: dict[str, Any]
    settings: dict[str, Any]
    rows: dict[str, RowResult]
    notes: tuple[str, ...]
    acceptance: tuple[Acceptance, ...]
    curves: dict[str, np.ndarray] = field(default_factory=dict, repr=False)

    def to_json(self) -> dict[str, Any]:
        """What `metrics.json` holds."""
        return {
            "schema": SCHEMA,
            "molecule": self.molecule,
            "settings": self.settings,
            "rows": {name: asdict(row) for name, row in self.rows.items()},
            "notes": list(self.notes),
            "acceptance": [asdict(line) for line in self.acceptance],
        }


def save_metrics(result: Evaluation, path: Path) -> None:
    """Write `metrics.json`."""
    write_result(path, result.to_json(), result.acceptance)
