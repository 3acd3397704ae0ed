"""One run of a sweep."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Job:
    """One run of a sweep.

    Args:
        folder: run folder.
        own: overrides that distinguish it, as on a command line.
        arguments: all its arguments but `output`.
    """

    folder: Path
    own: tuple[str, ...]
    arguments: tuple[str, ...]

    @property
    def values(self) -> dict[str, str]:
        """The value of each key that the runs differ in, without quotes."""
        pairs = (each.partition("=") for each in self.own)
        return {key: value.strip("'\"") for key, _, value in pairs}
