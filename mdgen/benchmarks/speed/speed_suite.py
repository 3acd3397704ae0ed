"""The speed suite: times every engine on every system, one system after the other."""

import hashlib
import itertools
import json
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

import mdgen
from mdgen.benchmarks.speed.engines import ENGINES, EngineSetup, engine_setups
from mdgen.benchmarks.speed.ratios import Measurement, acceptance_rows, ratios
from mdgen.benchmarks.speed.roofline import measured_peak, pair_operations, roofline_row
from mdgen.benchmarks.speed.runner import Turn, time_engines
from mdgen.benchmarks.speed.speed_plots import write_speed_plots
from mdgen.benchmarks.speed.start import FRICTION_PER_PS, TEMPERATURE_K, TIMESTEP_FS
from mdgen.benchmarks.speed.timed_systems import SYSTEMS, prepare_system
from mdgen.benchmarks.suite import Figures, Suite
from mdgen.errors import MdgenError
from mdgen.files import write_aside
from mdgen.progress import Progress
from mdgen.registry import register
from mdgen.results import Acceptance

logger = logging.getLogger("mdgen")


@register
@dataclass(frozen=True)
class SpeedSettings(Suite):
    """What to time, and for how long.

    Args:
        systems: names from `timed_systems.SYSTEMS`; None for all.
        engines: names from `engines.ENGINES`; None for all.
        replicas: numbers of replicas that mdgen runs.
        repeats: rounds; every engine has one turn in each.
        turn_s: wall time of a turn.
        warm_up_s: wall time before the first turn, after compilation.
        threads: processor cores to use; None for all.
        device: device of mdgen's torch engine, `cpu` or `cuda`.
        box_folder: folder of TorchMD's test systems, where the periodic box is read; without it a like box is built.
        torchmd_python: interpreter that has TorchMD; None for this one.
        seed: seed of the engines' random numbers.
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
        for key, given, known in (("system", self.systems, SYSTEMS), ("engine", self.engines, ENGINES)):
            if given is not None and not given:
                raise MdgenError(f"{key}s is empty, so that nothing would be timed; name some, or null for all")
            for name in given or ():
                if name not in known:
                    raise MdgenError(f"{key} {name!r} is unknown; known are {', '.join(known)}")
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

    def run(self, partial: Path) -> Figures:
        """Time every engine on every system.

        Each system's timings are kept in `partial`, for a run with the same settings and the same code to resume from.
        """
        cores = self.threads or len(os.sched_getaffinity(0))
        settings = json.dumps(asdict(self) | {"systems": None}, default=list).encode()
        key = hashlib.sha256(settings + _engine_code()).hexdigest()[:16]
        peak = measured_peak()
        figures: dict[str, Any] = {
            "rows": [],
            "ratios": {},
            "ratio_details": {},
            "systems": {},
            "floor": {"peak_operations_per_s_of_one_thread": peak},
            "skipped": [],
            "load_average": {},
            "dynamics": {
                "timestep_fs": TIMESTEP_FS,
                "temperature_K": TEMPERATURE_K,
                "friction_per_ps": FRICTION_PER_PS,
            },
            "processor": processor(),
            "cores": cores,
            "versions": {},
            "settings": asdict(self),
        }
        rows: list[Acceptance] = []
        for name in SYSTEMS if self.systems is None else self.systems:
            kept = partial / f"{name}.{key}.json"
            if kept.is_file():
                logger.info("speed         %s was timed before", name)
            else:
                write_aside(kept, json.dumps(_one_system(name, self, cores)).encode())
            rows += _report(figures, name, json.loads(kept.read_text()), peak)
        return figures, rows

    def draw(self, result: dict[str, Any], output: Path) -> list[Path]:
        """Draw the cost of a step against atoms and against replicas."""
        return write_speed_plots(result, output)


def _engine_code() -> bytes:
    """The source of the engine, so that timings of an earlier version are not used."""
    return b"".join(path.read_bytes() for path in sorted((Path(mdgen.__file__).parent / "md").rglob("*.py")))


def _one_system(name: str, settings: SpeedSettings, cores: int) -> dict[str, Any]:
    """The timings on one system, as plain JSON."""
    engines = ENGINES if settings.engines is None else settings.engines
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        prepared = prepare_system(name, folder, settings.box_folder)
        sensible = [n for n in settings.replicas if n <= SYSTEMS[name].most_replicas] or [min(settings.replicas)]
        setups = engine_setups(prepared.parameters, engines, sensible, cores, settings.device)
        logger.info("speed         %s: %d engines and settings get ready", name, len(setups))
        timings = time_engines(
            folder,
            setups,
            settings.repeats,
            settings.turn_s,
            settings.warm_up_s,
            settings.seed,
            settings.torchmd_python,
            _announcer(name, settings.repeats * len(setups)),
        )
    counted = pair_operations(prepared.parameters, prepared.start.positions, prepared.start.cell)
    return {
        "facts": prepared.facts,
        "counted": counted,
        "turns": [[asdict(who), [[t.us, t.cpu_us] for t in turns]] for who, turns in timings.turns.items()],
        "skipped": [[who.name, why] for who, why in timings.skipped.items()],
        "versions": timings.versions,
        "load_average": timings.load_average,
    }


def _announcer(system: str, total: int) -> Callable[[str], None]:
    """Reports progress after each turn; its clock starts with the first turn."""
    turns = itertools.count(1)
    progress: list[Progress] = []

    def on_turn(setup: str) -> None:
        turn = next(turns)
        if not progress:
            progress.append(Progress("speed", total, done=turn))
        progress[0].update(turn, system=system, turn_of=setup)

    return on_turn


def _report(figures: dict[str, Any], name: str, found: dict[str, Any], peak: float) -> list[Acceptance]:
    """Add one system's timings to the figures; returns its acceptance rows."""
    atoms = found["facts"]["atoms"]
    measured = [
        Measurement(name, atoms, EngineSetup(**setup), [Turn(*turn) for turn in turns])
        for setup, turns in found["turns"]
    ]
    figures["systems"][name] = found["facts"]
    figures["rows"] += [each.row for each in measured]
    figures["skipped"] += [{"system": name, "engine": who, "reason": why} for who, why in found["skipped"]]
    figures["versions"] |= found["versions"]
    figures["load_average"][name] = found["load_average"]
    single = [m for m in measured if m.setup.engine == "mdgen_kernel" and m.setup.threads == 1]
    reached = min((m.cpu_us for m in single), default=None)
    figures["floor"][name] = roofline_row(found["counted"], peak, reached)
    details = ratios(measured)
    if details:
        figures["ratios"][name] = details["speed"].value
        figures["ratio_details"][name] = details
    for who, why in found["skipped"]:
        logger.info("speed         left out of %s: %s: %s", name, who, why)
    return acceptance_rows(name, measured)


def processor() -> str:
    """Name of the processor as the operating system reports it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()
