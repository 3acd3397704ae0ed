"""The `mdgen` command: `mdgen VERB key=value ...`."""

import importlib
import logging
import sys

from mdgen import __version__
from mdgen.apps.config.completion import shell_completion
from mdgen.apps.config.flags import Flags, read_flags
from mdgen.apps.config.help import overview, verb_help
from mdgen.apps.runs.screen import drop_unread, open_closed_streams, show_on_screen, show_result
from mdgen.apps.runs.signals import stopped_by_signals
from mdgen.apps.verbs import VERBS
from mdgen.errors import MdgenError

logger = logging.getLogger("mdgen")

USER_ERROR = 2
INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; the exit status is 0, 2 for a mistake in the input, 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    open_closed_streams()
    show_on_screen()
    try:
        return _dispatch(arguments)
    except MdgenError as error:
        logger.error("mdgen: %s", error)
        return USER_ERROR
    except Exception as error:
        sentence = _sentence_of(error)
        if sentence is None:
            raise
        logger.error("mdgen: %s", sentence)
        return USER_ERROR
    except KeyboardInterrupt:
        logger.error("mdgen: stopped; what was done is kept, and the same command continues from there")
        return INTERRUPTED
    finally:
        drop_unread()


def _sentence_of(error: Exception) -> str | None:
    """What an error of a library says that a user can mend: no memory, no such file, no account; None for others."""
    reason = " ".join(str(error).split())[:200]
    module, memory = (
        type(error).__module__.partition(".")[0],
        ("allocate memory", "out of memory", "Invalid buffer size"),
    )
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(each in reason for each in memory)):
        return f"this takes more memory than there is ({reason}); ask for less at once"
    if "Overflow when unpacking" in reason:  # a whole number beyond 64 bits, such as a seed
        return f"a number that was given is too large ({reason[:80]}); use one below 2^63"
    if isinstance(error, OSError) and error.filename is not None and error.errno is not None:
        return f"{error.filename} cannot be used ({error.strerror}); check the path"
    if module == "wandb":
        return f"wandb refuses ({reason}); log in with `wandb login`, or leave out logger=wandb"
    if module == "mlflow":
        return f"mlflow refuses ({reason}); check logger.tracking_uri, or leave out logger=mlflow"
    return None


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        show_result(overview())
        return 0
    if arguments[0] == "--version":
        show_result(f"mdgen {__version__}\n")
        return 0
    if arguments[0] in ("--shell-completion", "-sc"):
        show_result(shell_completion(" ".join(arguments[1:])))
        return 0
    name, *overrides = arguments
    if name not in VERBS:
        raise MdgenError(f"there is no verb {name!r}; expected one of {', '.join(VERBS)}; see `mdgen --help`")
    flags = read_flags(overrides, VERBS[name].positional)
    overrides = list(flags.overrides)
    if flags.help:
        if any(each.startswith(("--config-dir=", "plugins=")) for each in overrides):  # whose options it lists
            importlib.import_module("mdgen.apps.config.composition").set_search_path(name, overrides)
        show_result(verb_help(name))
        return 0
    with stopped_by_signals():
        _run(name, flags, overrides)
    return 0


def _run(name: str, flags: Flags, overrides: list[str]) -> None:
    # Imported late: `mdgen --help` must not wait for torch.
    if flags.multirun:
        sweep = importlib.import_module("mdgen.apps.sweeps.sweep")
        if flags.cfg or flags.info:
            show_result("".join(f"{job.folder}: {' '.join(job.own)}\n" for job in sweep.jobs(name, overrides)))
        else:
            sweep.run_sweep(name, overrides)
        return
    if flags.info:
        show = importlib.import_module("mdgen.apps.config.information").information
        show_result(show(name, overrides, flags.info))
        return
    composition = importlib.import_module("mdgen.apps.config.composition")
    config = composition.compose(name, overrides)
    if flags.cfg:
        show_result(composition.as_yaml(config, flags.package))
    else:
        importlib.import_module(f"mdgen.apps.{name}").run(composition.complete(config))
