"""What the command does to logging and to torch's threads ends with each test."""

import logging
from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def process_as_before() -> Iterator[None]:
    logger = logging.getLogger("mdgen")
    handlers, propagate, level = list(logger.handlers), logger.propagate, logger.level
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    logger.handlers[:] = handlers
    logger.propagate, logger.level = propagate, level


@pytest.fixture(autouse=True, scope="module")
def process_as_before_the_module() -> Iterator[None]:
    """For what fixtures of a module run."""
    logger = logging.getLogger("mdgen")
    handlers, propagate, level = list(logger.handlers), logger.propagate, logger.level
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    logger.handlers[:] = handlers
    logger.propagate, logger.level = propagate, level
