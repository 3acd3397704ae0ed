"""Preparation of an evaluation: same molecule, common frame spacing, ideal values, and what can be measured."""

import math
from dataclasses import dataclass, replace
from fractions import Fraction

from mdgen.data.spacing import SAME
from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.evaluation.metrics.conformation.measurements import fit_conformation
from mdgen.evaluation.metrics.energies import energies
from mdgen.evaluation.metrics.observer import Observer, Projection, sample_positions
from mdgen.evaluation.metrics.structure_checks import fit_checks
from mdgen.evaluation.settings import Settings
from mdgen.interfaces import Potential
from mdgen.molecule.topology import Molecule
from mdgen.molecule.torsions import KINDS, Torsion, torsions

IDEAL_FRAMES = 2000
"""Frames of the reference from which ideal bonds and angles are taken."""

LARGEST_STRIDE = 1000


@dataclass(frozen=True)
class Preparation:
    """How the trajectories will be read.

    Args:
        observer: measurements on each frame.
        strides: strides of the reference, the generated trajectories, and the replicate if one was given.
        frame_spacing_ps: spacing common to all after striding.
        notes: sentences for the reader.
    """

    observer: Observer
    strides: tuple[int, ...]
    frame_spacing_ps: float
    notes: tuple[str, ...]

    @property
    def lean_observer(self) -> Observer:
        """Measurements without energies and, but for a few frames, without structure checks."""
        return replace(self.observer, potential=None, energy_terms=(), structure_work=1.0)


def prepare(
    reference: TrajectorySet,
    others: dict[str, TrajectorySet],
    projection: Projection | None,
    potential: Potential | None,
    settings: Settings,
) -> Preparation:
    """Check that the trajectories can be compared, and decide how; `others` by their names in messages.

    Raises:
        MdgenError: if the molecules differ, saying which atoms, or the temperatures where both are known, if a set is
            empty, or if no multiple of the frame spacings is common.
    """
    everything = {"the reference": reference, **others}
    for name, trajectories in everything.items():
        reference.molecule.require_same(trajectories.molecule, name)
        _require_same_temperature(reference, trajectories, name)
        if sum(trajectories.lengths) < 2:
            raise MdgenError(f"{name} holds a single frame; give at least two")
    strides, spacing = common_strides([t.frame_spacing_ps for t in everything.values()])
    notes = [
        f"{name}: every {_ordinal(stride)} frame is used, so that all trajectories have a frame every {spacing:g} ps."
        for (name, _), stride in zip(everything.items(), strides, strict=True)
        if stride > 1
    ]
    found, reason = _torsions(reference.molecule)
    if reason:
        notes.append(reason)
    if not len(reference.molecule.bonds):
        notes.append("No bonds, angles or chirality are judged: this molecule has no bonds.")
    sample = sample_positions(reference, IDEAL_FRAMES)
    checks = fit_checks(reference.molecule, sample)
    observer = Observer(
        torsions=found,
        checks=checks,
        conformation=fit_conformation(reference.molecule, checks, sample),
        projection=projection,
        potential=potential,
        energy_terms=() if potential is None else tuple(energies(potential, sample[:1])),
        energy_frames=settings.energy_frames,
        structure_work=settings.structure_work,
    )
    for (name, trajectories), stride in zip(everything.items(), strides, strict=True):
        every = observer.structure_stride(sum(trajectories.lengths) // stride)
        if every > 1:
            notes.append(f"{name}: bonds, angles, chirality and clashes are checked on every {_ordinal(every)} frame.")
    return Preparation(observer, strides, spacing, tuple(notes))


def _require_same_temperature(reference: TrajectorySet, other: TrajectorySet, name: str) -> None:
    """Raise unless the known temperatures of both span the same range; what does not say its temperature passes."""
    known = [[kelvin for kelvin in each.temperatures_K if kelvin is not None] for each in (reference, other)]
    if not all(known):
        return
    ranges = [(min(each), max(each)) for each in known]
    if not all(math.isclose(*ends, rel_tol=SAME) for ends in zip(*ranges, strict=True)):
        at, against = (" to ".join(f"{kelvin:g}" for kelvin in dict.fromkeys(each)) for each in ranges)
        raise MdgenError(
            f"the reference is at {at} K and {name} at {against} K; compare trajectories of one temperature"
        )


def common_strides(spacings_ps: list[float]) -> tuple[tuple[int, ...], float]:
    """Number of frames of each that make their least common spacing, and that spacing in ps.

    >>> common_strides([1.0, 2.5])
    ((5, 2), 5.0)

    Raises:
        MdgenError: if no spacing up to 1000 frames of the first is common.
    """
    exact = [Fraction(spacing).limit_denominator(100_000) for spacing in spacings_ps]
    for multiple in range(1, LARGEST_STRIDE + 1):
        common = exact[0] * multiple
        if all((common / spacing).denominator == 1 for spacing in exact):
            return tuple(int(common / spacing) for spacing in exact), float(common)
    shown = " ps and ".join(f"{spacing:g}" for spacing in spacings_ps)
    raise MdgenError(f"frame spacings of {shown} ps have no common multiple; save frames at multiples of one spacing")


def _torsions(molecule: Molecule) -> tuple[tuple[Torsion, ...], str]:
    try:
        found = torsions(molecule, KINDS)
    except MdgenError as error:
        return (), f"No torsions are judged: {error}."
    return found, "" if found else "No torsions are judged: this molecule has none."


def _ordinal(number: int) -> str:
    suffix = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{suffix}"
