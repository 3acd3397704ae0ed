"""`--multirun`: one command, a run for each combination of values, made by Hydra's sweeper and launchers.

`hydra/launcher=basic` makes them one after another, `joblib` in processes of this machine, `submitit_slurm` and
`submitit_local` as jobs of a cluster or as if on one. Each run has a folder of its own in `output`.
"""

import importlib
import logging
import re
import sys
import time
from functools import partial
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import ValueType
from hydra.errors import HydraException

from mdgen.apps.config.composition import (
    complete,
    compose,
    output_of,
    parsed_override,
    quoted,
    set_search_path,
)
from mdgen.apps.config.search_path import is_group
from mdgen.apps.runs.concurrent_steps import require_one_device
from mdgen.apps.runs.screen import show_on_screen
from mdgen.apps.sweeps.launchers import LAUNCHERS
from mdgen.apps.sweeps.sweep_job import Job
from mdgen.apps.sweeps.sweep_mark import is_finished, mark_finished
from mdgen.apps.verbs import RUN_FOLDER_VERBS
from mdgen.errors import MdgenError
from mdgen.files import MARK
from mdgen.progress import duration

logger = logging.getLogger("mdgen")

_NOT_TEXT = re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)(e[+-]?\d+)?|true|false|null|\[.*\]|\{.*\}", re.IGNORECASE)
_LONGEST_NAME = 100
SUMMARY, PLOTS = "summary.csv", "summary.svg"
_KEY = r"[\w@/.]+"


def _run_job(verb: str, jobs: tuple[Job, ...], config: Any) -> tuple[str | None, float]:
    """Run the job that Hydra has reached, in this process or another.

    Returns:
        What was wrong, where it failed, so that the others are run; and its wall time in seconds.
    """
    job, begin, before = jobs[int(HydraConfig.get().job.num)], time.monotonic(), sys.argv
    show_on_screen(f"{job.folder.name}  ")
    sys.argv = ["mdgen", verb, *job.arguments, f"output={job.folder}"]  # for the provenance of this run
    failure = None
    try:
        # Composed once more: Hydra's own composition has not been through our checks.
        importlib.import_module(f"mdgen.apps.{verb}").run(config_of(verb, job))
    except MdgenError as error:
        failure = str(error)
        logger.error("%s", error)
    except Exception as error:
        failure = f"{type(error).__name__}: {error}"
        logger.exception("a fault of mdgen's own")
    finally:
        sys.argv = before
        show_on_screen()
    return failure, time.monotonic() - begin


def run_sweep(verb: str, arguments: list[str]) -> None:
    """Run a verb once for each combination of values; runs that are done already are left alone.

    The runs end in `summary.csv` and `summary.svg` of the folder. A sweep that was finished by the same command is not
    begun: neither its runs nor its parts are looked at.

    Args:
        verb: one that writes a run folder.
        arguments: arguments of the verb, some with several values, and Hydra's own, such as `hydra/launcher=joblib`.

    Raises:
        MdgenError: if the runs cannot be told from the arguments, or, at the end, if some failed, naming them.
    """
    named = _named(verb, arguments)
    folder = named[0].folder.parent
    if (folder / SUMMARY).is_file() and is_finished(folder, verb, named):
        logger.info("%d runs of `mdgen %s` done already: %s", len(named), verb, folder / SUMMARY)
        return
    every = jobs(verb, arguments)
    if (folder / "config.yaml").is_file():
        raise MdgenError(f"output={folder} is a run folder itself; choose another output for the folders of these runs")
    logger.info("%d runs of `mdgen %s` into %s", len(every), verb, folder)
    outcomes = _launched(verb, arguments, every)
    failed = []
    for job, (failure, seconds) in zip(every, outcomes, strict=True):
        logger.info("%s  %s", job.folder.name, f"failed: {failure}" if failure else f"done in {duration(seconds)}")
        failed += [f"{job.folder.name}: {failure}"] if failure else []
    importlib.import_module("mdgen.apps.sweeps.sweep_summary").write_summary(folder, every)
    logger.info("table and plots of all runs: %s and %s", folder / SUMMARY, folder / PLOTS)
    if failed:
        raise MdgenError(
            f"{len(failed)} of {len(every)} runs failed: {'; '.join(failed)}; correct these, and the same command runs "
            "them alone"
        )
    mark_finished(folder, verb, every)


