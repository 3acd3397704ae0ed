"""Options of the command line beside `key=value`, named as Hydra names them."""

from collections.abc import Sequence
from dataclasses import dataclass

from mdgen.errors import MdgenError

_SHORT = {"-h": "--help", "-m": "--multirun", "-c": "--cfg", "-p": "--package", "-cd": "--config-dir"}
_WITH_VALUE = {"--package": "a key, such as encoder.model", "--config-dir": "a folder of configs"}
OPTIONS = ("--help", "--multirun", "--cfg", "--info", "--package", "--config-dir")
KINDS = {"--cfg": ("job",), "--info": ("all", "config", "searchpath", "defaults", "parts")}


@dataclass(frozen=True)
class Flags:
    """What a command line asks for.

    Args:
        overrides: arguments `key=value`, and `--config-dir=FOLDER`.
        help, multirun: whether these were asked for.
        cfg: kind of config to show rather than to run; `job` is the only one.
        info: kind of information to show rather than to run.
        package: key of the part of the config that is shown.
    """

    overrides: tuple[str, ...]
    help: bool = False
    multirun: bool = False
    cfg: str | None = None
    info: str | None = None
    package: str | None = None


def read_flags(arguments: Sequence[str], positional: Sequence[str] = ()) -> Flags:
    """Options and overrides of a verb's arguments.

    Args:
        arguments: words after the verb. `--cfg job`, `--cfg=job` and `--cfg` are the same.
        positional: keys of the words that have none: `compare A B` is `compare first=A second=B`.

    Raises:
        MdgenError: for an option that does not exist, or one without its value.
    """
    keys, left = iter(positional), list(arguments)
    overrides: list[str] = []
    found: dict[str, str] = {}
    while left:
        word = left.pop(0)
        if not word.startswith("-") or word[1:2].isdigit():
            overrides.append(word if "=" in word else f"{next(keys, '')}={word}".lstrip("="))
            continue
        name, equals, value = word.partition("=")
        name = _SHORT.get(name, name)
        if name in _WITH_VALUE:
            value = value if equals else left.pop(0) if left else ""
            if not value:
                raise MdgenError(f"{name} was given nothing; expected {_WITH_VALUE[name]}")
        elif name in KINDS:
            if not equals:
                value = left.pop(0) if left and left[0] in (*KINDS[name], "hydra", "all") else KINDS[name][0]
            if value not in KINDS[name]:
                raise MdgenError(
                    f"{name} {value}: expected {' or '.join(KINDS[name])}; Hydra's own section runs nothing"
                )
        elif name not in ("--help", "--multirun") or equals:
            raise MdgenError(f"there is no option {word}; keys are given as key=value; see `mdgen VERB --help`")
        if name == "--config-dir":
            overrides.append(f"{name}={value}")
        else:
            found[name] = value
    return Flags(
        tuple(overrides),
        "--help" in found,
        "--multirun" in found,
        found.get("--cfg"),
        found.get("--info"),
        found.get("--package"),
    )
