"""The suite of latent space simulators: frames a second, alone and beside neighbours, and what a microsecond costs."""

import logging
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from matplotlib.figure import Figure

from mdgen.benchmarks.latent.timed_parts import DECODERS, LAG_PS, PROPAGATORS, TimedParts, learn, trained_parts
from mdgen.benchmarks.speed.engines import ENGINES, EngineSetup
from mdgen.benchmarks.speed.runner import time_engines
from mdgen.benchmarks.speed.speed_suite import processor
from mdgen.benchmarks.speed.timed_systems import SYSTEMS, prepare_system
from mdgen.benchmarks.suite import Figures, Suite
from mdgen.data.conditions import first_frame
from mdgen.errors import MdgenError
from mdgen.evaluation.report.canvas import write_png
from mdgen.generation.parallel_decoding import decode_in_parts
from mdgen.interfaces import Context
from mdgen.registry import register
from mdgen.results import Acceptance, Estimate

logger = logging.getLogger("mdgen")

ENGINE_FS = 4.0
"""Time step of the simulations that a microsecond is compared with; mdgen takes it by default, with heavy hydrogens."""

_start = subprocess.Popen


@register
@dataclass(frozen=True)
class LatentSettings(Suite):
    """What to time, and for how long.

    Args:
        molecule: name from `speed.timed_systems.SYSTEMS`, a peptide without a box.
        propagators: names from `timed_parts.PROPAGATORS`.
        decoders: names from `timed_parts.DECODERS`.
        n_trajectories: latent trajectories that are sampled at once.
        n_frames: frames of each.
        n_decoded: frames that are decoded, by the slowest decoder a tenth of them.
        neighbours: numbers of busy processes beside which the first propagator, its training and the first decoder are
            timed.
        n_steps: optimiser steps of each part.
        length_ns: length of the trajectories that parts are trained on.
        n_replicas: number of these, and of those that the engine is timed with.
        repeats: timings of each figure.
        turn_s: wall time of a turn of the engines.
        threads: processor cores to use beside neighbours; None for all. Alone everything is timed on one.
        seed: seed of dynamics, training and sampling.
    """

    molecule: str = "alanine_dipeptide_obc2"
    propagators: Sequence[str] = ("mdn", "latent_flow", "markov_state_model")
    decoders: Sequence[str] = ("cwgan", "neighbour_flow_small", "nearest_frame")
    n_trajectories: int = 1000
    n_frames: int = 500
    n_decoded: int = 50_000
    neighbours: Sequence[int] = (1, 3)
    n_steps: int = 2000
    length_ns: float = 0.5
    n_replicas: int = 256
    repeats: int = 3
    turn_s: float = 1.0
    threads: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        parts = {"propagator": (self.propagators, PROPAGATORS), "decoder": (self.decoders, DECODERS)}
        for key, (given, known) in (parts | {"molecule": ((self.molecule,), SYSTEMS)}).items():
            for name in given or ("",):
                if name not in known:
                    raise MdgenError(f"{key} {name!r} is unknown; known are {', '.join(known)}")
        if "sequence" not in SYSTEMS[self.molecule].settings:
            raise MdgenError(f"molecule {self.molecule!r} lies in a box; give a peptide without one")
        counts = (self.n_trajectories, self.n_frames - 1, self.n_decoded, self.n_steps, self.repeats, self.n_replicas)
        if min(*counts, self.threads or 1, *(n + 1 for n in self.neighbours)) < 1:
            raise MdgenError(
                "expected n_trajectories, n_decoded, n_steps, repeats, n_replicas and threads of at least 1, n_frames "
                "of at least 2 and no negative number of neighbours"
            )
        for key in ("turn_s", "length_ns"):
            if not 0 < getattr(self, key) < math.inf:
                raise MdgenError(f"{key}={getattr(self, key)}: expected a number above 0")

    def run(self, partial: Path) -> Figures:
        """Simulate, train, and time everything, one after the other."""
        cores = self.threads or len(os.sched_getaffinity(0))
        before = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with tempfile.TemporaryDirectory() as scratch:
                sizes = (self.n_steps, self.length_ns, self.n_replicas, Path(scratch) / "dynamics", self.seed)
                parts = trained_parts(self.molecule, tuple(self.propagators), tuple(self.decoders), *sizes)
                rows = [self._sampling(parts, name) for name in self.propagators]
                rows += [self._decoding(parts, name) for name in self.decoders]
                torch.set_num_threads(cores)
                rows += self._beside_neighbours(parts, cores)
            rows += self._simulated()
        finally:
            torch.set_num_threads(before)
        rows += _microseconds(rows)
        figures = {
            "rows": rows,
            "lag_ps": LAG_PS,
            "load_average": os.getloadavg()[0],
            "processor": processor(),
            "cores": cores,
            "settings": asdict(self),
        }
        return figures, acceptance_rows(rows)

    def draw(self, result: dict[str, Any], output: Path) -> list[Path]:
        """Draw what a microsecond costs."""
        return [write_png(output.with_suffix(".png"), lambda: _figure(result))]

    def _sampling(self, parts: TimedParts, name: str) -> dict[str, Any]:
        logger.info("latent        %s", name)
        return {"kind": "sampling", "part": name, **_rates(self._sample(parts, name), self.repeats)}

    def _decoding(self, parts: TimedParts, name: str) -> dict[str, Any]:
        logger.info("latent        %s", name)
        return {
            "kind": "decoding",
            "part": name,
            "atoms": parts.data.molecule.n_atoms,
            **_rates(self._decode(parts, name), self.repeats),
        }

    def _sample(self, parts: TimedParts, name: str) -> Callable[[], int]:
        """Work that samples trajectories, and says how many frames it made."""
        propagator: Any = parts.propagators[name]
        chosen = torch.arange(self.n_trajectories) % len(propagator.starts)
        condition = first_frame(propagator.starts[chosen], self.n_frames)
        generator = torch.Generator().manual_seed(self.seed)

        def work() -> int:
            propagator.sample(condition, Context(), generator)
            return self.n_trajectories * (self.n_frames - 1)

        return work

    def _decode(self, parts: TimedParts, name: str) -> Callable[[], int]:
        """Work that decodes frames of a sampled trajectory, and says how many."""
        propagator: Any = parts.propagators[self.propagators[0]]
        generator = torch.Generator().manual_seed(self.seed)
        n = max(1, self.n_decoded // 10) if name.startswith("neighbour_flow") else self.n_decoded
        chosen = torch.arange(min(n, 100)) % len(propagator.starts)
        condition = first_frame(propagator.starts[chosen], max(2, n // 100))
        latent = propagator.sample(condition, Context(), generator)

        def work() -> int:
            streams = torch.Generator().manual_seed
            decode_in_parts(parts.decoders[name], latent, Context(), streams)
            return latent.shape[0] * latent.shape[1]

        return work

    def _train(self, parts: TimedParts, name: str) -> int:
        """Train a new propagator for a quarter of the steps; their number."""
        n_steps = max(1, self.n_steps // 4)
        learn(PROPAGATORS[name](parts.encoder), parts.data, parts.encoder, n_steps=n_steps, seed=self.seed)
        return n_steps

    def _beside_neighbours(self, parts: TimedParts, cores: int) -> list[dict[str, Any]]:
        """Wall rates on all cores, alone and beside processes that never rest."""
        rows = []
        propagator, decoder = self.propagators[0], self.decoders[0]
        works = {
            "sampling": (propagator, "frames", self._sample(parts, propagator)),
            "decoding": (decoder, "frames", self._decode(parts, decoder)),
            "training": (propagator, "steps", lambda: self._train(parts, propagator)),
        }
        for kind, (name, unit, work) in works.items():
            alone = 0.0
            for n in (0, *self.neighbours):
                with busy(n):
                    rate = _rates(work, self.repeats, time.perf_counter)["frames_per_s"]
                alone = rate if n == 0 else alone
                # Threads and neighbours share the machine's cores in equal parts.
                fair = max(1.0, (cores + n) / len(os.sched_getaffinity(0)))
                rows.append(
                    {
                        "kind": "shared",
                        "work": kind,
                        "part": name,
                        "neighbours": n,
                        "threads": cores,
                        f"{unit}_per_s": rate,
                        "slow_down": alone / rate,
                        "slow_down_of_fair_share": fair,
                    }
                )
        return rows

    def _simulated(self) -> list[dict[str, Any]]:
        """The engine with many replicas, and OpenMM with one on each of its platforms, each on one core."""
        setups = [EngineSetup("mdgen_kernel", self.n_replicas), EngineSetup("openmm_cpu")]
        setups.append(EngineSetup("openmm_reference", precision="double"))
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            prepare_system(self.molecule, folder, None)
            timings = time_engines(folder, setups, self.repeats, self.turn_s, self.turn_s, self.seed)
        rows = []
        for setup in setups:
            if setup in timings.skipped:
                raise MdgenError(f"{setup.name} could not be timed: {timings.skipped[setup]}")
            used = median(1e-6 * turn.cpu_us for turn in timings.turns[setup])
            rows.append({"kind": "simulation", "part": setup.engine, "replicas": setup.replicas, "step_s": used})
        return rows


@contextmanager
def busy(n: int) -> Iterator[None]:
    """So many processes beside this one that never rest, and end with it, also where it is killed."""
    spin = f"import os\nwhile os.getppid() == {os.getpid()}: pass"
    neighbours = [_start([sys.executable, "-c", spin]) for _ in range(n)]
    try:
        yield
    finally:
        for each in neighbours:
            each.kill()
            each.wait()


def _rates(work: Callable[[], int], repeats: int, clock: Callable[[], float] = time.process_time) -> dict[str, float]:
    """Frames (in training: steps) a second of processor time, which other programs do not lengthen, or of `clock`."""
    work()  # compiles
    rates = []
    for _ in range(repeats):
        begin = clock()
        made = work()
        rates.append(made / (clock() - begin))
    return {"frames_per_s": median(rates), "frames_per_s_low": min(rates), "frames_per_s_high": max(rates)}


def _microseconds(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Processor seconds of one microsecond: sampled and decoded, sampled alone, and simulated."""
    frames = 1e6 / LAG_PS
    sampling = {row["part"]: frames / row["frames_per_s"] for row in rows if row["kind"] == "sampling"}
    decoding = {row["part"]: frames / row["frames_per_s"] for row in rows if row["kind"] == "decoding"}
    propagator = next(iter(sampling))
    costs = {f"latent alone, {name}": seconds for name, seconds in sampling.items()}
    costs |= {f"{propagator} and {name}": sampling[propagator] + seconds for name, seconds in decoding.items()}
    steps = 1e9 / ENGINE_FS
    costs |= {row["part"]: steps * row["step_s"] for row in rows if row["kind"] == "simulation"}
    return [{"kind": "microsecond", "part": name, "seconds": seconds} for name, seconds in costs.items()]


def acceptance_rows(rows: Sequence[dict[str, Any]]) -> list[Acceptance]:
    """Latent and decoded frames of a core, the price of a microsecond, and the slow-down beside neighbours."""
    found = []
    for row in rows:
        if row["kind"] in ("sampling", "decoding"):
            rate = Estimate(row["frames_per_s"], row["frames_per_s_low"], row["frames_per_s_high"])
            bound = 2e6 if row["kind"] == "sampling" else 5e4
            found.append(Acceptance.above(f"{row['kind']}_frames_per_s_{row['part']}", rate, bound))
        if row["kind"] == "shared" and row["neighbours"]:
            name = f"{row['work']}_slow_down_beside_{row['neighbours']}"
            fair = 1.3 * row["slow_down_of_fair_share"]
            found.append(Acceptance.below(name, Estimate(row["slow_down"]), fair))
    costs = {row["part"]: row["seconds"] for row in rows if row["kind"] == "microsecond"}
    for name, seconds in costs.items():
        if " and " in name:
            part = name.replace(" and ", "_")
            found += [
                Acceptance.above(f"{engine}_over_{part}", Estimate(costs[engine] / seconds), 1.0)
                for engine in ENGINES
                if engine in costs
            ]
    return found


def _figure(result: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.subplots()
    rows = [row for row in result["rows"] if row["kind"] == "microsecond"]
    names, seconds = [row["part"] for row in rows], [row["seconds"] for row in rows]
    bars = axes.barh(names, seconds, color=["C1" if "_" in n and " " not in n else "C0" for n in names])
    axes.bar_label(bars, fmt=lambda value: f" {value:.3g} s")
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="processor seconds of one microsecond", xlim=(None, 10 * max(seconds)))
    return figure
