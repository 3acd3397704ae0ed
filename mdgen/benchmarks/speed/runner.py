"""The contest on one system: processes for every entrant, then turn by turn, round by round.

A turn has the machine to itself; the processes of one entrant take theirs together. What disturbs the machine for a
while hurts all alike.
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
from mdgen.benchmarks.speed.engines import Entrant


@dataclass(frozen=True)
class Turn:
    """What an entrant did in one turn.

    Args:
        us: microseconds of wall time a step a replica, all its processes and threads together.
        cpu_us: microseconds of processor time a step a replica, summed over cores.
    """

    us: float
    cpu_us: float


@dataclass
class Contest:
    """What came of it.

    Args:
        turns: of every entrant that could take part, one a round.
        skipped: why the others could not.
        versions: of every engine.
        load_average: the machine's before every round: runnable processes over the last minute.
    """

    turns: dict[Entrant, list[Turn]] = field(default_factory=dict)
    skipped: dict[Entrant, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    load_average: list[float] = field(default_factory=list)


class Worker:
    """A process that runs `worker.py`, and ends with this one.

    Args:
        entrant: what it times; several entrants of an engine share it.
        number: which of the processes of that engine.
        folder: of the start; what the process says of errors goes there, too.
        python: the interpreter.
    """

    def __init__(self, entrant: Entrant, number: int, folder: Path, python: str) -> None:
        engine = Path(__file__).with_name(f"engine_{entrant.maker}.py")
        self._log = folder / f"{entrant.engine}.{number}.log"
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
        """Send a request; `answer` waits for what it gives."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # `answer` finds the process gone and says why
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """The reply to a request; `failed` says why there is none."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line:
            return json.loads(line)
        self._process.wait()
        said = self._log.read_text(errors="replace").strip().splitlines()
        return {"failed": f"its process ended with status {self._process.returncode}: {said[-1] if said else ''}"}

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        self._process.kill()

    def close(self) -> None:
        """End the process and what led to it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()


def hold_contest(
    folder: Path,
    entrants: Sequence[Entrant],
    repeats: int,
    seconds: float,
    warm_up_s: float,
    seed: int,
    torchmd_python: str | None = None,
    on_turn: Callable[[str], None] = lambda name: None,
) -> Contest:
    """Time every entrant `repeats` times, in turns of `seconds`.

    Args:
        folder: of the start.
        entrants: who takes part; the processes of an engine are shared by its entrants.
        repeats: rounds.
        seconds: of a turn.
        warm_up_s: what every process spends before it counts.
        seed: of the engines' random numbers.
        torchmd_python: the interpreter that has TorchMD; None for this one.
        on_turn: called with an entrant's name after its turn.
    """
    contest = Contest()
    with ExitStack() as stack:
        workers: dict[tuple[str, int], Worker] = {}
        for entrant in entrants:
            for number in range(entrant.processes):
                if (entrant.engine, number) not in workers:
                    python = torchmd_python if entrant.maker == "torchmd" and torchmd_python else sys.executable
                    made = workers[entrant.engine, number] = Worker(entrant, number, folder, python)
                    stack.callback(made.close)
        _prepare(contest, workers, entrants, warm_up_s, seed)
        for _ in range(repeats):
            contest.load_average.append(os.getloadavg()[0])
            for entrant in entrants:
                if entrant not in contest.skipped:
                    _take_turn(contest, workers, entrant, seconds)
                on_turn(entrant.name)
    for entrant in contest.skipped:
        contest.turns.pop(entrant, None)
    return contest


def _prepare(
    contest: Contest,
    workers: dict[tuple[str, int], Worker],
    entrants: Sequence[Entrant],
    warm_up_s: float,
    seed: int,
) -> None:
    """Let every process prepare what it will run, as many at once as there are cores; who cannot is left out."""

    def prepare(engine: str, number: int) -> None:
        for entrant in entrants:
            if entrant.engine != engine or number >= entrant.processes:
                continue
            variant = asdict(entrant) | {"seed": seed + 1 + number}
            workers[engine, number].ask({"name": entrant.name, "variant": variant, "warm_up_s": warm_up_s})
            reply = workers[engine, number].answer()
            if "failed" in reply:
                contest.skipped[entrant] = reply["failed"]
            else:
                contest.versions[engine] = reply["version"]

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        try:
            list(pool.map(lambda key: prepare(*key), workers))
        except BaseException:  # Ctrl-C: threads that wait for a reply wait no longer
            pool.shutdown(wait=False, cancel_futures=True)
            for each in workers.values():
                each.kill()
            raise


def _take_turn(contest: Contest, workers: dict[tuple[str, int], Worker], entrant: Entrant, seconds: float) -> None:
    mine = [workers[entrant.engine, number] for number in range(entrant.processes)]
    for each in mine:
        each.ask({"name": entrant.name, "seconds": seconds})
    replies = [each.answer() for each in mine]
    for reply in replies:
        if "failed" in reply or not reply["sound"]:
            contest.skipped[entrant] = reply.get("failed", "its positions are no longer finite")
            return
    per_second = sum(entrant.replicas * reply["steps"] / reply["seconds"] for reply in replies)
    done = sum(entrant.replicas * reply["steps"] for reply in replies)
    used = sum(reply["cpu_seconds"] for reply in replies)
    contest.turns.setdefault(entrant, []).append(Turn(1e6 / per_second, 1e6 * used / done))
