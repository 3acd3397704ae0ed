"""`--info`: where the config of a command comes from, without running it."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from mdgen import __version__
from mdgen.apps.config.composition import choices, compose, leaves, plain
from mdgen.apps.config.search_path import config_file, search_folders
from mdgen.apps.config.signatures import MISSING
from mdgen.registry import load_plugins, resolve
from mdgen.results import aligned


def information(verb: str, arguments: list[str], kind: str = "all") -> str:
    """A text on the config that a command would run with.

    Args:
        verb: name of the verb.
        arguments: overrides of the command.
        kind: `searchpath`, folders of configs; `defaults`, the file that each group chose; `parts`, what the config
            names and the file that defines it; `config`, the config itself; `all`.

    Raises:
        MdgenError: as `compose` does.
    """
    config = compose(verb, arguments)
    chosen = choices(verb, arguments)
    plugins = ", ".join(load_plugins()) or "none"
    sections = {
        "searchpath": "\n".join(map(str, search_folders())),
        "defaults": aligned(
            [(f"{group}={name}", str(_file_of(group, name))) for group, name in chosen.items()] or [()]
        ),
        "parts": aligned(sorted(_parts(plain(config))) or [()]),
        "config": OmegaConf.to_yaml(config).rstrip(),
    }
    titles = {
        "searchpath": "folders of configs, the first that holds a file wins",
        "defaults": "groups, with the file of each choice",
        "parts": f"parts, with the file that defines each (plug-ins: {plugins})",
        "config": "config of the run",
    }
    shown = [f"# {titles[name]}\n{text}\n" for name, text in sections.items() if kind in ("all", name)]
    return (f"mdgen {__version__}, mdgen {verb}\n\n" if kind == "all" else "") + "\n".join(shown)


def _file_of(group: str, name: str) -> Path:
    return config_file(f"{group.partition('@')[0]}/{name}")


def _parts(config: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Key, dotted path and file of everything that a config names."""
    for key, value in leaves(config):
        if key.rpartition(".")[2] == "_target_" and value != MISSING:
            file = sys.modules[resolve(str(value)).__module__].__file__
            yield key.rpartition(".")[0] or "-", str(value), str(file)
