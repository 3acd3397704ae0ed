"""From the command line to one resolved config: composed by Hydra, checked against signatures."""

import copy
import difflib
import functools
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, ValueType
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mdgen.apps.config.debug import DEBUG, debug_sections
from mdgen.apps.config.help import included
from mdgen.apps.config.key_types import TABLES, key_types
from mdgen.apps.config.key_types import Path as KeyPath
from mdgen.apps.config.search_path import (
    add_to_search_path,
    config_folder,
    experiment_verbs,
    is_group,
    option_names,
    search_folders,
)
from mdgen.apps.config.signatures import MISSING, annotations_of, checked, shown
from mdgen.apps.verbs import VERBS
from mdgen.errors import MdgenError
from mdgen.registry import resolve

CONFIG_DIR = "--config-dir="

_KEY = re.compile(r"(~|\+{0,2})[\w/$-]+(\.[\w/$-]+)*(@[\w.$-]*(:[\w.$-]+)?)?", re.ASCII)
"""Keys of overrides: names between dots, after a group its package."""
_NEAR = 0.7
"""Likeness of two keys, from 0 to 1, above which the one may be meant by the other."""


def compose(verb: str, arguments: list[str]) -> DictConfig:
    """Compose `conf/<verb>.yaml` with `arguments`, interpolations resolved.

    Args:
        verb: name of the verb.
        arguments: overrides `key=value`; `plugins=[MODULE,...]`, which are imported first; `--config-dir=FOLDER`.
            Keys of the config can be set, and parameters of what it names that it leaves at their defaults.
            `group=null` chooses none of a group that can do without; `debug=fast` sets tiny values.

    Returns:
        The config; its key `plugins` lists those that were named, if any were.

    Raises:
        MdgenError: for a key or option that does not exist (with its nearest neighbour), a value of another type than
            the signature's, an override that cannot be read, or a part that is not registered.
    """
    overrides, plugins = set_search_path(verb, arguments)
    parsed = [_single(parsed_override(each, verb)) for each in overrides if not each.startswith(DEBUG)]
    groups = [text for each in parsed if is_group(str(each.key_or_group)) for text in _choice(verb, each)]
    values = [each for each in parsed if not is_group(str(each.key_or_group))]
    try:
        defaults = _defaults(verb, tuple(groups))
        values = [*_debug_values(verb, overrides, defaults, values), *values]
        known = dict(leaves(defaults))
        for each in values:
            _check_key(verb, each, known)
        config = copy.deepcopy(defaults)
        for each in values:
            OmegaConf.update(config, str(each.key_or_group), each.value(), force_add=True)
        OmegaConf.resolve(config)
        OmegaConf.resolve(defaults)
        _check_values(verb, config, defaults, {str(each.key_or_group) for each in values})
    except MissingConfigException as error:
        raise MdgenError(f"there is no {error.missing_cfg_file}; `mdgen {verb} --help` lists the options") from error
    except (HydraException, OmegaConfBaseException) as error:
        raise MdgenError(_explain(verb, error)) from error
    OmegaConf.set_struct(config, False)
    config.update({"plugins": plugins} if plugins else {})
    OmegaConf.set_struct(config, True)
    return config


def output_of(verb: str, arguments: list[str]) -> Path:
    """The `output` of a command; its other keys are not checked, and no part that it names is imported.

    Raises:
        MdgenError: if it cannot be composed, or `output` is no path.
    """
    overrides, _ = set_search_path(verb, arguments)
    parsed = [_single(parsed_override(each, verb)) for each in overrides]
    given = [table["output"] for _, table in debug_sections(verb, overrides) if "output" in table]
    given += [each.value() for each in parsed if each.key_or_group == "output"]
    experiment = [text for each in parsed if each.key_or_group == "experiment" for text in _choice(verb, each)]
    try:
        found = given[-1] if given else OmegaConf.select(_compose(verb, experiment), "output")
    except (HydraException, OmegaConfBaseException) as error:
        raise MdgenError(_explain(verb, error)) from error
    return Path(checked("output", found, KeyPath))


def choices(verb: str, arguments: list[str]) -> dict[str, str]:
    """The option of each group that a command chooses, by the group with its key, such as `data@reference`."""
    overrides, _ = set_search_path(verb, arguments)
    parsed = [_single(parsed_override(each, verb)) for each in overrides if not each.startswith(DEBUG)]
    groups = [text for each in parsed if is_group(str(each.key_or_group)) for text in _choice(verb, each)]
    found = OmegaConf.to_container(_compose(verb, groups, hydra_too=True).hydra.runtime.choices)
    assert isinstance(found, dict)
    return {str(key): str(value) for key, value in found.items() if not str(key).startswith("hydra/") and value}


