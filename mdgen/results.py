"""Results of experiments: estimates with intervals, and the acceptance rows at the end of every result file.

>>> row = Acceptance.below("torsion_jsd", Estimate(0.03, 0.02, 0.04), bound=0.05)
>>> row.holds, row.bound
(True, '<= 0.05')
"""

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

from mdgen.files import write_aside


@dataclass(frozen=True)
class Estimate:
    """A value with its confidence interval, 95 % unless stated otherwise; `low` and `high` are None without one."""

    value: float
    low: float | None = None
    high: float | None = None

    def contains(self, value: float) -> bool:
        """Whether the interval contains `value`; False without an interval."""
        return self.low is not None and self.high is not None and self.low <= value <= self.high


@dataclass(frozen=True)
class Acceptance:
    """One acceptance row of a result: a figure, its interval, its bound, and whether the bound holds."""

    name: str
    value: float | None
    low: float | None
    high: float | None
    bound: str
    holds: bool

    @classmethod
    def below(cls, name: str, estimate: Estimate, bound: float) -> "Acceptance":
        """Row of a figure that must be at most `bound`; it fails if the figure is not finite."""
        return cls.judged(name, estimate, f"<= {bound:g}", estimate.value <= bound)

    @classmethod
    def above(cls, name: str, estimate: Estimate, bound: float) -> "Acceptance":
        """Row of a figure that must be at least `bound`; it fails if the figure is not finite."""
        return cls.judged(name, estimate, f">= {bound:g}", estimate.value >= bound)

    @classmethod
    def judged(cls, name: str, estimate: Estimate, bound: str, holds: bool) -> "Acceptance":
        """Row of a figure whose bound is given in words; it fails if the figure is not finite."""
        value, low, high = (_finite(number) for number in (estimate.value, estimate.low, estimate.high))
        return cls(name, value, low, high, bound, bool(holds) and value is not None)


def _finite(number: float | None) -> float | None:
    return float(number) if number is not None and math.isfinite(number) else None


def acceptance_table(rows: Iterable[Acceptance]) -> str:
    """Acceptance rows as an aligned plain-text table."""
    cells = [("", "name", "value", "interval", "bound")]
    for row in rows:
        interval = "" if row.low is None or row.high is None else f"{row.low:.4g} .. {row.high:.4g}"
        value = "not finite" if row.value is None else f"{row.value:.4g}"
        cells.append(("holds" if row.holds else "FAILS", row.name, value, interval, row.bound))
    return aligned(cells)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Lines of cells as plain text with columns of equal width.

    >>> print(aligned([("a", "bcd"), ("efg", "")]))
    a    bcd
    efg
    """
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def write_result(path: Path, result: dict[str, Any], acceptance: Iterable[Acceptance]) -> None:
    """Write `result` as JSON with `acceptance` as its last key; non-finite numbers become null."""
    document = {key: value for key, value in result.items() if key != "acceptance"} | {"acceptance": list(acceptance)}
    write_aside(path, (json.dumps(_jsonable(document), indent=2, allow_nan=False) + "\n").encode())


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return _jsonable(asdict(value))
    if hasattr(value, "tolist"):  # numpy and torch scalars and arrays
        return _jsonable(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
