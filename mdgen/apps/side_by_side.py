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

from mdgen.apps.named_lines import NamedLines
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
        name: context.Process(target=run_in_child, args=(module, config, lines, failures), name=name)
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
                    raise failure_of(process, failures)
        for process in processes.values():
            if process.exitcode != 0:
                raise failure_of(process, failures)
    except KeyboardInterrupt:
        # A terminal's Ctrl-C has reached the steps as well; a second signal could catch them writing.
        for process in processes.values():
            process.join(_GRACE_S)
        raise
    finally:
        stop_all(list(processes.values()))
        listener.stop()


def run_in_child(module: str, config: dict[str, Any], lines: Any, failures: Any, name: str | None = None) -> None:
    """What a process runs: `module.run(config)`, its log lines sent home, with `name` before them.

    Args:
        module: of `mdgen.apps`.
        config: of the run.
        lines: a queue of log records.
        failures: a queue of sentences, for the user's mistakes.
        name: of the run, where several share the screen.
    """
    handler = QueueHandler(lines)
    if name is not None:
        handler.setFormatter(NamedLines(name))
    logger.handlers[:] = [handler]
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


def failure_of(process: Any, failures: Any) -> Exception:
    """Why a process ended other than well."""
    try:
        return MdgenError(failures.get(timeout=1.0))
    except queue.Empty:
        if process.exitcode == -signal.SIGKILL:
            return MdgenError(
                f"step {process.name} was killed, most likely for want of memory; free some and run again"
            )
        return RuntimeError(f"step {process.name} failed with exit status {process.exitcode}; what it printed is above")


def stop_all(processes: list[Any]) -> None:
    """Ask those still at work to stop, which they do at a point from which they can go on."""
    alive = [process for process in processes if process.is_alive()]
    for process in alive:
        process.terminate()
    for process in alive:
        process.join(_PATIENCE_S)
        if process.is_alive():
            process.kill()
