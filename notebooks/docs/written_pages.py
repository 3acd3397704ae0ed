"""Sphinx extension: the pages of keys and of tutorials are written when the build begins."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import config_pages
import tutorial_pages

if TYPE_CHECKING:
    from sphinx.application import Sphinx

HERE = Path(__file__).parent


def setup(app: "Sphinx") -> dict[str, Any]:
    """Have the pages written into `generated` and `tutorials`, before the site is read."""
    app.connect("builder-inited", _write)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _write(app: "Sphinx") -> None:
    config_pages.write_pages(HERE / "generated")
    tutorial_pages.write_pages(HERE / "tutorials")
