"""Steps of a chain that need nothing of each other, each in a process of its own.

Small networks train fastest on one thread; two of them keep two cores busy.
"""

import importlib
import logging
import multiprocessing
import queue
import signal
import sys
from logging.handlers import QueueHandler, QueueListener
from typing import Any

from mdgen.errors import MdgenError

logger = logging.getLogger("mdgen")

_GRACE_S = 5.0
_PATIENCE_S = 60.0


def run_side_by_side(steps: dict[str, tuple[str, dict[str, Any]]]) -> None:
    """Run `module.run(config)` for every step at once and wait for all of them.

    Args:
        steps: by name, a module of `mdgen.apps` and the config of its run.

    Raises:
        MdgenError: the first step's that failed on the user's input; the others are stopped, and can be resumed.
        RuntimeError: if a step failed otherwise; its traceback is in the log.
        KeyboardInterrupt: after Ctrl-C; every step keeps what it has done.
    """
    context = multiprocessing.get_context("spawn")
    lines: Any = context.Queue()
    listener = QueueListener(lines, *logger.handlers, respect_handler_level=True)
    failures: Any = context.Queue()
    processes = {
        name: context.Process(target=_run, args=(module, config, lines, failures), name=name)
        for name, (module, config) in steps.items()
    }
    listener.start()
    try:
        for process in processes.values():
            process.start()
        while any(process.is_alive() for process in processes.values()):
            for process in processes.values():
                process.join(0.2)
                if process.exitcode not in (None, 0):
                    raise _failure(process, failures)
        for process in processes.values():
            if process.exitcode != 0:
                raise _failure(process, failures)
    except KeyboardInterrupt:
        # A terminal's Ctrl-C has reached the steps as well; a second signal could catch them writing.
        for process in processes.values():
            process.join(_GRACE_S)
        raise
    finally:
        _stop(list(processes.values()))
        listener.stop()


def _run(module: str, config: dict[str, Any], lines: Any, failures: Any) -> None:
    """In the child: the step, its log lines sent home."""
    logger.handlers[:] = [QueueHandler(lines)]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        importlib.import_module(f"mdgen.apps.{module}").run(config)
    except MdgenError as error:
        failures.put(str(error))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _failure(process: Any, failures: Any) -> Exception:
    try:
        return MdgenError(failures.get(timeout=1.0))
    except queue.Empty:
        if process.exitcode == -signal.SIGKILL:
            return MdgenError(
                f"step {process.name} was killed, most likely for want of memory; free some and run again"
            )
        return RuntimeError(f"step {process.name} failed with exit status {process.exitcode}; what it printed is above")


def _stop(processes: list[Any]) -> None:
    """Ask those still at work to stop, which they do at a point from which they can go on."""
    alive = [process for process in processes if process.is_alive()]
    for process in alive:
        process.terminate()
    for process in alive:
        process.join(_PATIENCE_S)
        if process.is_alive():
            process.kill()
