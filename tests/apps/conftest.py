"""What the command does to logging and to torch's threads ends with each test and each module."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch


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
    with process_as_before():
        yield


@pytest.fixture(autouse=True, scope="module")
def after_each_module() -> Iterator[None]:
    with process_as_before():
        yield
