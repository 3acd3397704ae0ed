"""The metrics of every evaluation, in the order of the tables; a new family is one file and one line here."""

from collections.abc import Mapping

from mdgen.evaluation.metrics.conformation.bonded import AngleMetrics, BondMetrics, PlanarityMetrics
from mdgen.evaluation.metrics.conformation.coupling import ConcertMetrics, CouplingMetrics
from mdgen.evaluation.metrics.conformation.nearest import NearestMetrics
from mdgen.evaluation.metrics.conformation.shape import (
    ComponentMetrics,
    ContactMetrics,
    PairDistanceMetrics,
    SizeMetrics,
)
from mdgen.evaluation.metrics.decorrelation import DecorrelationMetrics
from mdgen.evaluation.metrics.energies import EnergyMetrics
from mdgen.evaluation.metrics.kinetics import KineticMetrics
from mdgen.evaluation.metrics.paths import PathMetrics
from mdgen.evaluation.metrics.populations import PopulationMetrics
from mdgen.evaluation.metrics.slow_modes import SlowModeMetrics
from mdgen.evaluation.metrics.steps import PairStepMetrics, StepMetrics
from mdgen.evaluation.metrics.structure import StructureMetrics
from mdgen.evaluation.metrics.subframe import SubframeMetrics
from mdgen.evaluation.metrics.target import Description, MetricFamily, Target
from mdgen.evaluation.metrics.torsion_distances import TorsionMetrics, VariationMetrics
from mdgen.results import Estimate

FAMILIES = (
    TorsionMetrics,
    VariationMetrics,
    PopulationMetrics,
    CouplingMetrics,
    ConcertMetrics,
    SlowModeMetrics,
    DecorrelationMetrics,
    StepMetrics,
    PairStepMetrics,
    StructureMetrics,
    BondMetrics,
    AngleMetrics,
    PlanarityMetrics,
    SizeMetrics,
    PairDistanceMetrics,
    ContactMetrics,
    ComponentMetrics,
    NearestMetrics,
    EnergyMetrics,
    SubframeMetrics,
    KineticMetrics,
    PathMetrics,
)

METRICS: dict[str, Description] = {name: each for family in FAMILIES for name, each in family.descriptions.items()}
"""Every metric by name; in `metrics.json` a name may be followed by `/` and what it was measured on."""


def metrics_for(target: Target) -> dict[type, MetricFamily]:
    """The families that apply to a target, by class."""
    return {family: family(target) for family in FAMILIES if family.applies(target)}


def possible(target: Target) -> set[str]:
    """Kinds of metric that the molecule has, though the data may be too short for them."""
    kinds: set[str] = set()
    for family in FAMILIES:
        if family.applies(target) or ("states" in family.needs and target.torsions):
            kinds |= family.descriptions.keys()
    return kinds


def within_bounds(found: Mapping[str, Estimate]) -> dict[str, Estimate]:
    """Estimates by name whose intervals end where there is no value beyond, as of a share at 1.

    >>> within_bounds({"clash_share": Estimate(0.9, 0.7, 1.2)})["clash_share"].high
    1.0
    """
    return {name: METRICS[name.partition("/")[0]].bounded(estimate) for name, estimate in found.items()}


def label(name: str) -> str:
    """The heading of a metric in tables.

    >>> label("torsion_jsd/phi ALA2"), label("clash_share")
    ('Torsion JSD, phi ALA2', 'Clashes')
    """
    kind, _, what = name.partition("/")
    short = METRICS[kind].label if kind in METRICS else kind
    return f"{short}, {what}" if what else short


def is_informative(row: str, metric: str) -> bool:
    """Whether a metric is shown for a row: distances from the reference are not for the reference itself."""
    kind = metric.partition("/")[0]
    return not (row == "reference" and kind in METRICS and METRICS[kind].distance)
