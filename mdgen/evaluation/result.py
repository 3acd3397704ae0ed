"""What an evaluation found, and how it is written to disk."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mdgen.evaluation.settings import Bounds
from mdgen.results import Acceptance, Estimate, write_result

SCHEMA = "mdgen.evaluation/1"
"""Version of the schema of `metrics.json`."""


@dataclass(frozen=True)
class RowResult:
    """The metrics of one row.

    Args:
        label: what tables call it.
        meaning: where its frames come from.
        frames: how many.
        length_ns: the time they span.
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

    `metrics.json` is this object without `curves`:

    ============ =======================================================================================
    `schema`     `mdgen.evaluation/1`
    `molecule`   residues, atoms, fingerprint
    `settings`   as they were resolved: lag, states, frame spacing, strides, seed
    `rows`       by row: `label`, `meaning`, `frames`, `length_ns` and `metrics`, each
                 metric `{"value", "low", "high"}` with its 95 % interval, null where there is none
    `notes`      sentences: what could not be measured and why, what was resampled
    `acceptance` the list every result of mdgen ends in
    ============ =======================================================================================

    The names of the metrics are in `mdgen.evaluation.names`.

    Args:
        molecule: a label, the number of atoms, the fingerprint.
        settings: as resolved.
        rows: by name.
        notes: for the reader.
        acceptance: bounds held or not.
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


def judge(rows: dict[str, RowResult], bounds: Bounds) -> tuple[Acceptance, ...]:
    """Hold the generated rows against the bounds.

    Free energy, timescales and structure are judged on all generated frames, torsions on as many as the replicate has.
    """
    reference, replicate, equal = rows["reference"].metrics, rows["replicate"].metrics, rows["generated"].metrics
    everything = rows["generated_all"].metrics if "generated_all" in rows else equal
    lines = []
    if "free_energy_rmse_kT/psi_1" in everything:
        estimate = everything["free_energy_rmse_kT/psi_1"]
        lines.append(Acceptance.below("free_energy_psi1_rmse_kT", estimate, bounds.free_energy_psi1_rmse_kT))
    if "torsion_jsd/all" in equal:
        ratio = _scaled(equal["torsion_jsd/all"], replicate["torsion_jsd/all"].value)
        lines.append(Acceptance.below("torsion_jsd_over_replicate", ratio, bounds.torsion_jsd_over_replicate))
    for number in (1, 2):
        name = f"timescale_ps/{number}"
        if name in everything and name in reference:
            lines.append(_judge_timescale(f"timescale_{number}", everything[name], reference[name], bounds))
    lines.append(Acceptance.below("broken_bonds", everything["broken_bond_share"], bounds.broken_bonds))
    share = max(reference["clash_share"].value, bounds.least_clash_share)
    ratio = _scaled(everything["clash_share"], share)
    lines.append(Acceptance.below("clash_share_over_md", ratio, bounds.clash_share_over_md))
    return tuple(lines)


def _judge_timescale(name: str, generated: Estimate, reference: Estimate, bounds: Bounds) -> Acceptance:
    close = abs(generated.value - reference.value) <= bounds.timescale_relative * reference.value
    bound = f"within {bounds.timescale_relative:.0%} of {reference.value:.4g} ps"
    if reference.low is not None and reference.high is not None:
        bound += f" or in {reference.low:.4g} .. {reference.high:.4g}"
    return Acceptance.judged(name, generated, bound, close or reference.contains(generated.value))


def _scaled(estimate: Estimate, by: float) -> Estimate:
    by = by if by > 0 else float("nan")
    return Estimate(
        estimate.value / by,
        None if estimate.low is None else estimate.low / by,
        None if estimate.high is None else estimate.high / by,
    )
