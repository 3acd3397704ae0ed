"""A page for every verb and every group of configs, written from conf/ before the site is read."""

import functools
import inspect
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from mdgen.apps.config.help import included
from mdgen.apps.config.key_types import OWN
from mdgen.apps.config.search_path import config_folder, experiment_verbs, is_group, option_names
from mdgen.apps.config.signatures import MISSING, annotations_of, described, shown
from mdgen.apps.verbs import VERBS
from mdgen.registry import resolve

ANY = inspect.Parameter.empty
Row = tuple[str, str, str, str]
"""Key, default, type and meaning."""

VERBS_OF = {"experiment": experiment_verbs, "parts": lambda _: ["demo"], "debug": lambda _: VERBS}
"""Groups whose options set keys of verbs, and the verbs of an option."""


def write_pages(folder: Path) -> list[Path]:
    """Write `index.md`, a page for each verb and one for each group; returns their paths."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    groups = sorted(path.name for path in config_folder().iterdir() if path.is_dir())
    pages = {f"verb_{name}": _verb_page(name) for name in VERBS}
    pages |= {f"group_{name}": _group_page(name) for name in groups}
    listed = "\n".join(pages)
    pages["index"] = (
        "# Every key\n\nWritten from `conf/` and from the constructors that configs name. `mdgen VERB --help` says the "
        "same in the terminal, `mdgen VERB --cfg job` shows the config that a command would run with.\n\n"
        f"```{{toctree}}\n:maxdepth: 1\n\n{listed}\n```\n"
    )
    for name, text in pages.items():
        (folder / f"{name}.md").write_text(text)
    return [folder / f"{name}.md" for name in pages]


def _verb_page(name: str) -> str:
    verb, file = VERBS[name], config_folder() / f"{name}.yaml"
    examples = inspect.cleandoc(verb.examples)
    parts = [f"# mdgen {name}", inspect.cleandoc(verb.explanation), f"```text\n{examples}\n```", _table(file)]
    links = []
    for each in included(name):
        target = f"group_{each.name}" if is_group(each.name) else f"verb_{each.name}"
        chosen = f", by default `{each.default}`" if each.default else ""
        links.append(f"- `{each.key}`: [{target.replace('_', ' ')}]({target}.md){chosen}")
    if links:
        parts += ["It includes, each under a key of its own:", "\n".join(links)]
    return "\n\n".join(parts) + "\n"


def _group_page(name: str) -> str:
    parts = [f"# Group {name}"]
    for option in option_names(name):
        file = config_folder() / name / f"{option}.yaml"
        text = re.findall(r"^# ?(?!@)(.*)$", file.read_text().split("\n\n")[0], flags=re.MULTILINE)
        comment = (
            "\n".join(line for line in text if not line.startswith(" "))
            if name in ("experiment", "debug", "parts")
            else ""
        )
        parts += [f"## {name}={option}", comment or _summary(file)]
        if name == "experiment" and experiment_verbs(option):
            parts.append(
                "For " + ", ".join(f"`mdgen {verb} experiment={option}`" for verb in experiment_verbs(option)) + "."
            )
        parts.append(_table(file))
    return "\n\n".join(part for part in parts if part) + "\n"


def _summary(file: Path) -> str:
    """The first line of the docstring of what a config names."""
    named = (yaml.safe_load(file.read_text()) or {}).get("_target_", MISSING)
    return "" if named == MISSING else (inspect.getdoc(resolve(named)) or "").partition("\n")[0]


def _table(file: Path) -> str:
    """Every key of a config file, and those of the constructors that it names, as a table."""
    rows, known = _own_rows(file), _inherited(file)
    for verb in VERBS_OF.get(file.parent.name, lambda _: [])(file.stem):
        prefix = f"{verb}." if file.parent.name == "debug" else ""
        known = {f"{prefix}{key}": row for key, row in _known(config_folder() / f"{verb}.yaml").items()} | known
    rows = [_completed(row, known) for row in rows]
    if not rows:
        return "It has no keys of its own."
    lines = ["| key | default | type | meaning |", "| --- | --- | --- | --- |"]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def _own_rows(file: Path) -> list[Row]:
    return list(_rows(yaml.safe_load(file.read_text()) or {}, _comments(file), ""))


@functools.cache
def _known(file: Path) -> dict[str, Row]:
    """What a config says of each of its keys, those of the configs that its defaults name included."""
    known = _inherited(file)
    return known | {row[0].strip("`"): _completed(row, known) for row in _own_rows(file)}


def _inherited(file: Path) -> dict[str, Row]:
    """What the configs that the defaults of a config name say of their keys, by the names that they have in it."""
    known: dict[str, Row] = {}
    for entry in (yaml.safe_load(file.read_text()) or {}).get("defaults", []):
        named, option = next(iter(entry.items())) if isinstance(entry, dict) else (entry, None)
        name, _, package = named.rpartition(" ")[2].removeprefix("/").partition("@")
        if name == "_self_" or (isinstance(entry, dict) and option is None):
            continue
        base = config_folder() / name / f"{option}.yaml" if option else file.parent / f"{name}.yaml"
        prefix = f"{package or name}." if package or (option and "@package _global_" not in base.read_text()) else ""
        known |= {f"{prefix}{key}": row for key, row in _known(base).items()}
    return known


def _completed(row: Row, known: dict[str, Row]) -> Row:
    """A row whose meaning, and type behind `${...}`, are those of the config that it is taken from."""
    key, given, kind, meaning = row
    _, _, other_kind, other_meaning = known.get(key.strip("`"), ("", "", "", ""))
    return key, given, other_kind if given.startswith("`${") else kind, meaning or other_meaning


def _rows(
    node: dict[str, Any], comments: dict[str, str], prefix: str, own: dict[str, Any] | None = None
) -> Iterator[Row]:
    """Key, default, type and meaning of each key of a table, then of the parameters that it leaves at their defaults.

    Args:
        node: table of a config.
        comments: comments by dotted key.
        prefix: dotted name of the table, with a dot at its end.
        own: defaults of parameters where they are not those of the signature, as a part has for its training.
    """
    named = node.get("_target_")
    target = resolve(named) if named not in (None, MISSING) else None
    types, meanings = (annotations_of(target) or {}, _meanings(target)) if target else ({}, {})
    for key, value in node.items():
        if key == "defaults" or key.startswith("_"):
            continue
        name = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            trained = node.get("model", {}).get("_target_") if key == "training" else None
            yield from _rows(
                value, comments, f"{name}.", getattr(resolve(trained), "training_defaults", None) if trained else None
            )
            continue
        kind = types.get(key, OWN.get(key, type(value) if value is not None else ANY))
        yield _row(name, value, kind, comments.get(name) or meanings.get(key, ""))
    if target:
        for key, parameter in inspect.signature(target).parameters.items():
            default = (own or {}).get(key, parameter.default)
            if key not in node and key in meanings and default is not ANY and _is_plain(default):
                yield _row(f"{prefix}{key}", default, types.get(key, ANY), meanings[key])


def _row(name: str, value: Any, kind: Any, meaning: str) -> Row:
    given = "" if value == MISSING else f"`{shown(value)}`" if shown(value) else '`""`'
    try:
        words = "" if kind is ANY else described(kind)
    except TypeError:
        words = ""
    return (
        f"`{name}`",
        given,
        words.removeprefix("a ") if "typing" not in words and "mdgen" not in words else "",
        meaning,
    )


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | tuple | list)


def _comments(file: Path) -> dict[str, str]:
    """The comment behind each key of a YAML file, by its dotted name."""
    found, path = {}, []
    for line in file.read_text().splitlines():
        match = re.match(r"^( *)([\w]+):(.*)$", line)
        if not match:
            continue
        depth = len(match[1]) // 2
        path[depth:] = [match[2]]
        _, mark, comment = match[3].partition("  #")
        if not mark:
            _, mark, comment = match[3].partition(" # ")
        if mark:
            found[".".join(path)] = comment.strip().replace(" (chosen here)", "")
    return found


def _meanings(target: Any) -> dict[str, str]:
    """The `Args:` of a docstring, one line each."""
    text = inspect.getdoc(target) or ""
    block = re.search(r"^Args:\n((?:[ ]{4}.*\n?|\n)+)", text, flags=re.MULTILINE)
    found: dict[str, str] = {}
    key = ""
    for line in (block[1] if block else "").splitlines():
        match = re.match(r"^ {4}(\w[\w, ]*): (.*)$", line)
        if match:
            names = [each.strip() for each in match[1].split(",")]
            key = names[0]
            found |= dict.fromkeys(names, match[2].strip())
        elif key and line.strip():
            for name in [each for each in found if found[each] == found[key]]:
                found[name] += f" {line.strip()}"
    return found
