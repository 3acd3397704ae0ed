"""Steps of the demo that need nothing of each other, each in a process of its own.

Small networks train fastest on one thread; two of them keep two cores busy.
"""

import importlib
import logging
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing.connection import wait
from typing import Any

from mdgen.apps.config.signatures import shown
from mdgen.apps.runs.screen import show_on_screen
from mdgen.apps.runs.signals import stopped_by_signals
from mdgen.errors import MdgenError
from mdgen.registry import load_plugins

GRACE_S = 5.0


def run_concurrently(steps: dict[str, tuple[str, dict[str, Any]]], plugins: list[str]) -> None:
    """Run `module.run(config)` for every step at once and wait for all of them, or for the first that fails.

    Args:
        steps: module of `mdgen.apps` and config of each step, by name.
        plugins: modules of plug-ins that the configs name parts of.

    Raises:
        MdgenError: naming the steps that failed; what they said is on the screen. The others are stopped as by Ctrl-C.
        KeyboardInterrupt: after Ctrl-C; every step keeps what it has done.
    """
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=_run_step, args=(module, config, plugins), name=name)
        for name, (module, config) in steps.items()
    ]
    for process in processes:
        process.start()
    running = list(processes)
    try:
        while running and not any(process.exitcode for process in processes):
            wait([process.sentinel for process in running])
            running = [process for process in running if process.exitcode is None]
        failed = [f"{process.name} (exit status {process.exitcode})" for process in processes if process.exitcode]
    except KeyboardInterrupt:
        # A terminal's Ctrl-C has reached the steps as well; a second signal could catch them writing.
        for process in processes:
            process.join(GRACE_S)
        raise
    finally:
        for process in processes:
            process.terminate()
            process.join()
    if failed:
        raise MdgenError(f"{', '.join(failed)} failed, as said above; the same command continues with what is left")


def require_one_device(config: dict[str, Any]) -> None:
    """Raise where Lightning would start further processes: they repeat the command line, so it must be one training's.

    Args:
        config: config of a verb, with a `trainer` or with steps that have one.
    """
    for step in (config, *config.values()):
        trainer = step.get("trainer") if isinstance(step, dict) else None
        if trainer and (trainer["devices"] not in (1, "1", "auto") or trainer["num_nodes"] != 1):
            raise MdgenError(
                f"trainer.devices={shown(trainer['devices'])} and num_nodes={trainer['num_nodes']}: --multirun and "
                "demo train on one device; train on several by `mdgen train` without --multirun"
            )


def _run_step(module: str, config: dict[str, Any], plugins: list[str]) -> None:
    show_on_screen()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        with stopped_by_signals():
            load_plugins(plugins)
            importlib.import_module(f"mdgen.apps.{module}").run(config)
    except MdgenError as error:
        logging.getLogger("mdgen").error("%s", error)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _end_with_parent() -> None:
    """Ask this step to end, as the parent does, when the parent is gone: killed, it could not ask."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
