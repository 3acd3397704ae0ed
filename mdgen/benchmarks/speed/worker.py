"""A process that times one engine: it prepares what it is told to and steps for as long as it is told to.

Run as a script with the path of an engine's file and the folder of a start. That file has
`prepare(folder, variant) -> (advance, is_sound, version)`. Lines of JSON come in and go out. Only the standard library
is imported here, so that an interpreter with another engine and without mdgen can run it.
"""

import importlib.util
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

CALL_S = 0.05
"""Length of one call of an engine, which amortises what a call costs beside its steps."""


class Timed:
    """An engine at work.

    Args:
        advance: moves all replicas on by a number of steps.
        is_sound: whether positions are finite.
        warm_up_s: what to spend before anything counts, at least until a call's length is known.
    """

    def __init__(self, advance: Callable[[int], Any], is_sound: Callable[[], bool], warm_up_s: float) -> None:
        self._advance, self._is_sound = advance, is_sound
        self._steps = 1
        advance(1)  # compiles
        begin = time.perf_counter()
        while True:
            before = time.perf_counter()
            advance(self._steps)
            now = time.perf_counter()
            if now - before < 0.5 * CALL_S:
                self._steps *= 2
            elif now - begin >= warm_up_s:
                return

    def turn(self, seconds: float) -> dict[str, float | bool]:
        """Step for at least so long; one call comes before that, to fetch everything back into the caches."""
        self._advance(self._steps)
        steps, cpu, begin = 0, _cpu_seconds(), time.perf_counter()
        while True:
            self._advance(self._steps)
            steps += self._steps
            took = time.perf_counter() - begin
            if took >= seconds:
                used = _cpu_seconds() - cpu
                return {"steps": steps, "seconds": took, "cpu_seconds": used, "sound": bool(self._is_sound())}


def serve(prepare: Callable[[Path, dict[str, Any]], Any], folder: Path, requests: TextIO, replies: TextIO) -> None:
    """Answer every line of `requests` with one of `replies`, failures included."""
    timed: dict[str, Timed] = {}
    for line in requests:
        request = json.loads(line)
        name = request["name"]
        try:
            if "variant" in request:
                advance, is_sound, version = prepare(folder, request["variant"])
                timed[name] = Timed(advance, is_sound, request["warm_up_s"])
                reply: dict[str, Any] = {"ready": name, "version": version}
            else:
                reply = timed[name].turn(request["seconds"])
        except Exception as error:  # noqa: BLE001  whatever another engine raises is said, and the contest goes on
            text = (str(error).strip().splitlines() or [""])[0]
            reply = {"failed": text if type(error).__name__ == "MdgenError" else f"{type(error).__name__}: {text}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _loaded(path: str) -> Any:
    spec = importlib.util.spec_from_file_location("timed_engine", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(engine: str, folder: str) -> None:
    """Serve over standard input and output; what engines print goes to standard error instead."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def prepare(folder: Path, variant: dict[str, Any]) -> Any:
        return _loaded(engine).prepare(folder, variant)

    serve(prepare, Path(folder), sys.stdin, replies)


if __name__ == "__main__":
    sys.path.pop(0)  # this script's folder, whose files are no top-level modules
    main(*sys.argv[1:])
