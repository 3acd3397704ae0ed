"""Every check of the engine, one after the other, into one list of acceptance."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from mdgen.benchmarks.validation.conservation import check_drift, check_order
from mdgen.benchmarks.validation.ensemble import check_ensemble
from mdgen.benchmarks.validation.force_field_files import check_files
from mdgen.benchmarks.validation.full_disk import check_full_disk
from mdgen.benchmarks.validation.parity import check_parity
from mdgen.benchmarks.validation.replicas import check_constraints, check_independence, check_restart
from mdgen.benchmarks.validation.stops import check_blow_up, check_kills
from mdgen.errors import MdgenError
from mdgen.progress import Progress
from mdgen.registry import register
from mdgen.results import Acceptance

Check = Callable[[], tuple[dict[str, Any], list[Acceptance]]]


@register
@dataclass(frozen=True)
class TrustSettings:
    """How much to spend; the defaults take minutes on two cores.

    Args:
        checks: which to run; None for all.
        drift_ps: NVE run of the water box.
        systems: folder of systems as files, for `files`; None, or one that is missing, leaves that check out.
        ensemble_replicas: replicas of the ensemble's checks.
        ensemble_samples: samples a replica.
        kills: moments at which to kill a simulation.
        constraint_steps: steps before constraints are looked at.
    """

    checks: tuple[str, ...] | list[str] | None = None
    drift_ps: float = 1000.0
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


def run_trust(settings: TrustSettings) -> tuple[dict[str, Any], list[Acceptance]]:
    """Figures of every check, seconds that each took, and the acceptance rows.

    Raises:
        MdgenError: for a check that is not known.
    """
    checks: dict[str, Check] = {
        "parity": check_parity,
        "files": lambda: check_files(settings.systems),
        "order": check_order,
        "drift": lambda: _on_one_thread(lambda: check_drift(settings.drift_ps)),
        "ensemble": lambda: check_ensemble(n_replicas=settings.ensemble_replicas, n_samples=settings.ensemble_samples),
        "constraints": lambda: check_constraints(settings.constraint_steps),
        "independence": check_independence,
        "restart": check_restart,
        "blow_up": check_blow_up,
        "kills": lambda: check_kills(settings.kills),
        "full_disk": check_full_disk,
    }
    wanted = list(checks) if settings.checks is None else list(settings.checks)
    for name in wanted:
        if name not in checks:
            raise MdgenError(f"check {name!r} is unknown; known are {', '.join(checks)}")
    metrics: dict[str, Any] = {"seconds": {}}
    rows: list[Acceptance] = []
    progress = Progress("trust", len(wanted), interval_s=0.0)
    for done, name in enumerate(wanted, 1):
        begin = time.monotonic()
        found, accepted = checks[name]()
        metrics |= found
        metrics["seconds"][name] = time.monotonic() - begin
        rows += accepted
        progress.update(done, check=name, holds=f"{sum(row.holds for row in accepted)} of {len(accepted)}")
    return metrics, rows


def _on_one_thread(check: Check) -> tuple[dict[str, Any], list[Acceptance]]:
    """Run a check of small tensors, which more threads would only slow down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return check()
    finally:
        torch.set_num_threads(threads)
