"""From one command line with several values of a key to many runs, one a value, each with a folder of its own."""

import re
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from hydra.core.override_parser.types import ValueType

from mdgen.apps.config.composition import compose, parsed_override, plain
from mdgen.errors import MdgenError

_NO_TEXT = re.compile(r"[+-]?(\d[\d_]*\.?\d*|\.\d+)(e[+-]?\d+)?|true|false|null|\[.*\]|\{.*\}", re.IGNORECASE)
_LONGEST_NAME = 100
_KEY = r"[\w@/.]+"


@dataclass(frozen=True)
class Run:
    """One run of many.

    Args:
        name: of its folder, and before its lines on the screen.
        overrides: what it has of its own, as on a command line.
        config: plain and complete, `output` among it.
    """

    name: str
    overrides: tuple[str, ...]
    config: dict[str, Any]


def sweep(verb: str, overrides: list[str]) -> list[Run]:
    """The runs of a command line: every combination of the values of those keys that have several.

    `KEY=A,B,C` lists values, `KEY=@FILE` takes one from each line of a file (blank lines and those that begin with #
    are passed over), `KEY=range(0,5)` counts. `output` is the folder of their folders, named after what they differ in.

    Raises:
        MdgenError: if no key has several values, one of them does not fit its key, or two runs are the same.
    """
    values = {override: values for override in overrides if (values := _values(override)) is not None}
    if not values:
        raise MdgenError(
            "--multirun needs a key with several values, such as system.sequence=A,IPGD, or system.sequence=@FILE for "
            "one from each line of a file"
        )
    fixed = [override for override in overrides if override not in values]
    keys = [override.partition("=")[0] for override in values]
    if "output" in keys:
        raise MdgenError("output is the folder of all runs with --multirun, so it takes one value")
    combinations = list(product(*values.values()))
    names = _names(keys, combinations)
    folder = Path(plain(compose(verb, [*fixed, *_assigned(keys, combinations[0])]))["output"])
    runs = []
    for name, combination in zip(names, combinations, strict=True):
        own = _assigned(keys, combination)
        quoted = str(folder / name).replace("\\", "\\\\").replace("'", "\\'")
        others = [each for each in fixed if not each.startswith("output=")]
        config = plain(compose(verb, [*others, *own, f"output='{quoted}'"]))
        runs.append(Run(name, tuple(own), config))
    return runs


def _assigned(keys: list[str], combination: tuple[str, ...]) -> list[str]:
    return [f"{key}={value}" for key, value in zip(keys, combination, strict=True)]


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
    if _NO_TEXT.fullmatch(value) or (value[0] == value[-1] and value[0] in "'\"" and len(value) > 1):
        return value
    if re.fullmatch(r"[A-Za-z]\w*", value) and value.lower() not in ("nan", "inf"):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _names(keys: list[str], combinations: list[tuple[str, ...]]) -> list[str]:
    """Of folders: text values as they are, others after their key.

    Raises:
        MdgenError: if two are the same.
    """

    def part(key: str, value: str) -> str:
        shown = value.strip("'\"").replace("\\", "")
        clean = re.sub(r"[^\w.+-]+", "_", shown.strip("./")).strip("_") or "empty"
        return f"{re.split('[./@]', key)[-1]}_{clean}" if _NO_TEXT.fullmatch(value) else clean

    names = ["-".join(map(part, keys, each)) for each in combinations]
    for number, name in enumerate(names):
        if name in names[:number]:
            same = ", ".join(_assigned(keys, combinations[number]))
            raise MdgenError(f"two of the runs would write to the same folder {name!r} ({same}); name each value once")
        if len(name) > _LONGEST_NAME:
            names[number] = f"{name[: _LONGEST_NAME - 8]}-{number}"
    return names
