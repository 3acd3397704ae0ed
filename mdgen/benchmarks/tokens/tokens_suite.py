"""The suite of trajectory tokens: what the network, its training, its samples and their atoms cost on this machine."""

import logging
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mdgen.benchmarks.speed.speed_suite import processor
from mdgen.benchmarks.speed.timed_systems import SYSTEMS
from mdgen.benchmarks.suite import Figures, Suite
from mdgen.benchmarks.tokens.block_costs import block_rows, engine_row
from mdgen.benchmarks.tokens.matrix_peak import MatrixPeak
from mdgen.benchmarks.tokens.network_costs import SIZES, Shape, evaluation_row, mixer_rows, training_row
from mdgen.benchmarks.tokens.token_plots import costs
from mdgen.errors import MdgenError
from mdgen.evaluation.report.canvas import write_png
from mdgen.models.blocks.number_format import fastest_format
from mdgen.registry import register
from mdgen.results import Acceptance, Estimate

logger = logging.getLogger("mdgen")

PAPER_SHAPE = (1, 1000, 4)
"""A window of the original: one trajectory of 1,000 frames of a tetrapeptide."""

MANY_SHORT = (64, 32, 3)
"""Many short windows of alanine dipeptide."""

_RESIDUES, _FRAMES, _BATCHES = (2, 4, 8, 16, 32, 64), (10, 30, 100, 300, 1000), (1, 4, 16, 64)


@register
@dataclass(frozen=True)
class TokenSettings(Suite):
    """What to time, and for how long.

    Args:
        molecules: names from `speed.timed_systems.SYSTEMS`; peptides without a box.
        networks: names from `network_costs.SIZES`; the costs of the first are also taken against residues, frames and
            batch.
        spacings_ps: times between the frames of a block.
        batch: trajectories that are generated at once.
        window: frames of a window.
        replicas: replicas that the engine simulates at once.
        mixer_frames: numbers of frames at which attention and the mixer of linear cost are compared.
        turn_s: time of each timing, of three repeats at least; one is taken where it lasts five times as long.
        threads: processor cores to use; None for all.
        device: device of the networks, `cpu` or `cuda`; the engine's is the processor.
        seed: seed of weights, noise and velocities.
    """

    molecules: Sequence[str] = ("alanine_dipeptide_obc2", "ipgd_gbn2")
    networks: Sequence[str] = ("base", "small", "large")
    spacings_ps: Sequence[float] = (10.0, 100.0)
    batch: int = 16
    window: int = 100
    replicas: int = 256
    mixer_frames: Sequence[int] = (1_000, 10_000, 100_000)
    turn_s: float = 1.0
    threads: int | None = None
    device: str = "cpu"
    seed: int = 0

    def __post_init__(self) -> None:
        for key, given, known in (("molecule", self.molecules, SYSTEMS), ("network", self.networks, SIZES)):
            for name in given or ("",):
                if name not in known:
                    raise MdgenError(f"{key} {name!r} is unknown; known are {', '.join(known)}")
        if self.device not in ("cpu", "cuda"):
            raise MdgenError(f"device is {self.device!r}, but must be cpu or cuda")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise MdgenError("device=cuda was asked for, but torch finds no CUDA device here; use device=cpu")
        if not self.spacings_ps or any(not 0 < spacing < math.inf for spacing in self.spacings_ps):
            raise MdgenError(f"spacings_ps is {list(self.spacings_ps)}, but must list positive numbers, such as [100]")
        if self.window < 2 or self.batch < 1 or self.replicas < 1 or not 0 < self.turn_s < math.inf:
            raise MdgenError(
                f"window={self.window}, batch={self.batch}, replicas={self.replicas}, turn_s={self.turn_s}: expected "
                "at least 2, 1, 1 and more than 0"
            )

    def run(self, partial: Path) -> Figures:
        """Time everything, one after the other."""
        threads = self.threads or len(os.sched_getaffinity(0))
        device = torch.device(self.device)
        peak = MatrixPeak(device)
        formats = list(dict.fromkeys((torch.float32, fastest_format(device.type))))
        rows = self._network_rows(formats, peak)
        rows += mixer_rows(self.mixer_frames, peak, self.turn_s, self.seed)
        for name in self.molecules:
            logger.info("tokens        %s", name)
            engine = engine_row(name, self.replicas, threads, 3, self.turn_s, self.seed)
            blocks = (self._block_rows(name, network, engine, peak) for network in self.networks)
            rows += [engine, *(row for some in blocks for row in some)]
        figures = {
            "rows": rows,
            "matrix_peak_gflop_per_s": 1e-9 * peak.best,
            "clock": peak.clock_name,
            "fastest_number_format": str(formats[-1]).removeprefix("torch."),
            "load_average": os.getloadavg()[0],
            "processor": processor(),
            "device": self.device if self.device == "cpu" else torch.cuda.get_device_name(),
            "threads": threads,
            "settings": asdict(self),
        }
        return figures, acceptance_rows(rows)

    def draw(self, result: dict[str, Any], output: Path) -> list[Path]:
        """Draw costs against residues, frames, batch and molecules."""
        return [write_png(output.with_suffix(".png"), lambda: costs(result))]

    def _network_rows(self, formats: Sequence[torch.dtype], peak: MatrixPeak) -> list[dict[str, Any]]:
        """Evaluations and training steps of each network in each number format."""
        rows = []
        for number_format in formats:
            settings: Any = (number_format, peak, self.turn_s, self.seed)
            for network in self.networks:
                logger.info("tokens        network %s, %s", network, number_format)
                rows += [evaluation_row(network, shape, *settings) for shape in (PAPER_SHAPE, MANY_SHORT)]
                rows.append(training_row(network, (self.batch, self.window, PAPER_SHAPE[2]), *settings))
            for cost_against, shapes in _sweeps(self.window).items():
                for shape in shapes:
                    rows.append(evaluation_row(self.networks[0], shape, *settings) | {"cost_against": cost_against})
        return rows

    def _block_rows(self, name: str, network: str, engine: dict[str, Any], peak: MatrixPeak) -> list[dict[str, Any]]:
        sizes = self.batch, self.window
        return block_rows(name, network, self.spacings_ps, *sizes, engine, peak, self.turn_s, self.seed)


