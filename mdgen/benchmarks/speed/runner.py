"""Times several engines on one system, interleaved: every engine has one turn in each round.

Each engine runs in processes of its own. During a turn only the processes of one setup run, so that a turn has the
machine to itself, and a disturbance that lasts for a while affects all engines alike.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mdgen.benchmarks.speed import worker
from mdgen.benchmarks.speed.engines import EngineSetup


@dataclass(frozen=True)
class Turn:
    """Cost of a step in one turn.

    Args:
        us: wall time in microseconds per step and replica, all processes and threads together.
        cpu_us: processor time in microseconds per step and replica, summed over cores.
    """

    us: float
    cpu_us: float


@dataclass
class Timings:
    """Turns of all setups on one system.

    Args:
        turns: turns of every setup that ran, one per round.
        skipped: reason for every setup that could not run.
        versions: version of every engine.
        load_average: load average of the machine before each round.
    """

    turns: dict[EngineSetup, list[Turn]] = field(default_factory=dict)
    skipped: dict[EngineSetup, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    load_average: list[float] = field(default_factory=list)


class Worker:
    """A process that runs `worker.py`, and ends with this one.

    Args:
        setup: engine to time; several setups of an engine share the process.
        number: index among the processes of that engine.
        folder: folder of the start; standard error is logged there, too.
        python: interpreter.
    """

    def __init__(self, setup: EngineSetup, number: int, folder: Path, python: str) -> None:
        engine = Path(__file__).with_name(f"engine_{setup.package}.py")
        self._log = folder / f"{setup.engine}.{number}.log"
        with open(self._log, "wb") as errors:
            self._process = subprocess.Popen(
                [python, worker.__file__, str(engine), str(folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,  # Ctrl-C reaches this process alone, which ends the others in order
            )

    def ask(self, request: dict[str, Any]) -> None:
        """Send a request; `answer` waits for its reply."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # `answer` reports why the process is gone
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Reply to a request; its key `failed` holds the reason where there is none."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._process.wait()
        said = self._log.read_text(errors="replace").strip().splitlines()
        return {"failed": f"its process ended with status {self._process.returncode}: {said[-1] if said else ''}"}

    def kill(self) -> None:
        """Kill the process."""
        self._process.kill()

    def close(self) -> None:
        """Kill the process and close its pipes."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


def time_engines(
    folder: Path,
    setups: Sequence[EngineSetup],
    repeats: int,
    seconds: float,
    warm_up_s: float,
    seed: int,
    torchmd_python: str | None = None,
    on_turn: Callable[[str], None] = lambda name: None,
) -> Timings:
    """Time every setup `repeats` times, in turns of `seconds`.

    Args:
        folder: folder of the start.
        setups: engines with their settings; the processes of an engine are shared by its setups.
        repeats: number of rounds.
        seconds: wall time of a turn.
        warm_up_s: wall time that every process runs before its first turn.
        seed: seed of the engines' random numbers.
        torchmd_python: interpreter that has TorchMD; None for this one.
        on_turn: callback with a setup's name after its turn.
    """
    timings = Timings()
    with ExitStack() as stack:
        workers: dict[tuple[str, int], Worker] = {}
        for setup in setups:
            for number in range(setup.processes):
                if (setup.engine, number) not in workers:
                    python = torchmd_python if setup.package == "torchmd" and torchmd_python else sys.executable
                    made = workers[setup.engine, number] = Worker(setup, number, folder, python)
                    stack.callback(made.close)
        _prepare(timings, workers, setups, warm_up_s, seed)
        for _ in range(repeats):
            timings.load_average.append(os.getloadavg()[0])
            for setup in setups:
                if setup not in timings.skipped:
                    _take_turn(timings, workers, setup, seconds)
                on_turn(setup.name)
    for setup in timings.skipped:
        timings.turns.pop(setup, None)
    return timings


def _prepare(
    timings: Timings,
    workers: dict[tuple[str, int], Worker],
    setups: Sequence[EngineSetup],
    warm_up_s: float,
    seed: int,
) -> None:
    """Prepare every setup in its processes, as many at once as there are cores; those that fail are skipped."""

    def prepare(engine: str, number: int) -> None:
        for setup in setups:
            if setup.engine != engine or number >= setup.processes:
                continue
            variant = asdict(setup) | {"seed": seed + 1 + number}
            workers[engine, number].ask({"name": setup.name, "variant": variant, "warm_up_s": warm_up_s})
            reply = workers[engine, number].answer()
            if "failed" in reply:
                timings.skipped[setup] = reply["failed"]
            else:
                timings.versions[engine] = reply["version"]

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            list(pool.map(lambda key: prepare(*key), workers))
        except BaseException:  # Ctrl-C: release the threads that wait for a reply
            pool.shutdown(wait=False, cancel_futures=True)
            for each in workers.values():
                each.kill()
            raise


def _take_turn(timings: Timings, workers: dict[tuple[str, int], Worker], setup: EngineSetup, seconds: float) -> None:
    mine = [workers[setup.engine, number] for number in range(setup.processes)]
    for each in mine:
        each.ask({"name": setup.name, "seconds": seconds})
    replies = [each.answer() for each in mine]
    for reply in replies:
        if "failed" in reply or not reply["finite"]:
            timings.skipped[setup] = reply.get("failed", "its positions are no longer finite")
            return
    per_second = sum(setup.replicas * reply["steps"] / reply["seconds"] for reply in replies)
    done = sum(setup.replicas * reply["steps"] for reply in replies)
    used = sum(reply["cpu_seconds"] for reply in replies)
    timings.turns.setdefault(setup, []).append(Turn(1e6 / per_second, 1e6 * used / done))