def _debug_values(verb: str, overrides: list[str], defaults: DictConfig, given: list[Override]) -> list[Override]:
    """What `debug=NAME` sets: keys that the config lists and the command does not give."""
    known = {key for key, _ in leaves(defaults)} - {str(each.key_or_group) for each in given}
    found = {
        f"{prefix}{key}": value
        for prefix, table in debug_sections(verb, overrides)
        for key, value in leaves(table)
        if f"{prefix}{key}" in known
    }
    return [
        parsed_override(f"{key}={quoted(value) if isinstance(value, str) else shown(value)}", verb)
        for key, value in found.items()
    ]


def set_search_path(verb: str, arguments: list[str]) -> tuple[list[str], list[str]]:
    """Load the plug-ins and set the search path that arguments name; returns the other arguments and the plug-ins."""
    folders = [each.removeprefix(CONFIG_DIR) for each in arguments if each.startswith(CONFIG_DIR)]
    plugins: Any = []
    for each in arguments:
        if each.startswith("plugins="):
            plugins = checked("plugins", parsed_override(each, verb).value(), str | list[str])
    plugins = [plugins] if isinstance(plugins, str) else plugins
    add_to_search_path(plugins, folders)
    return [each for each in arguments if not each.startswith((CONFIG_DIR, "plugins="))], plugins


def _defaults(verb: str, groups: tuple[str, ...]) -> DictConfig:
    """The config before any value is given; a user's own configs may change, and are read each time."""
    alone = len(search_folders()) == 1
    return copy.deepcopy(_own_defaults(verb, groups)) if alone else _compose(verb, list(groups))


@functools.lru_cache(maxsize=64)
def _own_defaults(verb: str, groups: tuple[str, ...]) -> DictConfig:
    """The config of this package's files; composing takes a hundred times as long as giving values."""
    return _compose(verb, list(groups))


def search_path_override() -> list[str]:
    """What tells Hydra of the folders beside our own."""
    added = ",".join(quoted(f"file://{each}") for each in search_folders()[1:])
    return [f"hydra.searchpath=[{added}]"] if added else []


def _compose(verb: str, overrides: list[str], hydra_too: bool = False) -> DictConfig:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(config_dir=str(config_folder().resolve()), version_base="1.3"):
        return hydra.compose(
            config_name=verb, overrides=[*search_path_override(), *overrides], return_hydra_config=hydra_too
        )


def parsed_override(text: str, verb: str = "VERB") -> Override:
    """A `key=value` as Hydra reads it; it may have several values.

    Raises:
        MdgenError: if it cannot be read.
    """
    key, _, value = text.partition("=")
    if not key.lstrip("+~") or ("=" not in text and not text.startswith("~")):
        molecule = f", as in system=pdb system.pdb={text}" if text.endswith(".pdb") else ""
        raise MdgenError(f"cannot read {text!r}: expected key=value{molecule}; see `mdgen {verb} --help`")
    if not _KEY.fullmatch(key):
        raise MdgenError(
            f"cannot read {text!r}: {key!r} is no key; expected names between dots; see `mdgen {verb} --help`"
        )
    try:
        (parsed,) = OverridesParser.create().parse_overrides([text])
    except HydraException as error:
        raise MdgenError(
            f"cannot read {text!r}: a value with blanks, brackets or signs such as = and ~ is put in quotes, "
            f'and once more in quotes for the shell: "{key}={quoted(value.strip())}"'
        ) from error
    if parsed.value_type == ValueType.ELEMENT and isinstance(parsed.value(), float) and value.strip().isalpha():
        return parsed_override(f"{key}={quoted(value.strip())}", verb)  # the peptide NAN is no number
    return parsed


def _single(parsed: Override) -> Override:
    text = str(parsed.input_line)
    key, _, value = text.partition("=")
    if parsed.is_sweep_override():
        raise MdgenError(
            f"{text}: expected one value; add --multirun to run each, write a list as {key}=[{value}], or text as "
            f"\"{key}='{value}'\""
        )
    if value.startswith("@"):
        raise MdgenError(f"{text}: a file of values goes with --multirun, which runs each; add that, or give one value")
    if key.startswith("hydra"):
        raise MdgenError(f"{text}: launchers go with --multirun, which makes several runs; add that, or leave it out")
    return parsed


def _choice(verb: str, override: Override) -> list[str]:
    """The override of a group, as Hydra takes it."""
    group, text, value = str(override.key_or_group), str(override.input_line), override.value()
    key, names = override.get_key_element().lstrip("+~"), option_names(str(override.key_or_group))
    if text.startswith(("+", "~")):
        raise MdgenError(f"{text}: groups are neither added nor left out; write {key}=..., one of {', '.join(names)}")
    if value is None and _can_do_without(verb, group, override.package):
        return [f"~{key}"] if override.package else []
    if not isinstance(value, str) or value not in names:
        close = difflib.get_close_matches(str(value), names, n=1)
        meant = f"did you mean {key}={close[0]}? " if close else ""
        given = text.partition("=")[2]
        raise MdgenError(f"there is no {key}={given}; {meant}the options are {', '.join(names) or 'none'}")
    verbs = experiment_verbs(value) if group == "experiment" else []
    if verbs and verb not in verbs:
        raise MdgenError(f"experiment={value} is for mdgen {', '.join(verbs)}, not for mdgen {verb}")
    return [text]


