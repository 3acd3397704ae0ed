"""How many runs are made: one after another in this process, or side by side in processes of their own."""

import importlib
import logging
import multiprocessing
import time
from collections.abc import Callable
from dataclasses import dataclass
from logging.handlers import QueueListener
from pathlib import Path
from typing import Any

from mdgen.apps.named_lines import named_lines
from mdgen.apps.side_by_side import failure_of, run_in_child, stop_all
from mdgen.apps.sweep import Run
from mdgen.errors import MdgenError

logger = logging.getLogger("mdgen")

_LOOK_S = 0.1
_GRACE_S = 5.0


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    Args:
        status: `done`, `failed` or `not done`.
        seconds: that it took.
        message: the sentence of one that failed, or that it was done before.
    """

    status: str
    seconds: float
    message: str


Note = Callable[[str, Outcome], None]
"""Takes in the name of a run and what became of it."""


def one_after_another(verb: str, runs: list[Run], note: Note) -> None:
    """Make the runs in this process; one that fails is noted, and the next begins."""
    module = importlib.import_module(f"mdgen.apps.{verb}")
    for run in runs:
        with named_lines(run.name):
            note(run.name, _outcome(module.run, run))


def _outcome(make: Callable[[dict[str, Any]], None], run: Run) -> Outcome:
    before, begin = _is_done(run), time.monotonic()
    try:
        make(run.config)
    except MdgenError as error:
        logger.error("%s", error)
        return Outcome("failed", time.monotonic() - begin, str(error))
    except Exception as error:  # a fault in one run must not keep the others from being made
        logger.exception("a fault of mdgen's own")
        return Outcome("failed", time.monotonic() - begin, f"{type(error).__name__}: {error}")
    return Outcome("done", time.monotonic() - begin, "before" if before else "")


def side_by_side(verb: str, runs: list[Run], n_jobs: int, note: Note) -> None:
    """Make the runs in processes, `n_jobs` at a time; those that are done already need none.

    Raises:
        KeyboardInterrupt: after Ctrl-C; the processes have stopped then, at points from which they can go on.
    """
    context = multiprocessing.get_context("spawn")
    lines: Any = context.Queue()
    listener = QueueListener(lines, *logger.handlers, respect_handler_level=True)
    one_after_another(verb, [run for run in runs if _is_done(run)], note)
    waiting = [run for run in runs if not _is_done(run)]
    at_work: list[_AtWork] = []
    listener.start()
    try:
        while waiting or at_work:
            while waiting and len(at_work) < n_jobs:
                at_work.append(_AtWork.started(context, verb, waiting.pop(0), lines))
            time.sleep(_LOOK_S)
            for each in [each for each in at_work if not each.process.is_alive()]:
                at_work.remove(each)
                note(each.run.name, each.outcome())
    except KeyboardInterrupt:
        # A terminal's Ctrl-C has reached the processes as well; a second signal could catch them writing.
        for each in at_work:
            each.process.join(_GRACE_S)
        raise
    finally:
        stop_all([each.process for each in at_work])
        listener.stop()


@dataclass(frozen=True)
class _AtWork:
    run: Run
    process: Any
    failures: Any
    begin: float

    @classmethod
    def started(cls, context: Any, verb: str, run: Run, lines: Any) -> "_AtWork":
        failures = context.Queue()
        arguments = (verb, run.config, lines, failures, run.name)
        process = context.Process(target=run_in_child, args=arguments, name=run.name)
        process.start()
        return cls(run, process, failures, time.monotonic())

    def outcome(self) -> Outcome:
        self.process.join()
        seconds = time.monotonic() - self.begin
        if self.process.exitcode == 0:
            return Outcome("done", seconds, "")
        message = str(failure_of(self.process, self.failures))
        logger.error("%s  %s", self.run.name, message)
        return Outcome("failed", seconds, message)


def _is_done(run: Run) -> bool:
    return (Path(run.config["output"]) / "DONE").is_file()
