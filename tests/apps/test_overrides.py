"""What is wrong with an override is said in one line, before anything runs."""

import pytest

from mdgen.apps.config.composition import compose, plain
from mdgen.errors import MdgenError

MISTAKES = [
    ("simulate", "+n_replica=3", "there is no key 'n_replica'; the nearest is 'n_replicas'"),
    ("simulate", "++n_replica=3", "there is no key 'n_replica'; the nearest is 'n_replicas'"),
    ("simulate", "+n_replicas=3", "neither added nor left out; write n_replicas="),
    ("simulate", "~n_replicas", "neither added nor left out; write n_replicas="),
    ("simulate", "~integrator", "neither added nor left out; write integrator="),
    ("simulate", "+integrator=langevin", "neither added nor left out; write integrator="),
    ("simulate", "integrator@foo=langevin", "there is no key 'integrator@foo'"),
    ("simulate", "integrator=null", "there is no integrator=null; the options are langevin, overdamped"),
    ("simulate", "integrator=3", "there is no integrator=3"),
    ("simulate", "integrator={x: 1}", "there is no integrator={x: 1}"),
    ("simulate", "integrator=foo/bar", "there is no integrator=foo/bar"),
    ("simulate", "system=null", "there is no system=null"),
    ("simulate", "=3", "expected key=value"),
    ("simulate", "threads=two", "threads=two: expected a whole number, or null"),
    ("simulate", "threads=1.5", "threads=1.5: expected a whole number, or null"),
    ("simulate", "pressure_bar=high", "pressure_bar=high: expected a number, or null"),
    ("simulate", "anneal_temperature_K=true", "anneal_temperature_K=true: expected a number, or null"),
    ("simulate", "system.cutoff_nm=far", "system.cutoff_nm=far: expected a number, or null"),
    ("simulate", "system.hydrogen_mass_amu=heavy", "expected a number such as 3.0"),
    ("simulate", "n_replicas=8.5", "n_replicas=8.5: expected a whole number such as 64"),
    ("simulate", "n_replicas=null", "n_replicas=null: expected a whole number such as 64"),
    ("simulate", "n_replicas=1,2", "n_replicas=1,2: expected one value"),
    ("simulate", "length_ns=null", "length_ns=null: expected a number such as 2.0"),
    ("simulate", "length_ns=nan", "length_ns=nan: expected a number such as 2.0"),
    ("simulate", "length_ns={a: 1}", "there is no key 'length_ns.a'"),
    ("simulate", "output=", "expected text such as runs/simulate"),
    ("simulate", "output=3", "output=3: expected text such as runs/simulate"),
    ("simulate", "system.capped=1", "system.capped=1: expected true or false"),
    ("simulate", "system.capped=null", "system.capped=null: expected true or false"),
    ("train", "seed=null", "seed=null: expected a whole number such as 0"),
    ("train", "data.frame_spacing_ps=often", "data.frame_spacing_ps=often: expected a number, or null"),
    ("train", "data.trajectories=3", "data.trajectories=3: expected a path or a list of paths"),
    ("train", "data.fraction=0.5", "data.fraction=0.5: expected two numbers such as [0.0,1.0]"),
    ("train", "data.fraction=[0.5]", "data.fraction=[0.5]: expected two numbers"),
    ("train", "data.fraction=[a,b]", "data.fraction=[a,b]: expected two numbers"),
    ("train", "data.fraction=null", "data.fraction=null: expected two numbers"),
    ("evaluate", "metrics.settings.lag_ps=long", "metrics.settings.lag_ps=long: expected a number, or null"),
    ("demo", "lag_ps=null", "lag_ps=null: expected a number such as 5.0"),
    ("demo", "training_fraction=[0.5]", "training_fraction=[0.5]: expected two numbers"),
    ("generate", "encoder_run=3", "encoder_run=3: expected text"),
]


@pytest.mark.parametrize(("verb", "override", "sentence"), MISTAKES)
def test_a_mistake_is_one_line(verb: str, override: str, sentence: str) -> None:
    with pytest.raises(MdgenError) as error:
        compose(verb, [override])
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", ["/a=b", "/a=b/c d", "a b(c", "[a,b", "~/x", "it's=odd"])
def test_a_value_that_cannot_be_read_is_quoted_for_the_user(value: str) -> None:
    with pytest.raises(MdgenError) as error:
        compose("train", [f"data.trajectories={value}"])
    text = str(error.value)
    assert "is put in quotes" in text
    assert not any(word in text for word in ("http", "mismatched", "viable", "Lexer", "EOF", "\n"))
    suggested = text.split(": ")[-1].strip('"')
    assert plain(compose("train", [suggested]))["data"]["trajectories"] == value


def test_none_of_a_group_is_chosen_by_null() -> None:
    assert plain(compose("simulate", ["tempering=null"])) == plain(compose("simulate", []))
    assert "tempering" in plain(compose("demo", []))["simulate"]
    assert plain(compose("demo", ["tempering@simulate.tempering=null"]))["simulate"].get("tempering") is None


def test_what_can_be_null_may_be() -> None:
    given = ["system.hydrogen_mass_amu=null", "threads=null", "pressure_bar=null", "anneal_temperature_K=600"]
    config = plain(compose("simulate", given))
    assert config["system"]["hydrogen_mass_amu"] is None
    assert config["anneal_temperature_K"] == 600


def test_a_whole_number_is_a_float_where_any_number_will_do() -> None:
    config = plain(compose("train", ["data.frame_spacing_ps=1", "encoder=srv", "encoder.model.lag_ps=2", "seed=3"]))
    found = (config["data"]["frame_spacing_ps"], config["encoder"]["model"]["lag_ps"], config["seed"])
    assert [repr(value) for value in found] == ["1.0", "2.0", "3"]


@pytest.mark.parametrize("value", [3.0, "cube", [1.0, "a"]])
def test_a_box_is_a_list_of_numbers(value: object) -> None:
    with pytest.raises(MdgenError, match=r"box_nm=.*: expected a list of numbers"):
        checked_value("system.box_nm", value, None)
    checked_value("system.box_nm", [3.0, 3, 3.5], None)
