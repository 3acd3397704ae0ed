"""No part without its contract: every registered class stands in a table that the contract tests run over."""

import importlib
import inspect
import pkgutil
from functools import cache
from typing import Any

import pytest

import mdgen
from mdgen.interfaces import Decoder, Encoder, Potential, Propagator
from mdgen.md.force_field.force_field import ForceField
from mdgen.registry import registered
from tests.md.test_potential_contract import MADE
from tests.models.parts import DECODERS, ENCODERS, LATENT, PROPAGATORS


@cache
def own_classes() -> frozenset[type]:
    """Every registered class of this package, all of whose modules are imported first."""
    for module in pkgutil.walk_packages(mdgen.__path__, "mdgen."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found = [part for part in registered() if inspect.isclass(part) and part.__module__.startswith("mdgen.")]
    return frozenset([*found, ForceField])


@pytest.mark.parametrize(
    ("protocol", "methods", "made"),
    [
        (Encoder, {"encode"}, [make() for make in ENCODERS.values()]),
        (Propagator, {"sample", "window"}, [make(LATENT) for make in PROPAGATORS.values()]),
        (Decoder, {"decode"}, [make(LATENT) for make in DECODERS.values()]),
        (Potential, {"energy", "fingerprint"}, [make() for make, _ in MADE.values()]),
    ],
    ids=["encoder", "propagator", "decoder", "potential"],
)
def test_every_registered_part_stands_in_the_table_of_its_contract(
    protocol: Any, methods: set[str], made: list[Any]
) -> None:
    expected = {part for part in own_classes() if all(hasattr(part, method) for method in methods)}
    assert expected
    assert expected <= {type(part) for part in made}
    assert all(isinstance(part, protocol) for part in made)
