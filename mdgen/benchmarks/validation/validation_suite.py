"""The validation suite: every check of the engine, into the validation table."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mdgen.benchmarks.suite import Figures, Suite
from mdgen.benchmarks.validation.conservation import check_drift, check_order
from mdgen.benchmarks.validation.ensemble import check_ensemble
from mdgen.benchmarks.validation.interruptions import check_full_disk, check_instability, check_kills
from mdgen.benchmarks.validation.parity import check_files, check_parity
from mdgen.benchmarks.validation.replicas import check_constraints, check_independence, check_restart
from mdgen.errors import MdgenError
from mdgen.progress import Progress
from mdgen.registry import register
from mdgen.results import Acceptance

Check = Callable[[], Figures]


@register
@dataclass(frozen=True)
class ValidationSettings(Suite):
    """Size of the checks; the defaults take minutes on two cores.

    Args:
        checks: names of the checks to run; None for all.
        drift_ps: length of each NVE run of the drift.
        systems: folder of systems for the check `files`, which is skipped where it is None or missing.
        ensemble_replicas: replicas of the ensemble checks.
        ensemble_samples: samples per replica of the ensemble checks.
        kills: number of times that a simulation is killed.
        constraint_steps: steps before the constraints are measured.
    """

    checks: tuple[str, ...] | list[str] | None = None
    drift_ps: float = 100.0
    systems: str | None = None
    ensemble_replicas: int = 64
    ensemble_samples: int = 64
    kills: int = 20
    constraint_steps: int = 10_000

    def __post_init__(self) -> None:
        # Standard errors come from replicas, blocks of the drift from a hundred steps and more.
        least = {"drift_ps": 1.0, "ensemble_replicas": 2, "ensemble_samples": 2, "kills": 1, "constraint_steps": 1}
        for name, bound in least.items():
            if not bound <= getattr(self, name) < float("inf"):
                raise MdgenError(f"{name} is {getattr(self, name)}, but must be {bound:g} or more")
        if self.checks is not None and not self.checks:
            raise MdgenError("checks is empty, so that nothing would be shown; name some, or null for all")

    def run(self, partial: Path) -> Figures:
        """Figures of every check, the seconds that each took, and the acceptance rows; nothing is kept in `partial`.

        Raises:
            MdgenError: if a check is unknown.
        """
        checks: dict[str, Check] = {
            "parity": check_parity,
            "files": lambda: check_files(self.systems),
            "order": check_order,
            "drift": lambda: _on_one_thread(lambda: check_drift(self.drift_ps)),
            "ensemble": lambda: check_ensemble(n_replicas=self.ensemble_replicas, n_samples=self.ensemble_samples),
            "constraints": lambda: check_constraints(self.constraint_steps),
            "independence": check_independence,
            "restart": check_restart,
            "instability": check_instability,
            "kills": lambda: check_kills(self.kills),
            "full_disk": check_full_disk,
        }
        wanted = list(checks) if self.checks is None else list(self.checks)
        for name in wanted:
            if name not in checks:
                raise MdgenError(f"check {name!r} is unknown; known are {', '.join(checks)}")
        metrics: dict[str, Any] = {"seconds": {}}
        rows: list[Acceptance] = []
        progress = Progress("validation", len(wanted), interval_s=0.0)
        for done, name in enumerate(wanted, 1):
            begin = time.monotonic()
            found, accepted = checks[name]()
            metrics |= found
            metrics["seconds"][name] = time.monotonic() - begin
            rows += accepted
            progress.update(done, check=name, holds=f"{sum(row.holds for row in accepted)} of {len(accepted)}")
        return metrics, rows


def _on_one_thread(check: Check) -> Figures:
    """Run a check of small tensors on one torch thread; more would slow it down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return check()
    finally:
        torch.set_num_threads(threads)
