"""Addresses in the metadata of a distribution: the page of a package index shows no relative links or pictures."""

import os
import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

REPOSITORY = "MDGEN_REPOSITORY"
"""Variable of the environment that names where the repository is published, as https://HOST/OWNER/mdgen."""

_LINK = re.compile(r"(!?)(\[[^\]]*\])\((?!\w+:|#)([^)\s]+)\)")
"""A link or a picture with a relative target."""


class Addresses(MetadataHookInterface):
    """Reads the README; where the address of the repository is given, links lead there, to the tag of the version."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the dynamic fields `readme` and `urls`."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        repository = os.environ.get(REPOSITORY, "").rstrip("/")
        if repository:
            revision = f"v{metadata['version']}"
            text = absolute(text, repository, revision)
            pages = {"Documentation": "notebooks/docs/index.md", "Changelog": "CHANGELOG.md"}
            metadata["urls"] = {"Repository": repository, "Issues": f"{repository}/issues"} | {
                name: f"{repository}/blob/{revision}/{page}" for name, page in pages.items()
            }
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def absolute(text: str, repository: str, revision: str) -> str:
    """Markdown whose relative links lead into a revision of a repository, and pictures to their raw files."""

    def led(found: re.Match[str]) -> str:
        kind = "raw" if found[1] else "blob"
        return f"{found[1]}{found[2]}({repository}/{kind}/{revision}/{found[3]})"

    return _LINK.sub(led, text)
