"""A run folder: one run's config, provenance, log, metrics, checkpoints and outputs, and a `DONE` mark at the end."""

import fcntl
import json
import logging
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mdgen.apps.config.composition import leaves
from mdgen.apps.config.stored import stored_config
from mdgen.apps.runs.provenance import provenance
from mdgen.apps.runs.screen import HarmlessFormatter
from mdgen.apps.runs.verification import require_whole, write_mark
from mdgen.data.store import TrajectoryStore, is_store
from mdgen.documents import read_json
from mdgen.errors import MdgenError
from mdgen.files import MARK, writable, write_aside
from mdgen.results import Acceptance, acceptance_table, write_result

logger = logging.getLogger("mdgen")

OWN_NOTES = {".lock", "config.yaml", "hparams.yaml", "provenance.json", "run.log", "simulator.json", "topology.pdb"}
"""Files that say what a run is, but are none of its results; a logger of a training writes `hparams.yaml`."""

INCIDENTAL_KEYS = ("output", "threads", "logger", "plugins")
"""Keys that do not change a run's result: a folder may be resumed with others."""

GROWING_KEYS = {"simulate": "length_ns", "adapt": "n_rounds"}
"""Key of each verb whose value may grow: a run that is done is then continued."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run, locked while it is open.

    A run that was stopped is resumed by the same command. A run that is done is left as it is, or continued where it is
    asked to be longer. A folder that holds a run with other settings is refused, so that no result is ever mixed from
    two.
    """

    path: Path
    verb: str
    started: float

    @property
    def done(self) -> bool:
        """Whether the run has ended well."""
        return (self.path / MARK).is_file()

    @property
    def seconds(self) -> float:
        """Time since the folder was opened."""
        return time.monotonic() - self.started

    def finish(self, metrics: dict[str, Any], acceptance: Iterable[Acceptance] = ()) -> None:
        """Write `metrics.json`, print the acceptance table, mark the run as done."""
        rows = list(acceptance)
        result = {"verb": self.verb, **metrics, "wall_seconds_last_part": round(self.seconds, 1)}
        write_result(self.path / "metrics.json", result, rows)
        self.mark_done(rows)

    def mark_done(self, acceptance: Iterable[Acceptance] = ()) -> None:
        """Print the acceptance table and mark the run as done; its `metrics.json` is written already."""
        rows = list(acceptance)
        write_mark(self.path)
        if rows:
            logger.info("\n%s\n", acceptance_table(rows))


@contextmanager
def open_run(path: Path | str, verb: str, config: dict[str, Any]) -> Iterator[RunFolder]:
    """Open a run folder for writing: check it, lock it, write its config and provenance, log into it.

    Args:
        path: folder, made if need be.
        verb: name of the verb that runs.
        config: resolved config, as plain data.

    Raises:
        MdgenError: if another process uses the folder, if it holds a run with other settings or files that are no
            run's, or if it cannot be written.
    """
    path = Path(path)
    with writable(path):
        if path.exists() and not path.is_dir():
            raise MdgenError(f"output={path} is a file; expected a folder; choose another output")
        _refuse_foreign(path)
        path.mkdir(parents=True, exist_ok=True)
        lock = open(path / ".lock", "a+")  # noqa: SIM115 (held for the whole run)
    begun, earlier = False, None
    try:
        _lock(lock, path)
        longer = _compare(path, verb, config)
        begun, earlier = True, _Earlier.of(path) if longer else None
        with writable(path):
            if longer:
                (path / MARK).unlink(missing_ok=True)
            if (path / MARK).is_file():
                require_whole(path)
            else:
                write_aside(path / "config.yaml", OmegaConf.to_yaml({"verb": verb, **config}).encode())
                _add_provenance(path, provenance(int(config.get("seed", 0))))
            with _log_into(path / "run.log"):
                yield RunFolder(path, verb, time.monotonic())
    except Exception:
        if begun and path.is_dir() and not _has_results(path):  # the corrected command may use its name
            shutil.rmtree(path, ignore_errors=True)
        elif earlier is not None and _results(path) == earlier.results:  # refused: it is as long as it was
            with suppress(OSError):  # on a full disk it stays without its mark, which the same command makes again
                earlier.restore(path)
        raise
    finally:
        lock.close()


