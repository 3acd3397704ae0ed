"""The whole benchmark of speed: every system, one contest after the other, into one list of figures."""

import itertools
import logging
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mdgen.benchmarks.speed.engines import ENGINES, Entrant, entrants, require_engines
from mdgen.benchmarks.speed.finished_systems import KeptSystems
from mdgen.benchmarks.speed.ratios import Measured, judged, ratios
from mdgen.benchmarks.speed.roofline import floor_row, measured_peak, pair_operations
from mdgen.benchmarks.speed.runner import Contest, Turn, hold_contest
from mdgen.benchmarks.speed.start import FRICTION_PER_PS, TEMPERATURE_K, TIMESTEP_FS
from mdgen.benchmarks.speed.timed_systems import SYSTEMS, prepare_system
from mdgen.errors import MdgenError
from mdgen.progress import Progress
from mdgen.registry import register
from mdgen.results import Acceptance

logger = logging.getLogger("mdgen")


@register
@dataclass(frozen=True)
class SpeedSettings:
    """What to time, and for how long.

    Args:
        systems: which; None for all of `systems.SYSTEMS`.
        engines: which; None for all of `entrants.ENGINES`.
        replicas: numbers of replicas that mdgen runs.
        repeats: rounds; every engine has one turn in each.
        turn_s: wall time of a turn.
        warm_up_s: wall time before anything counts, after compilation.
        threads: processor cores to use; None for all.
        device: of mdgen's torch engines, `cpu` or `cuda`.
        box_folder: TorchMD's test systems, where the periodic box lies; without them one like it is built.
        torchmd_python: an interpreter that has TorchMD; None for this one.
        seed: of the engines' random numbers.
    """

    systems: Sequence[str] | None = None
    engines: Sequence[str] | None = None
    replicas: Sequence[int] = (1, 16, 64, 256, 1024)
    repeats: int = 5
    turn_s: float = 0.8
    warm_up_s: float = 0.5
    threads: int | None = None
    device: str = "cpu"
    box_folder: str | None = None
    torchmd_python: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.systems or ():
            if name not in SYSTEMS:
                raise MdgenError(f"system {name!r} is unknown; known are {', '.join(SYSTEMS)}")
        require_engines(self.engines or ())
        for key in ("systems", "engines"):
            if getattr(self, key) is not None and not getattr(self, key):
                raise MdgenError(f"{key} is empty, so that nothing would be timed; name some, or null for all")
        if self.torchmd_python is not None and shutil.which(self.torchmd_python) is None:
            raise MdgenError(
                f"torchmd_python is {self.torchmd_python}, but must be a Python interpreter that has TorchMD, or null"
            )
        if self.device not in ("cpu", "cuda"):
            raise MdgenError(f"device is {self.device!r}, but must be cpu or cuda")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise MdgenError("device=cuda was asked for, but torch finds no CUDA device here; use device=cpu")
        if not self.replicas or any(not isinstance(n, int) or n < 1 for n in self.replicas):
            raise MdgenError(f"replicas is {list(self.replicas)}, but must list numbers of 1 or more, such as [1,64]")
        if self.repeats < 1:
            raise MdgenError(f"repeats is {self.repeats}, but must be 1 or more")
        for name in ("turn_s", "warm_up_s"):
            if not 0 < getattr(self, name) < float("inf"):
                raise MdgenError(f"{name} is {getattr(self, name)}, but must be a positive number of seconds")


def run_speed(settings: SpeedSettings, side_file: Path | None = None) -> tuple[dict[str, Any], list[Acceptance]]:
    """Time every engine on every system.

    Args:
        settings: what to time.
        side_file: keeps the systems that are done, so that a run that was stopped goes on with the next; removed at
            the end. It is only used by the same settings and the same code.
    """
    names = list(SYSTEMS) if settings.systems is None else list(settings.systems)
    cores = settings.threads or len(os.sched_getaffinity(0))
    kept = KeptSystems(side_file, asdict(settings) | {"systems": None})
    peak = measured_peak()
    figures: dict[str, Any] = {
        "rows": [],
        "ratios": {},
        "ratio_details": {},
        "systems": {},
        "floor": {"peak_operations_per_s_of_one_thread": peak},
        "skipped": [],
        "load_average": {},
        "dynamics": {"timestep_fs": TIMESTEP_FS, "temperature_K": TEMPERATURE_K, "friction_per_ps": FRICTION_PER_PS},
        "processor": processor(),
        "cores": cores,
        "versions": {},
        "settings": asdict(settings),
    }
    rows: list[Acceptance] = []
    for name in names:
        found = kept.get(name) or kept.put(name, _one_system(name, settings, cores))
        rows += _report(figures, name, found, peak)
    kept.remove()
    return figures, rows


def _one_system(name: str, settings: SpeedSettings, cores: int) -> dict[str, Any]:
    """The contest on a system, as JSON holds it."""
    engines = ENGINES if settings.engines is None else settings.engines
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepared = prepare_system(name, folder, settings.box_folder)
        sensible = [n for n in settings.replicas if n <= SYSTEMS[name].most_replicas] or [min(settings.replicas)]
        taking_part = entrants(name, prepared.parameters, engines, sensible, cores, settings.device)
        logger.info("speed         %s: %d engines and settings get ready", name, len(taking_part))
        contest = hold_contest(
            folder,
            taking_part,
            settings.repeats,
            settings.turn_s,
            settings.warm_up_s,
            settings.seed,
            settings.torchmd_python,
            _announcer(name, settings.repeats * len(taking_part)),
        )
    counted = pair_operations(prepared.parameters, prepared.start.positions, prepared.start.cell)
    return {"facts": prepared.facts, "counted": counted} | _stored(contest)


def _announcer(system: str, total: int) -> Callable[[str], None]:
    """Says after turns how far a contest is; its clock starts with the first."""
    turns = itertools.count(1)
    progress: list[Progress] = []

    def on_turn(entrant: str) -> None:
        turn = next(turns)
        if not progress:
            progress.append(Progress("speed", total, done=turn))
        progress[0].update(turn, system=system, turn_of=entrant)

    return on_turn


def _report(figures: dict[str, Any], name: str, found: dict[str, Any], peak: float) -> list[Acceptance]:
    """Put one system's contest into the figures, and judge it."""
    atoms = found["facts"]["atoms"]
    measured = [Measured(name, atoms, Entrant(**who), [Turn(*turn) for turn in turns]) for who, turns in found["turns"]]
    figures["systems"][name] = found["facts"]
    figures["rows"] += [each.row for each in measured]
    figures["skipped"] += [{"system": name, "engine": who, "reason": why} for who, why in found["skipped"]]
    figures["versions"] |= found["versions"]
    figures["load_average"][name] = found["load_average"]
    single = [m for m in measured if m.entrant.engine == "mdgen_kernel" and m.entrant.threads == 1]
    reached = min((m.cpu_us for m in single), default=None)
    figures["floor"][name] = floor_row(found["counted"], peak, reached)
    details = ratios(measured)
    if details:
        figures["ratios"][name] = details["speed"].value
        figures["ratio_details"][name] = details
    for who, why in found["skipped"]:
        logger.info("speed         left out of %s: %s: %s", name, who, why)
    return judged(name, measured)


def _stored(contest: Contest) -> dict[str, Any]:
    return {
        "turns": [[asdict(who), [[t.us, t.cpu_us] for t in turns]] for who, turns in contest.turns.items()],
        "skipped": [[who.name, why] for who, why in contest.skipped.items()],
        "versions": contest.versions,
        "load_average": contest.load_average,
    }


def processor() -> str:
    """The processor's name as the system has it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
