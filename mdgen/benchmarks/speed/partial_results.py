"""Results of the systems that are done, in a file from which an interrupted run resumes."""

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import mdgen
from mdgen.files import write_aside

logger = logging.getLogger("mdgen")


class PartialResults:
    """Results by system; those of other settings or of another version of the engine's code are not used.

    Args:
        path: file of the results; None keeps nothing.
        settings: settings that the results depend on.
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
            logger.info("speed         resumes after %s", ", ".join(self._systems))

    def get(self, name: str) -> dict[str, Any] | None:
        """Result of a system; None if it is not done."""
        return self._systems.get(name)

    def put(self, name: str, found: dict[str, Any]) -> dict[str, Any]:
        """Store the result of a system and return it."""
        self._systems[name] = found
        if self._path is not None:
            write_aside(self._path, json.dumps({"key": self._key, "systems": self._systems}).encode())
        return found


def _code() -> str:
    """Digest of the engine's source files."""
    digest = hashlib.sha256()
    for path in sorted((Path(mdgen.__file__).parent / "md").rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()