@dataclass(frozen=True)
class _Earlier:
    """A run before it is made longer: its notes, its mark if it is done, and what its results were."""

    notes: dict[str, bytes]
    results: dict[str, tuple[int, int]]

    @classmethod
    def of(cls, path: Path) -> "_Earlier":
        files = (path / name for name in ("config.yaml", "provenance.json", MARK))
        return cls({each.name: each.read_bytes() for each in files if each.is_file()}, _results(path))

    def restore(self, path: Path) -> None:
        for name, content in self.notes.items():
            write_aside(path / name, content)


def _results(path: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of every file of a run but our own notes."""
    files = (each for each in path.rglob("*") if each.is_file() and each.name not in {*OWN_NOTES, MARK})
    return {str(each.relative_to(path)): (each.stat().st_size, each.stat().st_mtime_ns) for each in files}


def _has_results(path: Path) -> bool:
    """Whether a folder holds more than our own notes and stores without frames, so that it must not be overwritten."""
    for each in path.iterdir():
        if each.is_dir() and is_store(each):
            try:
                if TrajectoryStore.open(each).n_frames or set(each.glob("*.safetensors")):
                    return True
            except MdgenError:
                return True
        elif _has_results(each) if each.is_dir() else each.name not in OWN_NOTES:
            return True
    return False


def _refuse_foreign(path: Path) -> None:
    if path.is_dir() and not (path / "config.yaml").is_file():
        others = [each.name for each in path.iterdir() if each.name not in (".lock", "run.log")]
        if others:
            raise MdgenError(
                f"output={path} holds files of no mdgen run (such as {sorted(others)[0]!r}); choose another output"
            )


def _lock(lock: Any, path: Path) -> None:
    # An flock dies with its process, so a killed run leaves no stale lock behind.
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        raise MdgenError(
            f"output={path} is in use by another run (process {holder}); wait for it, stop it or choose another output"
        ) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()


def _compare(path: Path, verb: str, config: dict[str, Any]) -> bool:
    """Refuse a folder of another run; whether it holds a shorter one of the same."""
    earlier = path / "config.yaml"
    if not earlier.is_file():
        return False
    stored = stored_config(earlier, "choose another output")
    if stored.get("verb") != verb:
        raise MdgenError(f"output={path} holds another kind of run than {verb!r}; choose another output")
    growing = GROWING_KEYS.get(verb, "")
    numbers = [isinstance(each.get(growing), (int, float)) for each in (stored, config)]
    longer = all(numbers) and float(config[growing]) > float(stored[growing])
    given = {**config, growing: stored[growing]} if longer else config
    before, now = _essential(stored), _essential({"verb": verb, **given})
    for key in sorted({*before, *now}):
        if before.get(key) != now.get(key):
            raise MdgenError(
                f"output={path} holds a run with other settings ({key} was {before.get(key)!r}, now {now.get(key)!r}); "
                "choose another output, or delete that folder"
            )
    return longer


def _essential(config: dict[str, Any]) -> dict[str, Any]:
    """The values of a config by dotted key, without the incidental ones of the run and of its steps."""
    kept = {key: value for key, value in config.items() if key not in INCIDENTAL_KEYS}
    for key, step in kept.items():
        if isinstance(step, dict) and "output" in step and "seed" in step:  # a run of a demo, configured like any other
            kept[key] = {name: value for name, value in step.items() if name not in INCIDENTAL_KEYS}
    return dict(leaves(kept))


def _add_provenance(path: Path, entry: dict[str, Any]) -> None:
    """One entry a start, so that a resumed run says so."""
    file = path / "provenance.json"
    entries = read_json(file, list[dict[str, Any]], "delete it and go on") if file.is_file() else []
    write_aside(file, (json.dumps([*entries, entry], indent=2) + "\n").encode())


@contextmanager
def _log_into(path: Path) -> Iterator[None]:
    handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(HarmlessFormatter("%(asctime)s  %(message)s", datefmt="%Y-%m-%d %H:%M:%S"))
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        handler.close()