def _can_do_without(verb: str, group: str, package: str | None) -> bool:
    """Whether none is a choice: it is the default of the verb, or of the verb whose config is included there."""
    steps = {each.key: each.name for each in included(verb) if each.name in VERBS}
    step, _, rest = (package or group).partition(".")
    owner, key = (steps[step], rest) if step in steps else (verb, package or group)
    return any(each.name == group and each.key == key and each.default is None for each in included(owner))


def _check_key(verb: str, override: Override, known: Mapping[str, Any]) -> None:
    """That a key may be given: the config lists it, or leaves it at its constructor's default."""
    key, text = str(override.key_or_group), str(override.input_line)
    if override.package is not None:
        raise MdgenError(f"{text}: {key} is no group of which an option is chosen; write {key}=VALUE")
    parent, _, name = key.rpartition(".")
    target = known.get(f"{parent}._target_")
    listed = any(each == key or each.startswith(f"{key}.") for each in known)
    # What is yet to be named, as _target_, may take any key.
    if not listed and target != MISSING and (target is None or name not in (annotations_of(resolve(target)) or {})):
        if parent.rpartition(".")[2] in TABLES:
            raise MdgenError(f"{parent} takes a table; write '{parent}={{NAME: VALUE}}', in quotes for the shell")
        raise MdgenError(_no_key(verb, key, list(known)))
    if text.startswith(("+", "~")):
        raise MdgenError(f"{text}: keys are neither added nor left out; write {key}=VALUE")
    if isinstance(override.value(), dict) and name not in TABLES:
        raise MdgenError(f"{key} was given a table; expected one of its keys, as in KEY.NAME=VALUE")


def _explain(verb: str, error: Exception) -> str:
    found = re.search(r"Could not override '([^']+)'", str(error))
    return _no_key(verb, found.group(1), []) if found else " ".join(str(error).split())


def _no_key(verb: str, key: str, known: list[str]) -> str:
    groups = [each.key for each in included(verb)]
    nearness = {name: _nearness(key, name) for name in [*known, *groups] if name != key}
    nearest = max(nearness, key=lambda name: nearness[name], default="")
    near = f" the nearest is {nearest!r};" if nearest and max(nearness[nearest]) > _NEAR else ""
    return f"there is no key {key!r};{near} `mdgen {verb} --help` lists them all"


def _nearness(key: str, name: str) -> tuple[float, float]:
    """How alike two keys are: the larger of whole keys and of their last words, then the whole keys."""
    pairs = (key, name), (key.rpartition(".")[2], name.rpartition(".")[2])
    whole, last = (difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs)
    return max(whole, last), whole


def _check_values(verb: str, config: DictConfig, defaults: DictConfig, given: set[str]) -> None:
    before, after = dict(leaves(defaults)), dict(leaves(config))
    annotations = dict(key_types(plain(config), before))
    # What was given is looked at first, before what other keys take from it.
    for key in sorted(annotations, key=lambda name: name not in given):
        if annotations[key] is None:
            raise MdgenError(_no_key(verb, key, list(annotations)))
        found = after[key] if key in after else OmegaConf.select(config, key)  # the latter inside a list
        if key in before and before[key] == found in (None, MISSING):
            continue  # left open by the config, though its part needs a value
        value = checked(key, found, annotations[key], before.get(key))
        if value != found or type(value) is not type(found):
            OmegaConf.update(config, key, value)


def leaves(config: DictConfig | dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every `(dotted key, value)` of a config, depth first; lists are leaves."""
    data: Any = OmegaConf.to_container(config, resolve=False) if isinstance(config, DictConfig) else config
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from leaves(value, f"{name}.")
        else:
            yield name, value


def quoted(text: str) -> str:
    """Text as Hydra reads it back, whatever signs it holds."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def plain(config: Any) -> Any:
    """A config as plain dicts, lists and scalars."""
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config


def complete(config: DictConfig) -> dict[str, Any]:
    """A config in which nothing is left open, as `plain`.

    Raises:
        MdgenError: naming the first key that has no value, such as `system.pdb` after `system=pdb`.
    """
    for key, value in leaves(config):
        if value == MISSING and not key.endswith("_target_"):
            raise MdgenError(f"{key} was not given; say {key}=..., see --help")
    return dict(plain(config))


def as_yaml(config: DictConfig, package: str | None = None) -> str:
    """A config, or the part of it at a key, as YAML.

    Raises:
        MdgenError: if it has no such key.
    """
    found = config if package is None else OmegaConf.select(config, package)
    if found is None:
        raise MdgenError(f"there is no key {package!r} to show; it has {', '.join(map(str, config))}")
    return OmegaConf.to_yaml(found) if OmegaConf.is_config(found) else f"{shown(found)}\n"