def config_of(verb: str, job: Job) -> dict[str, Any]:
    """The composed and checked config of a run."""
    return complete(compose(verb, [*job.arguments, f"output={quoted(str(job.folder))}"]))


def _launched(verb: str, arguments: list[str], every: tuple[Job, ...]) -> list[tuple[str | None, float]]:
    """Give the sweep to Hydra, which calls the task for each job."""
    of_hydra = [_launcher_setting(each) for each in arguments if each.startswith("hydra")]
    settings = [
        f"hydra.sweep.dir={quoted(str(every[0].folder.parent))}",
        "hydra.sweep.subdir=.",
        "hydra.output_subdir=null",
    ]
    settings += ["hydra/job_logging=none", "hydra/hydra_logging=none"]
    # Hydra need not know what the jobs differ in: each composes its own config.
    number = f"++job={','.join(map(str, range(len(every))))}"
    GlobalHydra.instance().clear()
    try:
        # Hydra calls whatever its own section names, such as callbacks, so no config but its own is on its search path.
        with hydra.initialize(config_path=None, version_base="1.3"):
            sweeper: Any = GlobalHydra.instance().hydra
            overrides = [*settings, *of_hydra, number]
            batches = sweeper.multirun(None, partial(_run_job, verb, every), overrides, with_log_configuration=False)
    except HydraException as error:
        raise MdgenError(" ".join(str(error).partition("Config search path")[0].split())) from error
    except Exception as error:  # a process that was killed, or a job that the cluster ended
        done = sum((job.folder / MARK).is_file() for job in every)
        raise MdgenError(
            f"the launcher stopped after {done} of {len(every)} runs ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:300]}); the same command continues with those that are not done"
        ) from error
    return [job.return_value for batch in batches for job in batch]


def _launcher_setting(override: str) -> str:
    """An argument of Hydra's, which may choose a launcher and set its numbers and texts, but name no code."""
    key, _, value = override.partition("=")
    if key == "hydra/launcher" and value in LAUNCHERS:
        plugin = f"hydra_plugins.hydra_{value.partition('_')[0]}_launcher"
        if value != "basic" and (find_spec("hydra_plugins") is None or find_spec(plugin) is None):
            raise MdgenError(f"{override} needs a launcher that is not installed; pip install 'mdgen[launchers]'")
        return override
    if re.fullmatch(r"hydra\.launcher\.[a-z]\w*", key) and re.fullmatch(r"[\w.,:/@ \[\]+-]*", value):
        return override
    raise MdgenError(
        f"{override}: of Hydra's own settings --multirun takes hydra/launcher={'|'.join(LAUNCHERS)} and "
        "hydra.launcher.KEY=VALUE"
    )


def jobs(verb: str, arguments: list[str]) -> tuple[Job, ...]:
    """The runs of a command line: every combination of the values of those keys that have several.

    `KEY=A,B,C` lists values, `KEY=@FILE` takes one from each line of a file (blank lines and those that begin with #
    are passed over), `KEY=range(0,5)` counts. `output` is the folder of their folders, named after what they differ in.

    Raises:
        MdgenError: if no key has several values, one of them does not fit its key, or two runs are the same.
    """
    found = _named(verb, arguments)
    for job in found:
        require_one_device(config_of(verb, job))  # a mistake in any of them is said before the first begins
    return found


