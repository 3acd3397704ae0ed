"""One run of the suite: draw or read trajectories, evaluate them, keep the verdict and the intervals."""

import time
import zlib
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch

from mdgen.benchmarks.evaluation.fault import Dynamics
from mdgen.benchmarks.evaluation.faults import FAULTS, PEPTIDE
from mdgen.benchmarks.evaluation.known_chain import KnownChain
from mdgen.benchmarks.evaluation.resolved_timescales import timescales_in_states
from mdgen.benchmarks.evaluation.verdict_reading import excesses_of, verdict_of
from mdgen.data.trajectories import TrajectorySet, open_trajectories
from mdgen.errors import MdgenError
from mdgen.evaluation import Evaluation, Settings, evaluate
from mdgen.evaluation.metrics.structure_checks import CHECKS, fit_checks

Outcome = dict[str, Any]
"""What is kept of a run, as JSON."""

TRUTH_FRAMES = 200_000
TIMESCALES = 3
"""Slowest timescales whose true values are compared."""


@dataclass(frozen=True)
class Files:
    """Trajectories of a user, to be split at random.

    Args:
        trajectories: paths, as `open_trajectories` takes them.
        topology: file of the molecule, or None.
        frame_spacing_ps: time between frames, or None.
        a_side: trajectories on each side of a split; half of them where None.
    """

    trajectories: str | list[str]
    topology: str | None = None
    frame_spacing_ps: float | None = None
    a_side: int | None = None

    def open(self) -> TrajectorySet:
        """The trajectories.

        Raises:
            MdgenError: if there are too few to split.
        """
        opened = open_trajectories(self.trajectories, self.topology, self.frame_spacing_ps)
        if len(opened) < 2 * self.each(len(opened)):
            raise MdgenError(
                f"{len(opened)} trajectories cannot be split into two times {self.each(len(opened))}; name more, or a "
                "smaller suite.split_trajectories"
            )
        return opened

    def each(self, number: int) -> int:
        """Trajectories on each side of a split of so many."""
        return self.a_side or max(1, number // 2)


@dataclass(frozen=True)
class Run:
    """One run, by what it needs: all of it is plain data, since it may happen in another process.

    Args:
        kind: `chain`, `fault` or `split`.
        name: peptide, fault, or `files`.
        number: number among the runs of that kind and name.
        seed: seed of the suite.
        n_trajectories: trajectories on each side.
        n_frames: frames of each trajectory.
        frame_spacing_ps: time between frames of the chain.
        settings: settings of the evaluation.
        files: trajectories to split, for `split`.
    """

    kind: str
    name: str
    number: int
    seed: int
    n_trajectories: int
    n_frames: int
    frame_spacing_ps: float
    settings: Settings
    files: Files | None = None

    @property
    def key(self) -> str:
        """Name of its file."""
        return f"{self.kind}-{self.name}-{self.n_trajectories}x{self.n_frames}-{self.number}"

    def judge(self) -> Outcome:
        """Evaluate; a refusal, which is an `MdgenError`, counts as a row that fails."""
        begin = time.monotonic()
        outcome: Outcome = {"kind": self.kind, "name": self.name, "run": self.number, "key": self.key}
        outcome |= {"n_trajectories": self.n_trajectories, "n_frames": self.n_frames}
        reference, generated = self._sides()
        try:
            result = evaluate(reference, generated, settings=self.settings)
        except MdgenError as error:
            return outcome | {"overall": "fails", "failing": ["refused"], "flagged": False, "said": str(error)}
        verdict = verdict_of(result)
        outcome |= {"overall": verdict.overall, "failing": list(verdict.failing), "flagged": verdict.flagged}
        if self.kind == "chain":
            outcome["intervals"] = _intervals(result)
            chain = KnownChain(self.name, self.frame_spacing_ps)
            resolved = Settings(**{each.name: result.settings[each.name] for each in fields(Settings)})
            outcome["true_values"] = timescales_in_states(chain, reference, resolved)
        if self.kind == "fault":
            outcome["excesses"] = {
                name: [each.value, each.low, each.high] for name, each in excesses_of(result).items()
            }
        return outcome | {"seconds": time.monotonic() - begin}

    def _sides(self) -> tuple[TrajectorySet, TrajectorySet]:
        """Reference and generated trajectories."""
        rng = np.random.default_rng([self.seed, zlib.crc32(self.key.encode())])
        if self.kind == "split":
            assert self.files is not None
            opened = self.files.open()
            order, each = rng.permutation(len(opened)).tolist(), self.files.each(len(opened))
            return opened.select(order[:each]), opened.select(order[each : 2 * each])
        chain = KnownChain(PEPTIDE if self.kind == "fault" else self.name, self.frame_spacing_ps)
        reference, generated = (chain.draw(self.n_trajectories, self.n_frames, rng) for _ in range(2))
        if self.kind == "fault":
            generated = FAULTS[self.name].change(generated, Dynamics(chain, reference, rng))
        return chain.trajectories(reference), chain.trajectories(generated)


def _intervals(result: Evaluation) -> dict[str, list[float | None]]:
    """Intervals of what has a true value, on all the generated frames."""
    kinds = ("timescale_ps", "decorrelation_ps", "step_rms_deg", *STRUCTURE)
    row = result.rows.get("generated_all", result.rows["generated"])
    return {
        name: [estimate.value, estimate.low, estimate.high]
        for name, estimate in row.metrics.items()
        if name.partition("/")[0] in kinds and estimate.low is not None
    }


STRUCTURE = ("clash_share", "closest_nm", "radius_of_gyration_nm", "radius_of_gyration_sd_nm")
"""Means over frames whose true values are taken from many independent frames. Deviations of bonds and angles are left
out: they are taken from the reference's sampled means, so their true value changes from run to run."""


def true_values(peptide: str, frame_spacing_ps: float, rng: np.random.Generator) -> dict[str, float]:
    """True values of the metrics by name: times and steps from the chain's law, means from independent frames."""
    chain = KnownChain(peptide, frame_spacing_ps)
    names = [name for wells in chain.wells for name in wells.torsions]
    found = {f"timescale_ps/{i + 1}": float(time) for i, time in enumerate(chain.timescales_ps[:TIMESCALES])}
    found |= {f"decorrelation_ps/{name}": chain.decorrelation_ps(name) for name in names}
    found |= {f"step_rms_deg/{name}": chain.step_rms_deg(name) for name in names}
    frames = torch.from_numpy(chain.independent_frames(TRUTH_FRAMES, rng))
    checks = fit_checks(chain.molecule, frames)
    table = torch.cat([checks.measure(part) for part in frames.split(5000)]).double()
    columns = dict(zip(CHECKS, table.unbind(-1), strict=True))
    size, near = columns["radius_of_gyration_nm"], columns["closest_nm"]
    means = {
        "clash_share": (columns["clashes"] > 0).double().mean(),
        "closest_nm": near[near.isfinite()].mean(),
        "radius_of_gyration_nm": size.mean(),
        "radius_of_gyration_sd_nm": size.std(),
    }
    return found | {name: float(value) for name, value in means.items()}
