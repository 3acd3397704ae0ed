"""Modules of scripts that lie in no package."""

import importlib.util
from pathlib import Path
from types import ModuleType


def module_from_file(path: Path) -> ModuleType:
    """The module that a file holds, named after it and executed anew."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module
