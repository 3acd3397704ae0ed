"""From the command line to one resolved config: composed by Hydra, checked against its own defaults."""

import difflib
import re
from collections.abc import Iterator
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mdgen.apps.config_folder import config_folder, option_names
from mdgen.errors import MdgenError


def compose(verb: str, overrides: list[str]) -> DictConfig:
    """Compose `conf/<verb>.yaml` with `overrides` (`key=value`), interpolations resolved.

    Raises:
        MdgenError: for a key or option that does not exist (with its nearest neighbour), a value of another type than
            the default's, or an override that cannot be read.
    """
    for override in overrides:
        if "=" not in override and not override.startswith("~"):
            raise MdgenError(f"cannot read {override!r}: expected key=value; see `mdgen {verb} --help`")
    try:
        config = _compose(verb, overrides)
        _check_types(config, _compose(verb, [text for text in overrides if _is_group(text)]))
        OmegaConf.resolve(config)
    except MissingConfigException as error:
        raise MdgenError(_unknown_option(error)) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise MdgenError(_explain(verb, overrides, error)) from error
    OmegaConf.set_struct(config, True)
    return config


def _compose(verb: str, overrides: list[str]) -> DictConfig:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(config_dir=str(config_folder().resolve()), version_base="1.3"):
        return hydra.compose(config_name=verb, overrides=overrides)


def _is_group(override: str) -> bool:
    name = override.partition("=")[0].lstrip("+~").split("@")[0]
    return (config_folder() / name).is_dir()


def _unknown_option(error: MissingConfigException) -> str:
    missing = str(error.missing_cfg_file or "")
    group, _, option = missing.rpartition("/")
    names = option_names(group)
    close = difflib.get_close_matches(option, names, n=1)
    meant = f"did you mean {group}={close[0]}? " if close else ""
    return f"there is no {group}={option}; {meant}the options are {', '.join(names) or 'none'}"


def _explain(verb: str, overrides: list[str], error: Exception) -> str:
    text = str(error)
    found = re.search(r"Could not override '([^']+)'", text) or re.search(r"Key '([^']+)' is not in struct", text)
    if found is None:
        return " ".join(text.split())
    key = found.group(1)
    known = [name for name, _ in leaves(_compose(verb, [each for each in overrides if _is_group(each)]))]
    groups = [path.name for path in config_folder().iterdir() if path.is_dir()]
    close = difflib.get_close_matches(key, known + groups, n=1, cutoff=0.0)
    return f"there is no key {key!r}; the nearest is {close[0]!r}; `mdgen {verb} --help` lists them all"


def leaves(config: DictConfig | dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every `(dotted key, value)` of a config, depth first; lists are leaves."""
    data: Any = OmegaConf.to_container(config, resolve=False) if isinstance(config, DictConfig) else config
    for key, value in data.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            yield from leaves(value, f"{name}.")
        else:
            yield name, value


def _check_types(config: DictConfig, defaults: DictConfig) -> None:
    before = dict(leaves(defaults))
    for key, value in leaves(config):
        default = before.get(key)
        interpolated = any(isinstance(each, str) and "${" in each for each in (value, default))
        if default is None or value is None or interpolated:
            continue
        number = isinstance(default, (int, float)) and not isinstance(default, bool)
        if number and (isinstance(value, bool) or not isinstance(value, (int, float))):
            raise MdgenError(f"{key}={value}: expected a number such as {default}")
        if isinstance(default, bool) and not isinstance(value, bool):
            raise MdgenError(f"{key}={value}: expected true or false")


def plain(config: Any) -> Any:
    """A config as plain dicts, lists and scalars."""
    return OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
