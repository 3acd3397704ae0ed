"""`debug=NAME`: values of `conf/debug/NAME.yaml` that make any verb quick, for the verb and each of its steps."""

import difflib
from collections.abc import Iterator
from typing import Any

from mdgen.apps.config.help import included
from mdgen.apps.config.search_path import config_file, option_names
from mdgen.apps.verbs import VERBS
from mdgen.documents import read_yaml
from mdgen.errors import MdgenError

DEBUG = "debug="


def debug_sections(verb: str, arguments: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What the debug configs that a command names say of a verb and its steps.

    Args:
        verb: name of the verb.
        arguments: overrides, `debug=NAME` among them.

    Returns:
        Prefix of the keys, such as `generate.` of a step of the demo, and the table; later ones go before.

    Raises:
        MdgenError: if there is no such config, or it is none.
    """
    for argument in arguments:
        name = argument.removeprefix(DEBUG)
        if name == argument or name == "null":
            continue
        document = _document(name)
        for each in included(verb):
            if each.name in VERBS:
                table = document.get(each.name, {})
                yield f"{each.key}.", {key: value for key, value in table.items() if key != "output"}
        yield "", document.get(verb, {})


def _document(name: str) -> dict[str, Any]:
    names = option_names("debug")
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        meant = f"did you mean {DEBUG}{close[0]}? " if close else ""
        raise MdgenError(f"there is no {DEBUG}{name}; {meant}the options are {', '.join(names)}")
    file = config_file(f"debug/{name}")
    advice = "expected a table of keys for each verb, as conf/debug/fast.yaml has"
    document = read_yaml(file, advice)
    if not isinstance(document, dict) or not all(isinstance(table, dict) for table in document.values()):
        raise MdgenError(f"{file} is no debug config; {advice}")
    for verb in document:
        if verb not in VERBS:
            raise MdgenError(f"{file}: there is no verb {verb!r}; expected {', '.join(VERBS)}")
    return document