def _named(verb: str, arguments: list[str]) -> tuple[Job, ...]:
    """The runs of a command line, their values not yet compared with what their keys take."""
    if verb not in RUN_FOLDER_VERBS:
        raise MdgenError(f"--multirun is for verbs that write run folders: {', '.join(RUN_FOLDER_VERBS)}")
    arguments = [each for each in arguments if not each.startswith("hydra")]
    overrides, _ = set_search_path(verb, arguments)
    swept = {each.partition("=")[0]: values for each in overrides if (values := _values(each)) is not None}
    if not swept:
        raise MdgenError(
            "--multirun needs a key with several values, such as system.sequence=A,IPGD, or system.sequence=@FILE for "
            "one from each line of a file"
        )
    if "output" in swept:
        raise MdgenError("output is the folder of all runs with --multirun, so it takes one value")
    for key, values in swept.items():
        if sum(each.startswith(f"{key}=") for each in overrides) > 1:
            raise MdgenError(f"{key} is given twice; list its values as {key}={','.join(values)}")
        if is_group(key.partition("@")[0]) and "null" in values:
            raise MdgenError(f"{key}=null cannot be one of several choices; run that by a command of its own")
    combinations = list(product(*swept.values()))
    own = [tuple(f"{key}={value}" for key, value in zip(swept, each, strict=True)) for each in combinations]
    shared = tuple(each for each in arguments if each.partition("=")[0] not in (*swept, "output"))
    given = [each for each in overrides if each.startswith("output=")]
    folder = output_of(verb, [*shared, *own[0], *given])
    names = _names(list(swept), combinations)
    return tuple(Job(folder / name, each, (*shared, *each)) for name, each in zip(names, own, strict=True))


def _values(override: str) -> list[str] | None:
    """The values of a key that has several, each as it is written on a command line; None for one value."""
    key, _, text = override.partition("=")
    if re.fullmatch(_KEY, key) and text.startswith("@"):
        return [_written(line) for line in _lines(key, Path(text[1:]))]
    if re.fullmatch(_KEY, key) and re.fullmatch(r"[\w.+-]+(,[\w.+-]+)+", text):
        return [_written(value) for value in text.split(",")]
    parsed = parsed_override(override)
    if not parsed.is_sweep_override():
        return None
    if parsed.value_type in (ValueType.GLOB_CHOICE_SWEEP, ValueType.INTERVAL_SWEEP):
        raise MdgenError(f"{override}: expected values to choose from, as {key}=A,B, {key}=range(0,5) or {key}=@FILE")
    return list(parsed.sweep_string_iterator())


def _lines(key: str, path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise MdgenError(
            f"{key}=@{path}: that file cannot be read ({type(error).__name__}); name a text file with a value on each "
            "line"
        ) from error
    values = [line for line in lines if line and not line.startswith("#")]
    if not values:
        raise MdgenError(f"{key}=@{path}: that file holds no values; write one on each line")
    return values


def _written(value: str) -> str:
    """A value as it is put on a command line: text in quotes, so that the peptide NAN is no number."""
    if _NOT_TEXT.fullmatch(value) or (value[0] == value[-1] and value[0] in "'\"" and len(value) > 1):
        return value
    if re.fullmatch(r"[A-Za-z]\w*", value) and value.lower() not in ("nan", "inf"):
        return value
    return quoted(value)


def _names(keys: list[str], combinations: list[tuple[str, ...]]) -> list[str]:
    """Names of run folders: text values as they are, others after their key.

    Raises:
        MdgenError: if two are the same.
    """

    def part(key: str, value: str) -> str:
        shown = value.strip("'\"").replace("\\", "")
        clean = re.sub(r"[^\w.+-]+", "_", shown.strip("./")).strip("_") or "empty"
        return f"{re.split('[./@]', key)[-1]}_{clean}" if _NOT_TEXT.fullmatch(value) else clean

    names = ["-".join(map(part, keys, each)) for each in combinations]
    for number, name in enumerate(names):
        if name in names[:number]:
            same = ", ".join(f"{key}={value}" for key, value in zip(keys, combinations[number], strict=True))
            raise MdgenError(f"two of the runs would write to the same folder {name!r} ({same}); name each value once")
        if len(name) > _LONGEST_NAME:
            names[number] = f"{name[: _LONGEST_NAME - 8]}-{number}"
    return names
