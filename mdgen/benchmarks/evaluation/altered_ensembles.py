"""Faults of the law of the torsions: populations, widths, shifts, and residues that ignore each other."""

import numpy as np

from mdgen.benchmarks.evaluation.fault import EMPTY_KT, Catalogue, Dynamics, turned
from mdgen.benchmarks.evaluation.known_chain import Frames

ALTERED_ENSEMBLES = Catalogue()

for _name, _meaning, _offsets in (
    ("basin_missing", "The helical basin of alanine is never visited.", {"alphaR ALA2": EMPTY_KT}),
    ("rotamer_missing", "The second rotamer of leucine is never visited.", {"tp LEU3": EMPTY_KT}),
):  # fmt: skip
    ALTERED_ENSEMBLES.add_law(_name, _meaning, offsets=_offsets)

ALTERED_ENSEMBLES.add_omission(
    "rare_states_omitted", "The rare left-handed basins are never visited.", "alphaL ALA2", "alphaL LEU3"
)
ALTERED_ENSEMBLES.add_weight(
    "basin_twice_as_heavy", "The helical basin of alanine has twice its weight.", "alphaR ALA2", 2.0
)
ALTERED_ENSEMBLES.add_weight(
    "rare_state_four_times_as_heavy", "The rare left-handed basin of alanine has four times its weight.",
    "alphaL ALA2", 4.0,
)  # fmt: skip
ALTERED_ENSEMBLES.add_law(
    "too_hot", "The temperature is 1.3 times too high: populations and every spread.", temperature=1.3
)
ALTERED_ENSEMBLES.add_law("too_cold", "The temperature is 1.3 times too low.", temperature=1 / 1.3)
ALTERED_ENSEMBLES.add_law("uncoupled", "Residues and rotamers do not feel each other.", coupling=0.0)


@ALTERED_ENSEMBLES.add
def side_chains_of_another_trajectory(frames: Frames, dynamics: Dynamics) -> Frames:
    """Side chains taken from another trajectory."""
    return _from_another(frames, dynamics, ("chi1 LEU3", "chi2 LEU3"))


@ALTERED_ENSEMBLES.add
def residue_of_another_trajectory(frames: Frames, dynamics: Dynamics) -> Frames:
    """Phi, psi and side chain of leucine taken from another trajectory."""
    return _from_another(frames, dynamics, ("phi LEU3", "psi LEU3", "chi1 LEU3", "chi2 LEU3"))


@ALTERED_ENSEMBLES.add
def phi_of_another_trajectory(frames: Frames, dynamics: Dynamics) -> Frames:
    """Phi of alanine taken from another trajectory."""
    return _from_another(frames, dynamics, ("phi ALA2",))


@ALTERED_ENSEMBLES.add
def phi_shifted_by_10(frames: Frames, dynamics: Dynamics) -> Frames:
    """Phi of alanine shifted by 10 degrees."""
    return turned(frames, "phi ALA2", np.radians(10.0), dynamics)


@ALTERED_ENSEMBLES.add
def phi_shifted_by_20(frames: Frames, dynamics: Dynamics) -> Frames:
    """Phi of alanine shifted by 20 degrees."""
    return turned(frames, "phi ALA2", np.radians(20.0), dynamics)


@ALTERED_ENSEMBLES.add
def noisy_torsions(frames: Frames, dynamics: Dynamics) -> Frames:
    """Independent noise of 8 degrees on every phi and psi."""
    internal = dynamics.to_internal(frames)
    for column, torsion in dynamics.chain.columns.values():
        if torsion.kind == "backbone":
            spread = np.radians(8.0)
            internal["dihedrals"][:, column] += spread * dynamics.rng.standard_normal(len(internal["dihedrals"]))
    return dynamics.to_frames(internal)


@ALTERED_ENSEMBLES.add
def quantised_torsions(frames: Frames, dynamics: Dynamics) -> Frames:
    """Torsions rounded to 5 degrees."""
    internal, step = dynamics.to_internal(frames), np.radians(5.0)
    for column, torsion in dynamics.chain.columns.values():
        if torsion.kind in ("backbone", "side_chain"):
            internal["dihedrals"][:, column] = step * np.round(internal["dihedrals"][:, column] / step)
    return dynamics.to_frames(internal)


@ALTERED_ENSEMBLES.add
def narrow_wells(frames: Frames, dynamics: Dynamics) -> Frames:
    """Fluctuations within each well at 70 % of their size."""
    return _about_centres(frames, dynamics, 0.7)


@ALTERED_ENSEMBLES.add
def mean_structures(frames: Frames, dynamics: Dynamics) -> Frames:
    """The mean structure of the state in place of each frame, as a deterministic decoder returns."""
    internal = dynamics.to_internal(_about_centres(frames, dynamics, 0.0))
    own = np.zeros(internal["dihedrals"].shape[1], dtype=bool)
    own[[dynamics.column(name) for wells in dynamics.chain.wells for name in wells.torsions]] = True
    for kind in ("bonds", "angles"):
        internal[kind][:] = internal[kind].mean(0, dtype=np.float64)
    internal["dihedrals"][:, ~own] = internal["dihedrals"][0, ~own]
    return dynamics.to_frames(internal)


def _from_another(frames: Frames, dynamics: Dynamics, names: tuple[str, ...]) -> Frames:
    """Some torsions from honest trajectories that have nothing to do with these."""
    internal, other = (dynamics.to_internal(each) for each in (frames, dynamics.altered()))
    for name in names:
        column = dynamics.column(name)
        internal["dihedrals"][:, column] = other["dihedrals"][:, column]
    return dynamics.to_frames(internal)


def _about_centres(frames: Frames, dynamics: Dynamics, factor: float) -> Frames:
    """Deviations of the torsions from the centre of the nearest well, scaled."""
    internal = dynamics.to_internal(frames)
    for wells in dynamics.chain.wells:
        columns = [dynamics.column(name) for name in wells.torsions]
        away = internal["dihedrals"][:, None, columns] - np.radians(wells.centres)
        away = (away + np.pi) % (2 * np.pi) - np.pi
        nearest = (away**2).sum(-1).argmin(1)
        deviation = away[np.arange(len(away)), nearest]
        internal["dihedrals"][:, columns] = np.radians(wells.centres)[nearest] + factor * deviation
    return dynamics.to_frames(internal)
