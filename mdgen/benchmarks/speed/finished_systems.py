"""Systems that are done, kept beside the result, so that a run that was stopped goes on with the next."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import mdgen
from mdgen.files import write_aside

logger = logging.getLogger("mdgen")


class KeptSystems:
    """What every finished system gave; figures of other settings or other code are not mixed into a run.

    Args:
        path: the file; None keeps nothing.
        settings: that must be the same.
    """

    def __init__(self, path: Path | None, settings: dict[str, Any]) -> None:
        self._path = path
        self._key = hashlib.sha256((json.dumps(settings, default=list) + _code()).encode()).hexdigest()
        self._systems: dict[str, Any] = {}
        if path is None or not path.is_file():
            return
        try:
            stored = json.loads(path.read_text())
        except json.JSONDecodeError:
            return
        if isinstance(stored, dict) and stored.get("key") == self._key:
            self._systems = stored["systems"]
            logger.info("speed         goes on after %s", ", ".join(self._systems))

    def get(self, name: str) -> dict[str, Any] | None:
        """What a system gave, if it is done."""
        return self._systems.get(name)

    def put(self, name: str, found: dict[str, Any]) -> dict[str, Any]:
        """Keep what a system gave."""
        self._systems[name] = found
        if self._path is not None:
            write_aside(self._path, json.dumps({"key": self._key, "systems": self._systems}).encode())
        return found

    def remove(self) -> None:
        """Everything is in the result."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def _code() -> str:
    """A digest of the engine's sources."""
    digest = hashlib.sha256()
    for path in sorted((Path(mdgen.__file__).parent / "md").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
