"""The result of an evaluation, and how it is written to disk and read back."""

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mdgen.documents import Count, read_json
from mdgen.errors import MdgenError
from mdgen.evaluation.metrics.catalogue import is_informative
from mdgen.evaluation.protocols.protocol import ProtocolResult
from mdgen.evaluation.statistics.block_permutation import BlockSummary
from mdgen.evaluation.verdict import Judgement
from mdgen.results import Acceptance, Estimate, write_result

SCHEMA = "mdgen.evaluation/2"
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
        criteria: judgement of each criterion.
        blocks: blocks that the criteria are judged by; None where there were too few frames.
        flags: sentences that void the verdict, such as that frames are copies; worst first.
        notes: further caveats, and what could not be measured; worst first.
        acceptance: bounds that somebody adds, such as of a benchmark, and whether they hold.
        curves: arrays behind the plots, by name.
        protocol: numbers by a published protocol, where one was asked for.
    """

    molecule: dict[str, Any]
    settings: dict[str, Any]
    rows: dict[str, RowResult]
    criteria: tuple[Judgement, ...] = ()
    blocks: BlockSummary | None = None
    flags: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    acceptance: tuple[Acceptance, ...] = ()
    curves: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    protocol: ProtocolResult | None = None

    @property
    def counts(self) -> Counter[str]:
        """Number of criteria and bounds by verdict: `fails`, `undecided`, `holds`."""
        bounds = ("holds" if line.holds else "fails" for line in self.acceptance)
        return Counter([*(line.verdict for line in self.criteria), *bounds])

    @property
    def verdict(self) -> str:
        """`fails` if any criterion does, else `flagged` if there are flags, `undecided`, or `holds` if all do."""
        if self.counts["fails"]:
            return "fails"
        if self.flags:
            return "flagged"
        return "undecided" if self.counts["undecided"] or not self.criteria else "holds"

    @property
    def headline(self) -> str:
        """The verdict in words.

        >>> Evaluation({}, {}, {}, flags=("copies",)).headline
        'flagged: 0 of 0 criteria hold'
        """
        counts = self.counts
        if self.verdict == "holds":
            return f"holds: all {counts.total()} criteria"
        told = [f"{counts['holds']} of {counts.total()} criteria hold"]
        if counts["fails"]:
            told.append(f"{counts['fails']} {'fails' if counts['fails'] == 1 else 'fail'}")
        if counts["undecided"]:
            told.append(f"{counts['undecided']} undecided")
        return f"{self.verdict}: {', '.join(told)}"


KEYS = ("molecule", "settings", "verdict", "criteria", "blocks", "flags", "notes", "rows", "protocol")
"""Keys of `metrics.json` between `schema` and `acceptance`."""


def save_metrics(result: Evaluation, path: Path) -> None:
    """Write `metrics.json`; distances of the reference from itself are left out, as in the tables."""
    rows = {
        name: replace(row, metrics={key: each for key, each in row.metrics.items() if is_informative(name, key)})
        for name, row in result.rows.items()
    }
    document = {"schema": SCHEMA, **{key: getattr(result, key) for key in KEYS}, "rows": rows}
    write_result(path, document, result.acceptance)


@dataclass(frozen=True)
class _Number:
    value: float | None
    low: float | None
    high: float | None

    def read(self) -> Estimate:
        return Estimate(math.nan if self.value is None else self.value, self.low, self.high)


@dataclass(frozen=True)
class _Row:
    label: str
    frames: Count
    length_ns: float
    metrics: dict[str, _Number]


@dataclass(frozen=True)
class _Document:
    """What `metrics.json` must hold for `read_metrics`."""

    molecule: dict[str, Any]
    settings: dict[str, Any]
    rows: dict[str, _Row]


@dataclass(frozen=True)
class SavedMetrics:
    """Contents of `metrics.json`, with the name of its folder; metrics, labels, frames and their time are by row."""

    name: str
    molecule: dict[str, Any]
    rows: dict[str, dict[str, Estimate]]
    labels: dict[str, str]
    frames: dict[str, int] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    lengths_ns: dict[str, float] = field(default_factory=dict)


def read_metrics(path: Path | str) -> SavedMetrics:
    """Read a result; `path` is `metrics.json` or the folder that holds it.

    Raises:
        MdgenError: if there is none, or it is no result of an evaluation.
    """
    path = Path(path)
    file = path / "metrics.json" if path.is_dir() else path
    if not file.is_file():
        raise MdgenError(f"there is no {file}; name a folder that `mdgen evaluate` wrote")
    found = read_json(file, dict[str, Any], "name a result of `mdgen evaluate`").get("schema")
    if found != SCHEMA:
        raise MdgenError(
            f"{file} has the schema {found!r:.60} where {SCHEMA!r} was expected; name a result of `mdgen evaluate`, or "
            "evaluate again with this version"
        )
    document = read_json(file, _Document, "evaluate again")
    rows = {key: {name: each.read() for name, each in row.metrics.items()} for key, row in document.rows.items()}
    labels = {key: row.label for key, row in document.rows.items()}
    frames = {key: row.frames for key, row in document.rows.items()}
    lengths_ns = {key: row.length_ns for key, row in document.rows.items()}
    return SavedMetrics(file.parent.name, document.molecule, rows, labels, frames, document.settings, lengths_ns)
