"""From turns to figures: rows of the result, ratios between engines, and the acceptance rows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from mdgen.benchmarks.speed.engines import EngineSetup
from mdgen.benchmarks.speed.runner import Turn
from mdgen.results import Acceptance, Estimate

_US_PER_DAY = 86400e6
_NS_PER_FS = 1e-6

BOUNDS = {
    "alanine_dipeptide_obc2": {"speed_over_openmm": 8.0},
    "alanine_dipeptide_ff19sb": {"speed_over_openmm": 20.0},
    "alanine_dipeptide_charmm36": {"speed_over_openmm": 20.0},
    "ipgd_obc2": {"speed_over_openmm": 5.0},
    "chignolin_obc2": {"speed_over_openmm": 2.0, "alone_over_openmm": 4.0},
    "alpha_synuclein_obc2": {"alone_over_openmm": 2.0},
    "ipgd_gbn2": {"speed_over_openmm": 30.0},
    "water_688_reaction_field": {"cost_over_openmm_cpu": 2.5, "speed_over_torchmd": 6.0},
}
"""Bounds of each system: least speed, or largest cost, relative to the best of the engines named after `over`; `alone`
is the speed where each runs one replica and nothing beside it, with as many threads as it likes."""


@dataclass(frozen=True)
class Measurement:
    """Turns of one setup on one system.

    Args:
        system: name of the system.
        n_atoms: number of atoms.
        setup: engine and its resources.
        turns: one turn per round.
    """

    system: str
    n_atoms: int
    setup: EngineSetup
    turns: Sequence[Turn]

    @property
    def us(self) -> float:
        """Median wall time in microseconds per step and replica."""
        return median(turn.us for turn in self.turns)

    @property
    def cpu_us(self) -> float:
        """Median processor time in microseconds per step and replica, summed over cores."""
        return median(turn.cpu_us for turn in self.turns)

    @property
    def row(self) -> dict[str, Any]:
        """The measurement as a row of the result."""
        times, setup = [turn.us for turn in self.turns], self.setup
        return {
            "system": self.system,
            "atoms": self.n_atoms,
            "engine": setup.engine,
            "replicas": setup.replicas * setup.processes,
            "threads": setup.threads * setup.processes,
            "processes": setup.processes,
            "precision": setup.precision,
            "device": setup.device,
            "timestep_fs": setup.timestep_fs,
            "us_per_step_per_replica": self.us,
            "us_low": min(times),
            "us_high": max(times),
            "ns_per_day": _US_PER_DAY * _NS_PER_FS * setup.timestep_fs / self.us,
            "cpu_us_per_step_per_replica": self.cpu_us,
            "us_of_each_repeat": times,
        }


def best(measured: Iterable[Measurement], prefix: str) -> Measurement | None:
    """The fastest measurement on processors of the engines whose name starts with `prefix`; None without one."""
    mine = [m for m in measured if m.setup.engine.startswith(prefix) and m.setup.device == "cpu"]
    return min(mine, key=lambda m: m.us, default=None)


def speed_ratio(ours: Measurement, theirs: Measurement) -> Estimate:
    """Their time per step and replica over ours: the median over rounds, with the least and the largest."""
    ratios = [their.us / our.us for our, their in zip(ours.turns, theirs.turns, strict=True)]
    return Estimate(median(ratios), min(ratios), max(ratios))


def cpu_time_ratio(measured: Iterable[Measurement]) -> float | None:
    """OpenMM's least processor time per step and replica over mdgen's; a busy machine disturbs it less."""
    least: dict[str, float] = {}
    for m in measured:
        if m.setup.device == "cpu":
            least[m.setup.package] = min(m.cpu_us, least.get(m.setup.package, m.cpu_us))
    return least["openmm"] / least["mdgen"] if {"openmm", "mdgen"} <= least.keys() else None


def ratios(measured: Sequence[Measurement]) -> dict[str, Any]:
    """mdgen's best over OpenMM's best on one system, with its range and both setups; empty without either."""
    ours, theirs = best(measured, "mdgen"), best(measured, "openmm")
    if ours is None or theirs is None:
        return {}
    return {
        "speed": speed_ratio(ours, theirs),
        "mdgen": ours.setup.name,
        "openmm": theirs.setup.name,
        "by_cpu_time": cpu_time_ratio(measured),
    }


def acceptance_rows(system: str, measured: Sequence[Measurement]) -> list[Acceptance]:
    """Acceptance rows of a system, for each bound whose engines were both timed."""
    rows = []
    for name, bound in BOUNDS.get(system, {}).items():
        kind, other = name.split("_over_")
        compared = [m for m in measured if kind != "alone" or m.setup.replicas * m.setup.processes == 1]
        ours, theirs = best(compared, "mdgen"), best(compared, other)
        if ours is None or theirs is None:
            continue
        if kind in ("speed", "alone"):
            rows.append(Acceptance.above(f"{system}_{name}", speed_ratio(ours, theirs), bound))
        else:
            rows.append(Acceptance.below(f"{system}_{name}", speed_ratio(theirs, ours), bound))
    return rows
