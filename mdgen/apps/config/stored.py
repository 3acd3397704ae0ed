"""Configs in run folders. A folder may be a stranger's: what its config says is held to what a command may say."""

import io
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from mdgen.apps.config.composition import leaves
from mdgen.apps.config.key_types import key_types
from mdgen.apps.config.search_path import config_file
from mdgen.apps.config.signatures import checked
from mdgen.documents import read_yaml, yaml_text
from mdgen.errors import MdgenError


def stored_config(path: Path, advice: str) -> dict[str, Any]:
    """The `config.yaml` of a run, as plain data; interpolations stay text.

    Args:
        path: file.
        advice: end of the message, which says what to do.

    Raises:
        MdgenError: if it is no plain YAML, or no table.
    """
    text = yaml_text(path, advice)
    try:
        found: Any = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)))
    except (YAMLError, OmegaConfBaseException, OSError, ValueError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise MdgenError(f"{path} cannot be read ({reason}); {advice}") from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise MdgenError(f"{path} is no config of a run; {advice}")
    return found


def data_defaults(several: bool = False) -> dict[str, Any]:
    """The keys of a `data` config with their defaults: of one molecule, or of several."""
    one = read_yaml(config_file("data/trajectories"), "install mdgen again")
    if not several:
        return dict(one)
    return {**one, **{k: v for k, v in read_yaml(config_file("data/molecules"), "").items() if k != "defaults"}}


def require_data(data: Any, file: Path, advice: str) -> None:
    """Raise unless a stored `data` config is one that a command line can make without naming any part of its own.

    Args:
        data: what the file holds as `data`.
        file: file, for messages.
        advice: end of the message, which says what to do.

    Raises:
        MdgenError: naming the key that is missing, unknown, or of another type.
    """
    if not isinstance(data, dict):
        raise MdgenError(f"{file} holds no data; {advice}")
    defaults = data_defaults("molecules" in data)
    known, found = dict(leaves(defaults)), dict(leaves(data))
    for key in known:
        if key not in found:
            raise MdgenError(f"{file} lacks data.{key}; {advice}")
        if key.endswith("_target_") and found[key] != known[key]:
            raise MdgenError(f"{file} names {str(found[key])!r:.80} as data.{key}, which no command does; {advice}")
    try:
        for key, annotation in key_types(data, known):
            if annotation is None or (key not in known and not key.startswith("loader.")):
                raise MdgenError(f"there is no key data.{key}")
            if found.get(key) != known.get(key):
                checked(f"data.{key}", found[key], annotation, known.get(key))
    except MdgenError as error:
        raise MdgenError(f"{file} holds other data than a command can name ({error}); {advice}") from error
