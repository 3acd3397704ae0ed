"""A process that times one engine, controlled by lines of JSON on standard input and output.

Run as a script with the path of an engine's file and the folder of a start. The file defines
`prepare(folder, variant) -> (advance, is_finite, version)`. Only the standard library is imported here, so that an
interpreter with another engine and without mdgen can run it.
"""

import json
import os
import resource
import runpy
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

CALL_S = 0.05
"""Least wall time of one call of an engine, long enough to amortise the overhead of a call."""


class TimedEngine:
    """An engine that is ready to run, with the number of steps per call chosen.

    Args:
        advance: function that advances all replicas by a number of steps.
        is_finite: function that tells whether all positions are finite.
        warm_up_s: wall time of the warm-up; it lasts at least until the number of steps per call is chosen.
    """

    def __init__(self, advance: Callable[[int], Any], is_finite: Callable[[], bool], warm_up_s: float) -> None:
        self._advance, self._is_finite = advance, is_finite
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
        """Run for at least `seconds`, after one call that is not counted and refills the caches."""
        self._advance(self._steps)
        steps, cpu, begin = 0, _cpu_seconds(), time.perf_counter()
        while True:
            self._advance(self._steps)
            steps += self._steps
            took = time.perf_counter() - begin
            if took >= seconds:
                used = _cpu_seconds() - cpu
                return {"steps": steps, "seconds": took, "cpu_seconds": used, "finite": bool(self._is_finite())}


def serve(prepare: Callable[[Path, dict[str, Any]], Any], folder: Path, requests: TextIO, replies: TextIO) -> None:
    """Answer every line of `requests` with a line of `replies`, failures included."""
    timed: dict[str, TimedEngine] = {}
    for line in requests:
        request = json.loads(line)
        name = request["name"]
        try:
            if "variant" in request:
                advance, is_finite, version = prepare(folder, request["variant"])
                timed[name] = TimedEngine(advance, is_finite, request["warm_up_s"])
                reply: dict[str, Any] = {"ready": name, "version": version}
            else:
                reply = timed[name].turn(request["seconds"])
        except Exception as error:  # noqa: BLE001  another engine may raise anything; it is reported
            text = (str(error).strip().splitlines() or [""])[0]
            reply = {"failed": text if type(error).__name__ == "MdgenError" else f"{type(error).__name__}: {text}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


def _cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(engine: str, folder: str) -> None:
    """Serve over standard input and output; the output of engines is redirected to standard error."""
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def prepare(folder: Path, variant: dict[str, Any]) -> Any:
        return runpy.run_path(engine)["prepare"](folder, variant)

    serve(prepare, Path(folder), sys.stdin, replies)


if __name__ == "__main__":
    sys.path.pop(0)  # the files of this script's folder are not top-level modules
    main(*sys.argv[1:])
