"""The `mdgen` command: `mdgen VERB key=value ...`."""

import importlib
import logging
import signal
import sys
from types import FrameType

from mdgen import __version__
from mdgen.apps.config.help import overview, verb_help
from mdgen.apps.verbs import VERBS
from mdgen.errors import MdgenError

logger = logging.getLogger("mdgen")

USER_ERROR = 2
INTERRUPTED = 130
MULTIRUN = ("--multirun", "-m")


def main(arguments: list[str] | None = None) -> int:
    """Run one verb; the exit status is 0, 2 for a mistake in the input, 130 after Ctrl-C."""
    arguments = sys.argv[1:] if arguments is None else arguments
    _log_to_screen()
    try:
        return _dispatch(arguments)
    except MdgenError as error:
        logger.error("mdgen: %s", error)
        return USER_ERROR
    except KeyboardInterrupt:
        logger.error("mdgen: stopped; what was done is kept, and the same command goes on from there")
        return INTERRUPTED


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(overview())
        return 0
    if arguments[0] == "--version":
        sys.stdout.write(f"mdgen {__version__}\n")
        return 0
    name, *overrides = arguments
    if name not in VERBS:
        raise MdgenError(f"there is no verb {name!r}; expected one of {', '.join(VERBS)}; see `mdgen --help`")
    if any(each in ("-h", "--help") for each in overrides):
        sys.stdout.write(verb_help(name))
        return 0
    if any(each in MULTIRUN for each in overrides):
        return _many(name, [each for each in overrides if each not in MULTIRUN])
    # Imported late: `mdgen --help` must not wait for torch.
    configuration = importlib.import_module("mdgen.apps.config.composition")
    show = "--cfg" in overrides
    overrides = _named(VERBS[name].positional, [each for each in overrides if each != "--cfg"])
    config = configuration.compose(name, overrides)
    if show:
        sys.stdout.write(configuration.OmegaConf.to_yaml(config))
        return 0
    signal.signal(signal.SIGTERM, _interrupt)
    importlib.import_module(f"mdgen.apps.{name}").run(configuration.plain(config))
    return 0


def _many(name: str, overrides: list[str]) -> int:
    """Several runs of a verb."""
    signal.signal(signal.SIGTERM, _interrupt)
    multirun = importlib.import_module("mdgen.apps.multirun")
    shown = multirun.run_many(name, [each for each in overrides if each != "--cfg"], show="--cfg" in overrides)
    sys.stdout.write(shown or "")
    return 0


def _named(positional: tuple[str, ...], overrides: list[str]) -> list[str]:
    """Arguments without a key get those of the verb, in order: `compare A B` is `compare first=A second=B`."""
    keys = iter(positional)
    return [each if "=" in each else f"{next(keys, '')}={each}".lstrip("=") for each in overrides]


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


class _Screen(logging.Handler):
    """Writes to whatever standard error is at the moment."""

    def emit(self, record: logging.LogRecord) -> None:
        sys.stderr.write(self.format(record) + "\n")
        sys.stderr.flush()


def _log_to_screen() -> None:
    if not any(isinstance(handler, _Screen) for handler in logger.handlers):
        handler = _Screen()
        handler.setFormatter(logging.Formatter("%(message)s"))
        logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
