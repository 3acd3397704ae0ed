"""What every suite of `mdgen benchmark` is: settings that know how to run and how to draw their result.

A new suite is a frozen dataclass that derives from `Suite`, decorated with `mdgen.registry.register`, and a file
`conf/suite/NAME.yaml` whose `_target_` names it; `mdgen benchmark suite=NAME` then runs it.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from mdgen.results import Acceptance

Figures = tuple[dict[str, Any], list[Acceptance]]
"""What a suite measured, as plain JSON, numpy or torch values, and its acceptance rows."""


class Suite(ABC):
    """Settings of a benchmark, with what runs it and what draws its result."""

    @abstractmethod
    def run(self, partial: Path) -> Figures:
        """Measure.

        Args:
            partial: folder for intermediate results that an interrupted run resumes from; the caller removes it once
                the result is written.
        """

    def draw(self, result: dict[str, Any], output: Path) -> list[Path]:
        """Draw a result beside its JSON file `output`; returns the paths of the drawings, none by default."""
        return []