def _sweeps(window: int) -> dict[str, list[Shape]]:
    """Shapes of evaluations of which one size grows, by its name."""
    tokens = PAPER_SHAPE[2]
    return {
        "residues": [(1, window, n) for n in _RESIDUES],
        "frames": [(1, n, tokens) for n in _FRAMES],
        "batch": [(n, window, tokens) for n in _BATCHES],
    }


def acceptance_rows(rows: Sequence[dict[str, Any]]) -> list[Acceptance]:
    """A generated nanosecond against a simulated one, the share of the peak, and how costs grow with the frames."""
    found = []
    for row in rows:
        if "cost_against" in row or (row.get("number_format"), _shape(row)) != ("float32", PAPER_SHAPE):
            continue
        if row["kind"] == "evaluation":
            share = Estimate(row["share_of_peak"])
            found.append(Acceptance.above(f"evaluation_share_of_peak_{row['network']}", share, 0.5))
    blocks = [row for row in rows if row["kind"] == "block"]
    for name in dict.fromkeys(row["molecule"] for row in blocks):
        mine = [row for row in blocks if row["molecule"] == name]
        best = max(mine, key=lambda row: row["engine_over_generated"])
        title = f"engine_over_generated_{name}_{best['network']}_{best['spacing_ps']:g}ps"
        found.append(Acceptance.above(title, Estimate(best["engine_over_generated"]), 100.0))
    mixers = {(row["mixer"], row["frames"]): row["seconds"] for row in rows if row["kind"] == "mixer"}
    if mixers:
        last = max(frames for _, frames in mixers)
        ratio = mixers["attention", last] / mixers["oscillators", last]
        found.append(Acceptance.above(f"attention_over_oscillators_{last}_frames", Estimate(ratio), 10.0))
    return found


def _shape(row: dict[str, Any]) -> Shape:
    return row.get("batch", 0), row.get("frames", 0), row.get("tokens", 0)
