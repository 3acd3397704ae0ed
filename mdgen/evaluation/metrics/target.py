"""The target that every metric is made for, and the base class and descriptions of metrics."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
from jaxtyping import Float

from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.block_permutation import BlockPermutation
from mdgen.evaluation.statistics.distributions import free_energy_rmse
from mdgen.evaluation.statistics.intervals import bootstrap_weights
from mdgen.evaluation.statistics.observables import Observables
from mdgen.evaluation.statistics.states import States
from mdgen.interfaces import Metric
from mdgen.molecule.torsions import Torsion
from mdgen.results import Estimate

SHARE, CORRELATION, JSD = (0.0, 1.0), (-1.0, 1.0), (0.0, float(np.sqrt(np.log(2))))
"""Bounds of shares, of coefficients of correlation, and of Jensen-Shannon distances."""


class Description(NamedTuple):
    """Label and definition of a metric.

    Args:
        label: heading in tables.
        meaning: definition, for the report and `metrics.md`.
        distance: whether it is a distance from the reference, and so is not shown for the reference itself.
        bounds: least and largest value that there can be; intervals end there.
    """

    label: str
    meaning: str
    distance: bool = False
    bounds: tuple[float, float] = (-np.inf, np.inf)

    def bounded(self, estimate: Estimate) -> Estimate:
        """The estimate with the ends of its interval within the bounds."""
        if estimate.low is None or estimate.high is None:
            return estimate
        least, largest = self.bounds
        return replace(estimate, low=max(estimate.low, least), high=min(estimate.high, largest))


def distance(label: str, meaning: str, bounds: tuple[float, float] = (0.0, np.inf)) -> Description:
    """Description of a distance from the reference."""
    return Description(label, meaning, distance=True, bounds=bounds)


@dataclass(frozen=True)
class Target:
    """Reference that rows are compared with.

    Args:
        data: observables of the reference, with the columns of its slow coordinates and states.
        settings: resolved settings of the evaluation.
        torsions: torsions in the order of the `torsions` column.
        energy_terms: terms in the order of the `energy` column.
        states: Markov states of the reference, or None.
        unthinned: all frames of the reference where `data` holds fewer, for statistics of its own; `data` where None.
    """

    data: Observables
    settings: Settings
    torsions: Sequence[Torsion] = ()
    energy_terms: tuple[str, ...] = ()
    states: States | None = None
    unthinned: Observables | None = None

    @property
    def lag_ps(self) -> float:
        """Lag of the Markov state model."""
        return self.settings.lag_ps or 0.0

    @property
    def moving(self) -> list[int]:
        """Columns of the torsions that enter means: all but methyl rotors."""
        return [i for i, torsion in enumerate(self.torsions) if torsion.kind != "methyl"]

    def free_energy_rmse(self, reference: np.ndarray, generated: np.ndarray) -> np.ndarray:
        """RMSE of free energies in kT over the bins that the settings have compared, given counts."""
        return free_energy_rmse(reference, generated, self.settings.free_energy_below_kT)

    def rng(self) -> np.random.Generator:
        """A new generator of the settings' seed: every metric of every row resamples alike."""
        return np.random.default_rng(self.settings.seed)

    def weights(self, n_units: int, resamples: int | None = None) -> Float[np.ndarray, "resample unit"]:
        """Bootstrap weights of so many units, the settings' number of resamples unless another is given."""
        return bootstrap_weights(n_units, self.settings.resamples if resamples is None else resamples, self.rng())

    def data_and_resamples(self, n_units: int, resamples: int | None = None) -> Float[np.ndarray, "resample unit"]:
        """The same with a first line of ones: the data as they are."""
        return np.concatenate([np.ones((1, n_units)), self.weights(n_units, resamples)])


class MetricFamily(Metric[Observables]):
    """A metric, or several that share their work, made for one target."""

    descriptions: ClassVar[dict[str, Description]] = {}
    """By name; a metric's key is such a name, perhaps followed by `/` and what it was measured on."""

    needs: ClassVar[tuple[str, ...]] = ()
    """Fields of the target without which the metrics do not apply."""

    tables: ClassVar[tuple[str, ...]] = ()
    """Tables of measurements that must not be empty either."""

    def __init__(self, target: Target) -> None:
        self.target, self.settings, self.torsions = target, target.settings, target.torsions

    @classmethod
    def describes_rows(cls) -> bool:
        """Whether it says anything of a row by itself, beside distances."""
        return not all(each.distance for each in cls.descriptions.values())

    @classmethod
    def applies(cls, target: Target) -> bool:
        """Whether the target has what the metrics need."""
        measured = target.data.tables
        return all(getattr(target, name) for name in cls.needs) and all(
            name in measured and measured[name].size > 0 for name in cls.tables
        )

    def floor(self, frames: int, rng: np.random.Generator) -> dict[str, Estimate]:
        """Scores of a perfect sampler of so many independent frames, with the spread over draws, where known."""
        return {}

    def permuted(self, blocks: BlockPermutation) -> dict[str, Float[np.ndarray, "draw"]]:
        """Scores of dynamics against itself, one for each draw of the permutation; empty where there is no distance."""
        return {}
