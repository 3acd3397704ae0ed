"""The seam of a published protocol, and its result."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol as Interface

import numpy as np
from jaxtyping import Float

from mdgen.data.trajectories import TrajectorySet
from mdgen.evaluation.statistics.intervals import LEVEL
from mdgen.results import Estimate


@dataclass(frozen=True)
class ProtocolRow:
    """What a protocol says of one set of trajectories.

    Args:
        frames: frames of the set, not thinned.
        metrics: estimates by name.
        arrays: numbers that are pooled over molecules, by name, such as fluctuations of each atom.
    """

    frames: int
    metrics: dict[str, Estimate]
    arrays: dict[str, list[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class ProtocolResult:
    """A protocol's numbers.

    Args:
        name: name of the protocol, as in `protocol=NAME`.
        rows: sets of trajectories by name: generated, and replicate where there is one.
        notes: sentences for the reader: what was not measured, and why.
    """

    name: str
    rows: dict[str, ProtocolRow]
    notes: tuple[str, ...] = ()


class Protocol(Interface):
    """A published evaluation protocol."""

    def require_applicable(self, reference: TrajectorySet) -> None:
        """Refuse early what the protocol cannot judge; reads one frame at most.

        Raises:
            MdgenError: if the protocol does not apply to this molecule.
        """
        ...

    def judge(self, reference: TrajectorySet, others: Mapping[str, TrajectorySet]) -> ProtocolResult:
        """Measure each of the others against the reference.

        Raises:
            MdgenError: if the protocol does not apply to this molecule, or to so few frames.
        """
        ...


def bounded_interval(
    value: float, samples: Float[np.ndarray, "resample"], low: float = -np.inf, high: float = np.inf
) -> Estimate:
    """`value` with the spread of its resamples around it, within the bounds that the metric has by definition.

    Resampling adds noise, and with it bias, to distances and correlations alike; so the resamples are shifted until
    their median falls on the value. None where the resamples do not differ.
    """
    finite = samples[np.isfinite(samples)]
    if len(finite) < 2 or np.ptp(finite) == 0 or not np.isfinite(value):
        return Estimate(float(value))
    shift = value - np.median(finite)
    ends = np.quantile(finite, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]) + shift
    return Estimate(float(value), float(max(low, ends[0])), float(min(high, ends[1])))
