"""A config is data: it can build what mdgen offers and nothing else."""

import pytest
import torch

from mdgen.apps.instantiation import instantiate
from mdgen.errors import MdgenError


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
        "mdgen.files.nothing",
        "mdgen.nowhere.Thing",
        "",
    ],
)
def test_code_outside_the_allow_list_is_refused(target: str) -> None:
    with pytest.raises(MdgenError, match="_target_"):
        instantiate({"_target_": target})


def test_nested_targets_are_held_to_the_list_too() -> None:
    config = {"_target_": "mdgen.results.Estimate", "value": [{"_target_": "os.getcwd"}]}
    with pytest.raises(MdgenError, match=r"os.getcwd"):
        instantiate(config)


def test_what_is_allowed_is_built() -> None:
    assert instantiate({"_target_": "mdgen.results.Estimate", "value": 2.0}, low=1.0).low == 1.0
    optimizer = instantiate({"_target_": "torch.optim.Adam", "_partial_": True, "lr": 0.5})
    assert optimizer([torch.zeros(1, requires_grad=True)]).defaults["lr"] == 0.5


def test_an_argument_too_many_is_one_sentence() -> None:
    with pytest.raises(MdgenError, match=r"Estimate cannot be made.*'widht'"):
        instantiate({"_target_": "mdgen.results.Estimate", "value": 1.0, "widht": 2})
