"""From turns to figures: rows, ratios between engines, and what is held against the bounds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from mdgen.benchmarks.speed.engines import Entrant
from mdgen.benchmarks.speed.runner import Turn
from mdgen.results import Acceptance, Estimate

_US_PER_DAY = 86400e6
_NS_PER_FS = 1e-6

LEAST_OVER_OPENMM = {
    "alanine_dipeptide_obc2": 8.0,
    "ipgd_obc2": 5.0,
    "chignolin_obc2": 2.0,
    "ipgd_gbn2": 30.0,
}
"""How many times OpenMM's best must be reached, by system."""

MOST_COST_OVER_OPENMM_CPU = {"water_688_reaction_field": 2.5}
"""How many times the cost of OpenMM's CPU platform is allowed, by system."""

LEAST_OVER_TORCHMD = {"water_688_reaction_field": 6.0}
"""How many times TorchMD's speed must be reached, by system."""


@dataclass(frozen=True)
class Measured:
    """An entrant's turns on a system.

    Args:
        system: its name.
        n_atoms: how many.
        entrant: who.
        turns: one a round.
    """

    system: str
    n_atoms: int
    entrant: Entrant
    turns: Sequence[Turn]

    @property
    def us(self) -> float:
        """Median of the microseconds a step a replica."""
        return median(turn.us for turn in self.turns)

    @property
    def cpu_us(self) -> float:
        """Median of the microseconds of processor time a step a replica, summed over cores."""
        return median(turn.cpu_us for turn in self.turns)

    @property
    def row(self) -> dict[str, Any]:
        """As a line of the result."""
        times, entrant = [turn.us for turn in self.turns], self.entrant
        return {
            "system": self.system,
            "atoms": self.n_atoms,
            "engine": entrant.engine,
            "replicas": entrant.replicas * entrant.processes,
            "threads": entrant.threads * entrant.processes,
            "processes": entrant.processes,
            "precision": entrant.precision,
            "device": entrant.device,
            "timestep_fs": entrant.timestep_fs,
            "us_per_step_per_replica": self.us,
            "us_low": min(times),
            "us_high": max(times),
            "ns_per_day": _US_PER_DAY * _NS_PER_FS * entrant.timestep_fs / self.us,
            "cpu_us_per_step_per_replica": self.cpu_us,
            "us_of_each_repeat": times,
        }


def best(measured: Iterable[Measured], prefix: str, device: str = "cpu") -> Measured | None:
    """The fastest of a system's entrants whose engine's name begins so; None without one."""
    mine = [m for m in measured if m.entrant.engine.startswith(prefix) and m.entrant.device == device]
    return min(mine, key=lambda m: m.us, default=None)


def speed_ratio(ours: Measured, theirs: Measured) -> Estimate:
    """Their time for a step of a replica over ours: the median over rounds, from the smallest to the largest."""
    ratios = [their.us / our.us for our, their in zip(ours.turns, theirs.turns, strict=True)]
    return Estimate(median(ratios), min(ratios), max(ratios))


def cpu_time_ratio(measured: Iterable[Measured]) -> float | None:
    """OpenMM's least processor time for a step of a replica over mdgen's, which a busy machine disturbs less."""
    least: dict[str, float] = {}
    for m in measured:
        if m.entrant.device == "cpu":
            least[m.entrant.maker] = min(m.cpu_us, least.get(m.entrant.maker, m.cpu_us))
    return least["openmm"] / least["mdgen"] if {"openmm", "mdgen"} <= least.keys() else None


def ratios(measured: Sequence[Measured]) -> dict[str, Any]:
    """mdgen's best over OpenMM's best on one system, with its spread and who the two are; empty without either."""
    ours, theirs = best(measured, "mdgen"), best(measured, "openmm")
    if ours is None or theirs is None:
        return {}
    return {
        "speed": speed_ratio(ours, theirs),
        "mdgen": ours.entrant.name,
        "openmm": theirs.entrant.name,
        "by_cpu_time": cpu_time_ratio(measured),
    }


def judged(system: str, measured: Sequence[Measured]) -> list[Acceptance]:
    """A system's figures against their bounds, where both engines took part."""
    ours, openmm, cpu, torchmd = (best(measured, who) for who in ("mdgen", "openmm", "openmm_cpu", "torchmd"))
    rows = []
    if ours and openmm and system in LEAST_OVER_OPENMM:
        rows.append(
            Acceptance.above(f"{system}_speed_over_openmm", speed_ratio(ours, openmm), LEAST_OVER_OPENMM[system])
        )
    if ours and cpu and system in MOST_COST_OVER_OPENMM_CPU:
        cost = speed_ratio(cpu, ours)
        rows.append(Acceptance.below(f"{system}_cost_over_openmm_cpu", cost, MOST_COST_OVER_OPENMM_CPU[system]))
    if ours and torchmd and system in LEAST_OVER_TORCHMD:
        rows.append(
            Acceptance.above(f"{system}_speed_over_torchmd", speed_ratio(ours, torchmd), LEAST_OVER_TORCHMD[system])
        )
    return rows
