"""The evaluation suite: does the verdict of `mdgen evaluate` hold up where the truth is known?

False alarms: dynamics against dynamics, of a chain known exactly and of files given. Coverage: the share of 95 %
intervals that hold the true value. Power: how often each fault of a catalogue fails or is flagged.
"""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mdgen
from mdgen.benchmarks.evaluation.evaluation_plots import draw_coverage, draw_power
from mdgen.benchmarks.evaluation.faults import FAULTS, PEPTIDE
from mdgen.benchmarks.evaluation.ideal_test import IdealTest, population_test, visit_test
from mdgen.benchmarks.evaluation.judged_runs import Files, Outcome, Run, true_values
from mdgen.benchmarks.evaluation.known_chain import PEPTIDES, KnownChain
from mdgen.benchmarks.evaluation.tallies import acceptance, figures
from mdgen.benchmarks.suite import Figures, Suite
from mdgen.errors import MdgenError
from mdgen.evaluation import Settings
from mdgen.evaluation.report.canvas import write_png
from mdgen.files import write_aside
from mdgen.progress import Progress
from mdgen.registry import register


@register
@dataclass(frozen=True)
class EvaluationSettings(Suite):
    """Size of the suite; the defaults take some three hours of one core, half as long on two.

    Args:
        peptide: molecule of the honest runs, `ace_ala_leu_nme` or the smaller `ace_ala_nme`.
        sizes: trajectories on each side, and frames of each, of the honest runs; empty for none.
        honest_runs: runs of each size.
        faults: names of faults from the catalogue; None for all, empty for none.
        fault_runs: runs of each fault.
        fault_trajectories: trajectories on each side of those; faults of populations alone, and omissions of rare
            states, are also judged with as many as an ideal test of them needs.
        fault_frames: frames of each of those trajectories.
        frame_spacing_ps: time between frames of the chain.
        trajectories: files of molecular dynamics to split at random into reference and generated; None for none.
        topology: file of their molecule, where they need one.
        spacing_of_files_ps: time between their frames, where they do not say it.
        split_trajectories: trajectories on each side of a split; half of them where None.
        splits: number of splits.
        lag_ps: lag of the Markov state models; ten frames where None.
        resamples: resamples of every bootstrap.
        workers: processes, each of one thread; None for one a core.
        seed: seed of every run.

    Raises:
        MdgenError: if a fault or peptide is unknown, or a number out of range.
    """

    peptide: str = "ace_ala_leu_nme"
    sizes: Sequence[Sequence[int]] = ((2, 1000), (2, 10_000), (4, 10_000), (8, 10_000), (20, 10_000))
    honest_runs: int = 20
    faults: Sequence[str] | None = None
    fault_runs: int = 5
    fault_trajectories: int = 4
    fault_frames: int = 10_000
    frame_spacing_ps: float = 1.0
    trajectories: str | Sequence[str] | None = None
    topology: str | None = None
    spacing_of_files_ps: float | None = None
    split_trajectories: int | None = None
    splits: int = 45
    lag_ps: float | None = None
    resamples: int = 200
    workers: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.peptide not in PEPTIDES:
            raise MdgenError(f"peptide {self.peptide!r} is unknown; choose from {', '.join(PEPTIDES)}")
        for name in self.faults or ():
            if name not in FAULTS:
                raise MdgenError(f"fault {name!r} is unknown; known are {', '.join(FAULTS)}")
        for size in self.sizes:
            if len(size) != 2 or min(size) < 2:
                raise MdgenError(f"sizes holds {list(size)}; expected trajectories and frames, such as [4,10000]")
        least = {"honest_runs": 1, "fault_runs": 1, "fault_trajectories": 2, "fault_frames": 100, "splits": 1}
        for name, bound in {**least, "workers": 1, "split_trajectories": 1}.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise MdgenError(f"{name} is {value}, but must be {bound} or more")
        if not self.frame_spacing_ps > 0:
            raise MdgenError(f"frame_spacing_ps is {self.frame_spacing_ps}, but must be above zero")
        if not self.runs():
            raise MdgenError("sizes and faults are empty and no trajectories are named, so that nothing would be shown")

    def run(self, partial: Path) -> Figures:
        """Judge every run, each kept in `partial` for an interrupted suite with the same settings to resume from."""
        runs = self.runs()
        if self.files is not None:
            self.files.open()
        outcomes = {run.key: kept for run in runs if (kept := _read(self._file(partial, run))) is not None}
        left = [run for run in runs if run.key not in outcomes]
        progress = Progress("evaluation", len(runs), done=len(outcomes))
        for run, outcome in self._judged(left):
            write_aside(self._file(partial, run), json.dumps(outcome).encode())
            outcomes[run.key] = outcome
            progress.update(len(outcomes), last=run.key, verdict=outcome["overall"])
        truth: dict[str, float] = {}
        if self.sizes:
            truth = true_values(self.peptide, self.frame_spacing_ps, np.random.default_rng(self.seed))
        ideal = {name: test.figures(self.fault_trajectories) for name, test in self.ideal_tests.items()}
        found = figures([outcomes[run.key] for run in runs], truth, ideal)
        return {"settings": asdict(self), "true_values": truth, **found}, acceptance(found)

    def draw(self, result: dict[str, Any], output: Path) -> list[Path]:
        """Draw the power against each fault, and the coverage beside the false alarms."""
        drawn = []
        if result["faults"]:
            path = output.with_name(f"{output.stem}_power.png")
            drawn.append(write_png(path, lambda: draw_power(result)))
        if result["honest"]:
            path = output.with_name(f"{output.stem}_coverage.png")
            drawn.append(write_png(path, lambda: draw_coverage(result)))
        return drawn

    def runs(self) -> list[Run]:
        """Every run of the suite."""
        settings = Settings(lag_ps=self.lag_ps, resamples=self.resamples, verdict_only=True, seed=self.seed)
        common: dict[str, Any] = {"seed": self.seed, "frame_spacing_ps": self.frame_spacing_ps, "settings": settings}
        found = [
            Run("chain", self.peptide, number, n_trajectories=n, n_frames=frames, **common)
            for n, frames in self.sizes
            for number in range(self.honest_runs)
        ]
        if self.files is not None:
            split: dict[str, Any] = common | {"n_trajectories": 0, "n_frames": 0, "files": self.files}
            found += [Run("split", "files", number, **split) for number in range(self.splits)]
        found += [
            Run("fault", name, number, n_trajectories=n, n_frames=self.fault_frames, **common)
            for number in range(self.fault_runs)  # all faults once, then again: what is cut short says most so
            for name in self.chosen_faults
            for n in self._sides(name)
        ]
        return found

    @property
    def chosen_faults(self) -> list[str]:
        """Names of the faults."""
        return list(FAULTS if self.faults is None else self.faults)

    @cached_property
    def ideal_tests(self) -> dict[str, IdealTest]:
        """The ideal test of each fault of populations alone, and of each omission of rare states."""
        chain, found = KnownChain(PEPTIDE, self.frame_spacing_ps), dict[str, IdealTest]()
        for name in self.chosen_faults:
            fault = FAULTS[name]
            if fault.weight is not None:
                found[name] = population_test(chain, *fault.weight, self.fault_frames)
            elif fault.omitted:
                found[name] = visit_test(chain, fault.omitted, self.fault_frames)
        return found

    def _sides(self, fault: str) -> list[int]:
        """Trajectories on each side with which a fault is judged: as asked, and as many as the ideal test needs."""
        test = self.ideal_tests.get(fault)
        needed = 0 if test is None else test.needed
        return [self.fault_trajectories, *([needed] if needed > self.fault_trajectories else [])]

    @property
    def files(self) -> Files | None:
        """The trajectories to split."""
        if self.trajectories is None:
            return None
        named = self.trajectories if isinstance(self.trajectories, str) else list(self.trajectories)
        return Files(named, self.topology, self.spacing_of_files_ps, self.split_trajectories)

    def _judged(self, runs: Sequence[Run]) -> Iterator[tuple[Run, Outcome]]:
        """The outcome of each run as it comes."""
        workers = min(self.workers or len(os.sched_getaffinity(0)), len(runs))
        if workers <= 1:
            for run in runs:
                yield run, run.judge()
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, torch.set_num_threads, (1,)) as pool:
            pending = {pool.submit(run.judge): run for run in runs}
            try:
                for done in as_completed(pending):
                    yield pending[done], done.result()
            except BaseException:  # Ctrl-C, or a run that failed: what waits is not begun
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _file(self, partial: Path, run: Run) -> Path:
        """Where the outcome of a run is kept; other settings and other code have other files."""
        identity = hashlib.sha256(repr(run).encode() + _code()).hexdigest()[:12]
        return partial / f"{run.key}.{identity}.json"


def _read(path: Path) -> Outcome | None:
    return json.loads(path.read_text()) if path.is_file() else None


@cache
def _code() -> bytes:
    """Digest of the code that the outcomes depend on."""
    package = Path(mdgen.__file__).parent
    files = [*package.glob("evaluation/**/*.py"), *package.glob("benchmarks/evaluation/*.py")]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(files))).digest()
