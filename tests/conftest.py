"""Tests run with the shapes in the signatures checked, and leave logging and torch's threads as they were."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any
from unittest.mock import patch

# Results are compared bit for bit; sums over several threads are not made in one order.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ.setdefault("WANDB_MODE", "disabled")

import pytest
import torch

from tests import checked_shapes

# Numba compiles plain functions only, so kernels stay outside. Checks make tests of the evaluation take 70 % longer,
# so its own shapes are checked where MDGEN_CHECK_SHAPES=all asks for it, as `make test-slow` does.
_CHECKED = ["geometry", "molecule", "data", "models", "training", "generation", "md.systems"]
_CHECKED += ["evaluation"] if os.environ.get("MDGEN_CHECK_SHAPES") == "all" else []
_CHECKED += [
    f"md.dynamics.{name}"
    for name in ("constraints", "differentiable", "minimize", "overdamped", "schedule", "simulation", "velocities")
]
_CHECKED += ["md.force_field.terms"]
_CHECKED += [
    f"md.force_field.{name}"
    for name in ("double_well", "force_field", "forces", "module_potential", "parameters", "repulsion", "restraints")
]
checked_shapes.install([f"mdgen.{room}" for room in _CHECKED])


@contextmanager
def process_as_before() -> Iterator[None]:
    logger = logging.getLogger("mdgen")
    handlers, propagate, level = list(logger.handlers), logger.propagate, logger.level
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    logger.handlers[:] = handlers
    logger.propagate, logger.level = propagate, level


@pytest.fixture(autouse=True)
def after_each_test() -> Iterator[None]:
    checked_shapes.begin_test()
    with process_as_before():
        yield


@pytest.fixture(autouse=True, scope="session")
def single_precision() -> Iterator[None]:
    """Matrices in float32 whatever this machine multiplies faster: in bfloat16 laws hold to a percent only."""
    from mdgen.models.blocks import number_format

    with patch.object(number_format, "_seconds", lambda *_: 1.0):
        yield


@pytest.fixture(autouse=True, scope="module")
def after_each_module() -> Iterator[None]:
    with process_as_before():
        yield


@pytest.fixture(scope="module")
def one_filter_round() -> Iterator[None]:
    """One round of every fit of a rejection filter; what all of them reach is held by `test_rejection_filter.py`."""
    from mdgen.models.propagators import filter_fitting

    with patch.object(filter_fitting, "FILTER_ROUNDS", 1):
        yield


@pytest.fixture(scope="module")
def steps_in_this_process() -> Iterator[None]:
    """Steps of a demo one after another; that they run side by side is held by `test_concurrent_steps.py`."""
    from mdgen.apps import demo

    def run(steps: dict[str, tuple[str, dict[str, Any]]], plugins: list[str]) -> None:
        for module, config in steps.values():
            import_module(f"mdgen.apps.{module}").run(config)

    with patch.object(demo, "run_concurrently", run):
        yield


@pytest.fixture(scope="module")
def few_plots() -> Iterator[None]:
    """Reports with their first and last plots alone; what all of them show is held by `tests/evaluation`."""
    from mdgen.evaluation.report import html_report

    with patch.object(html_report, "DRAWERS", (html_report.DRAWERS[0], html_report.DRAWERS[-1])):
        yield
