"""One home for defaults: what a config lists is what Python gives without it, so both do the same.

A value that a config chooses for itself says so by the comment `(chosen here)`.
"""

import functools
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mdgen.registry import resolve
from mdgen.training.settings import TrainerSettings, settings_for

CONF = Path(__file__).parents[2] / "conf"
PARTS = [path for group in ("encoder", "propagator", "decoder") for path in sorted((CONF / group).glob("*.yaml"))]
PARTS = [path for path in PARTS if "_target_: " in path.read_text()]  # others change a few keys of these
NAMING = [path for path in sorted(CONF.glob("*/*.yaml")) if "_target_: " in path.read_text()]
NAMING = [path for path in NAMING if path.parent.name != "experiment"]
OPTIMIZER = "/optimizer@training.optimizer"


def plain(value: Any) -> Any:
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def listed(section: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in section.items() if not key.startswith("_")}


def sections(node: Any) -> Iterator[dict[str, Any]]:
    """Every part of a config that names what it configures; the settings of a training have a test of their own."""
    if isinstance(node, dict):
        if node.get("_target_", "???") not in ("???", "mdgen.training.settings.TrainingSettings"):
            yield node
        for value in node.values():
            yield from sections(value)


def chosen(path: Path) -> set[str]:
    """Keys that a config chooses for itself."""
    return set(re.findall(r"^ *(\w+):.*# .*\(chosen here\)", path.read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("path", NAMING, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_python_has_the_defaults_of_the_config(path: Path) -> None:
    for section in sections(yaml.safe_load(path.read_text())):
        parameters = inspect.signature(resolve(section["_target_"])).parameters
        for key, value in listed(section).items():
            default = parameters[key].default
            # What has no default is a choice that Python makes explicitly, or what the data and the encoder say (null).
            left_open = default is inspect.Parameter.empty or value == "???" or str(value).startswith("${")
            assert left_open or isinstance(value, dict) or (plain(default) == value) != (key in chosen(path)), key


@pytest.mark.parametrize("path", PARTS, ids=lambda path: path.stem)
def test_a_part_is_trained_as_its_config_says(path: Path) -> None:
    config = yaml.safe_load(path.read_text())
    settings = settings_for(resolve(config["model"]["_target_"]))
    training = listed(config["training"])
    given = training.pop("optimizer", {})
    for key, value in training.items():
        assert plain(getattr(settings, key)) == value, f"{path.name}: training.{key}"
    if not any(OPTIMIZER in entry for entry in config.get("defaults", []) if isinstance(entry, dict)):
        assert not given
        return
    (name,) = (entry[OPTIMIZER] for entry in config["defaults"] if isinstance(entry, dict))
    whole = yaml.safe_load((CONF / "optimizer" / f"{name}.yaml").read_text()) | given
    assert isinstance(settings.optimizer, functools.partial)
    assert settings.optimizer.func is resolve(whole["_target_"])
    library = {key: value.default for key, value in inspect.signature(settings.optimizer.func).parameters.items()}
    for key, value in listed(whole).items():
        assert plain({**library, **settings.optimizer.keywords}[key]) == value, f"{path.name}: training.optimizer.{key}"


def test_the_machine_has_the_defaults_of_its_config() -> None:
    config = listed(yaml.safe_load((CONF / "trainer" / "default.yaml").read_text()))
    assert TrainerSettings(**config) == TrainerSettings()
    assert set(config) == set(inspect.signature(TrainerSettings).parameters)
