"""A config is data: it can build what mdgen offers and nothing else."""

import pytest
import torch

from mdgen.apps.config.instantiation import instantiate
from mdgen.apps.config.search_path import config_folder
from mdgen.errors import MdgenError
from mdgen.registry import resolve


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "subprocess.run",
        "torch.load",
        "mdgen.files.os.system",
        "mdgen.files.os",
        "mdgen.apps.main.main",
        "mdgen.results.write_result",
        "mdgen.models.checkpoint.load_model",
        "",
    ],
)
def test_code_outside_the_registry_is_refused(target: str) -> None:
    with pytest.raises(MdgenError, match="is not registered with mdgen"):
        instantiate({"_target_": target})


def test_nested_targets_are_held_to_the_registry_too() -> None:
    config = {"_target_": "mdgen.evaluation.settings.Settings", "lag_ps": [{"_target_": "os.getcwd"}]}
    with pytest.raises(MdgenError, match=r"os.getcwd"):
        instantiate(config)


def test_what_is_allowed_is_built() -> None:
    settings = instantiate({"_target_": "mdgen.evaluation.settings.Settings", "lag_ps": 2.0}, tica_lag_ps=0.5)
    assert (settings.tica_lag_ps, settings.lag_ps) == (0.5, 2.0)
    optimizer = instantiate({"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.5})
    assert optimizer([torch.zeros(1, requires_grad=True)]).defaults["lr"] == 0.5


def test_an_argument_too_many_is_one_sentence() -> None:
    with pytest.raises(MdgenError, match=r"Settings cannot be made.*'widht'"):
        instantiate({"_target_": "mdgen.evaluation.settings.Settings", "widht": 2})


def test_every_target_of_the_configs_is_registered() -> None:
    named = {
        line.split("_target_:")[1].split("#")[0].strip()
        for path in config_folder().rglob("*.yaml")
        for line in path.read_text().splitlines()
        if "_target_:" in line
    }
    for name in named - {"???"}:
        assert callable(resolve(name)), name
