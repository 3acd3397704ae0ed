"""`--multirun`: one command, many runs, each in a folder of its own; what fails does not keep the rest from running.

Runs are made one after another (`hydra/launcher=basic`) or side by side, each in a process of its own
(`hydra/launcher=joblib`). These are the names that Hydra's launchers have; the processes are our own, since joblib
kills its workers on Ctrl-C, which would lose what they had not written yet.
"""

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mdgen.apps import launchers
from mdgen.apps.launchers import Outcome
from mdgen.apps.sweep import Run, sweep
from mdgen.apps.verbs import RUN_FOLDER_VERBS
from mdgen.errors import MdgenError
from mdgen.files import write_aside
from mdgen.progress import duration

logger = logging.getLogger("mdgen")

SUMMARY = "summary.json"

_LAUNCHER, _N_JOBS = "hydra/launcher", "hydra.launcher.n_jobs"


def run_many(verb: str, arguments: list[str], show: bool = False) -> str | None:
    """Run a verb once for each combination of values, those that are done already left alone.

    The folder `output` gets a folder a run and `summary.json`.

    Args:
        verb: one that writes a run folder.
        arguments: overrides, some with several values, and those of the launcher.
        show: only say which runs there would be.

    Returns:
        The runs as text if `show`.

    Raises:
        MdgenError: if the runs cannot be told from the arguments, or, at the end, if some failed, naming them.
        KeyboardInterrupt: after Ctrl-C; every run keeps what it has done.
    """
    if verb not in RUN_FOLDER_VERBS:
        raise MdgenError(f"--multirun is for verbs that write run folders: {', '.join(RUN_FOLDER_VERBS)}")
    launcher = dict(each.split("=", 1) for each in arguments if each.startswith("hydra") and "=" in each)
    runs = sweep(verb, [each for each in arguments if not each.startswith("hydra")])
    if show:
        return "".join(f"{run.config['output']}: {' '.join(run.overrides)}\n" for run in runs)
    launch = _launcher(launcher, verb, runs)
    folder = Path(runs[0].config["output"]).parent
    if (folder / "config.yaml").is_file():
        raise MdgenError(f"output={folder} is a run folder itself; choose another output for the folders of these runs")
    summary = _Summary(verb, folder, runs)
    logger.info("%d runs of `mdgen %s` into %s", len(runs), verb, folder)
    try:
        launch(summary.note)
    finally:
        if summary.outcomes:
            logger.info("\n%s\n\nsummary in %s", summary.table(), folder / SUMMARY)
    failed = summary.failed()
    if failed:
        said = "; ".join(f"{name}: {outcome.message}" for name, outcome in failed.items())
        raise MdgenError(
            f"{len(failed)} of {len(runs)} runs failed: {said}; mend these, and the same command runs them alone"
        )
    return None


def _launcher(options: dict[str, str], verb: str, runs: list[Run]) -> Callable[[Callable], None]:
    """What makes the runs, threads shared out."""
    for key in options.keys() - {_LAUNCHER, _N_JOBS}:
        raise MdgenError(f"there is no key {key!r} here; expected {_LAUNCHER}=joblib and {_N_JOBS}=NUMBER")
    name, jobs = options.get(_LAUNCHER, "basic"), options.get(_N_JOBS, "-1")
    if name not in ("basic", "joblib"):
        raise MdgenError(f"{_LAUNCHER}={name}: expected basic (one after another) or joblib (side by side)")
    if name == "basic":
        if _N_JOBS in options:
            raise MdgenError(f"{_N_JOBS}={jobs} goes with {_LAUNCHER}=joblib; give both, or neither")
        return lambda note: launchers.one_after_another(verb, runs, note)
    n_jobs, threads = shared_out(jobs, [run.config["threads"] for run in runs], len(runs))
    runs = [Run(run.name, run.overrides, {**run.config, "threads": threads}) for run in runs]
    logger.info("%d at a time, %d threads each", n_jobs, threads)
    return lambda note: launchers.side_by_side(verb, runs, n_jobs, note)


def shared_out(jobs: str, threads: list[int | None], n_runs: int) -> tuple[int, int]:
    """How many runs at a time, and the threads of each, together no more than there are cores.

    Args:
        jobs: as given; -1 for as many as fit.
        threads: that each run asks for; None where it leaves that open.
        n_runs: how many there are.

    Raises:
        MdgenError: if `jobs` is neither a positive number nor -1.
    """
    if not (jobs == "-1" or (jobs.isdigit() and int(jobs) > 0)):
        raise MdgenError(f"{_N_JOBS}={jobs}: expected a positive whole number, or -1 for as many as there are cores")
    cores = len(os.sched_getaffinity(0))
    asked = max((each or 1 for each in threads), default=1)
    n_jobs = max(1, min(n_runs, cores // asked, cores if jobs == "-1" else int(jobs)))
    return n_jobs, asked if any(threads) else max(1, cores // n_jobs)


class _Summary:
    """What has become of each run, kept on the disk."""

    def __init__(self, verb: str, folder: Path, runs: list[Run]) -> None:
        self.verb, self.folder, self.runs = verb, folder, runs
        self.outcomes: dict[str, Outcome] = {}
        self._begin = time.monotonic()

    def note(self, name: str, outcome: Outcome) -> None:
        """Take in what became of a run."""
        self.outcomes[name] = outcome
        rows = [self._row(run) for run in self.runs]
        counts = {status: sum(row["status"] == status for row in rows) for status in ("done", "failed", "not done")}
        document = {"verb": self.verb, **counts, "seconds": round(time.monotonic() - self._begin, 1), "runs": rows}
        write_aside(self.folder / SUMMARY, (json.dumps(document, indent=2) + "\n").encode())

    def failed(self) -> dict[str, Outcome]:
        """The runs that failed, by name."""
        return {name: outcome for name, outcome in self.outcomes.items() if outcome.status == "failed"}

    def table(self) -> str:
        """One line a run."""
        width = max(len(run.name) for run in self.runs)
        rows = [self._row(run) for run in self.runs]
        return "\n".join(
            f"{row['status']:8}  {row['name'].ljust(width)}  {duration(row['seconds']):>12}  {row['message']}".rstrip()
            for row in rows
        )

    def _row(self, run: Run) -> dict[str, Any]:
        outcome = self.outcomes.get(run.name, Outcome("not done", 0.0, ""))
        return {
            "name": run.name,
            "folder": run.config["output"],
            "overrides": list(run.overrides),
            "status": outcome.status,
            "message": outcome.message,
            "seconds": round(outcome.seconds, 1),
        }
