"""Every config composes and names what exists; a mistake in one is one sentence."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mdgen.apps.config.composition import compose, leaves, plain
from mdgen.apps.config.flags import read_flags
from mdgen.apps.config.help import included, overview, verb_help
from mdgen.apps.config.key_types import key_types
from mdgen.apps.config.search_path import config_folder, option_names
from mdgen.apps.config.signatures import MISSING, annotations_of
from mdgen.apps.main import main
from mdgen.apps.verbs import VERBS
from mdgen.errors import MdgenError
from mdgen.registry import resolve


def untyped_keys(verb: str, config: dict[str, Any]) -> list[str]:
    """Keys of a config whose type nothing says: no table, default or signature."""
    types = key_types(config, dict(leaves(config)))
    groups = {each.key for each in included(verb)}
    return [key for key, type_ in types if type_ in (None, Any) and key not in groups and "logger." not in key]


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_composes_and_its_keys_have_types(verb: str) -> None:
    assert untyped_keys(verb, plain(compose(verb, []))) == []


CHOICES = [
    (verb, f"{each.name}@{each.key}" if each.key != each.name else each.name, option)
    for verb in VERBS
    for each in included(verb)
    if each.name != "experiment"
    for option in option_names(each.name)
    if (verb, option)
    not in [("energy", name) for name in ("double_well", "potential", "openmm_xml")]  # no terms of ours
]


@pytest.mark.parametrize(("verb", "group", "option"), CHOICES)
def test_each_option_composes(verb: str, group: str, option: str) -> None:
    assert untyped_keys(verb, plain(compose(verb, [f"{group}={option}"]))) == []


@pytest.mark.parametrize("experiment", option_names("experiment"))
def test_each_experiment_composes(experiment: str) -> None:
    first = (config_folder() / "experiment" / f"{experiment}.yaml").read_text().splitlines()
    verb = next(line.split("mdgen ")[1].split()[0] for line in first if line.startswith("#") and "mdgen " in line)
    assert untyped_keys(verb, plain(compose(verb, [f"experiment={experiment}"]))) == []


def test_help_lists_every_verb_and_every_top_level_key() -> None:
    for name in VERBS:
        assert f"  {name} " in overview()
        text = verb_help(name)
        for key in plain(compose(name, [])):
            assert f"{key}:" in text or f"{key}=" in text or f"{key}.KEY=" in text, f"{name}: no {key} in --help"


@pytest.mark.parametrize("verb", VERBS)
def test_each_example_of_the_help_composes(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "peptides.txt").write_text("IPGD\nGTLM\n")
    for example in VERBS[verb].examples.replace("\\\n", "").strip().splitlines():
        command, *arguments = shlex.split(example, comments=True)[1:]
        assert command == verb
        if "--multirun" in arguments:
            assert main([verb, *arguments, "--cfg"]) == 0
        else:
            compose(verb, list(read_flags(arguments, VERBS[verb].positional).overrides))


def test_the_wheel_carries_the_configs() -> None:
    project = Path(__file__).parents[2] / "pyproject.toml"
    assert '"conf" = "mdgen/conf"' in project.read_text()


def test_experiments_belong_to_their_verbs() -> None:
    assert "experiment=charge_recovery" not in verb_help("simulate")
    assert "experiment=mdgen_tetrapeptide" in verb_help("simulate")
    assert "experiment=charge_recovery" in verb_help("benchmark")


def test_none_of_a_group_is_chosen_by_null() -> None:
    assert plain(compose("simulate", ["tempering=null"])) == plain(compose("simulate", []))
    choice = "tempering@simulate.tempering"
    assert "tempering" in plain(compose("demo", [f"{choice}=parallel"]))["simulate"]
    assert plain(compose("demo", [f"{choice}=null"]))["simulate"].get("tempering") is None
    states = "protocol@between.protocol"
    assert plain(compose("generate", [f"{states}=null"])) == plain(compose("generate", []))
    assert plain(compose("demo", [f"{states.replace('@', '@generate.')}=null"])) == plain(compose("demo", []))


def parameters(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every parameter of what a config names, also those that it leaves at their defaults, with its annotation."""
    target = node.get("_target_", MISSING)
    for name, annotation in ((annotations_of(resolve(target)) if target != MISSING else None) or {}).items():
        yield f"{prefix}{name}", annotation
    for key, value in node.items():
        if isinstance(value, dict):
            yield from parameters(value, f"{prefix}{key}.")


@pytest.mark.parametrize(
    ("verb", "choices"),
    [("simulate", ["tempering=parallel", "potential=distance_restraint"]), ("train", ["decoder=nearest_frame"])],
)
def test_what_cannot_be_null_is_refused_though_the_config_leaves_it_out(verb: str, choices: list[str]) -> None:
    config = plain(compose(verb, choices))
    named, tables = dict(parameters(config)), {key.rpartition(".")[0] for key, _ in leaves(config)}
    plain_types = (bool, int, float, str)
    required = [key for key, annotation in named.items() if annotation in plain_types and key not in tables]
    assert len(required) > 5
    for key in required:
        with pytest.raises(MdgenError, match=f"^{re.escape(key)}=null: expected"):
            compose(verb, [*choices, f"{key}=null"])


def test_what_can_be_null_may_be() -> None:
    given = ["system.hydrogen_mass_amu=null", "threads=null", "pressure_bar=null", "anneal_temperature_K=600"]
    config = plain(compose("simulate", given))
    assert config["system"]["hydrogen_mass_amu"] is None
    assert config["anneal_temperature_K"] == 600


def test_a_whole_number_is_a_float_where_any_number_will_do() -> None:
    config = plain(compose("train", ["data.frame_spacing_ps=1", "encoder=srv", "encoder.model.lag_ps=2", "seed=3"]))
    found = (config["data"]["frame_spacing_ps"], config["encoder"]["model"]["lag_ps"], config["seed"])
    assert [repr(value) for value in found] == ["1.0", "2.0", "3"]


def test_parameters_that_a_config_leaves_at_their_defaults_can_be_set() -> None:
    given = ["encoder=srv", "encoder.training.optimizer.weight_decay=1"]
    assert plain(compose("train", given))["encoder"]["training"]["optimizer"]["weight_decay"] == 1.0
