"""The criteria of the verdict: the distances that are judged, and how large each may be.

A new criterion is one line here. Its metric must be a distance (0 is perfect, larger is worse) that its family gives
both for a row and from `permuted`; a family whose metric does not exist for a molecule says so in `applies`, since what
a family that applies does not give counts as undecided, for want of data.
"""

from typing import NamedTuple


class Criterion(NamedTuple):
    """A distance that is judged.

    Args:
        metric: name of the metric, as in `metrics.json`.
        tolerance: excess over the floor that no user would care about, in the metric's unit.
        meaning: one plain sentence on what it would mean if it failed.
    """

    metric: str
    tolerance: float
    meaning: str


CRITERIA = (
    Criterion("torsion_jsd/backbone", 0.04, "phi and psi are distributed otherwise than in MD"),
    Criterion("torsion_jsd/omega", 0.04, "peptide bonds are twisted otherwise than in MD"),
    Criterion("torsion_jsd/side_chain", 0.04, "side chains have other rotamers than in MD"),
    Criterion("torsion_jsd/methyl", 0.04, "methyl groups stand or turn otherwise than in MD"),
    Criterion("torsion_pair_jsd/all", 0.06, "phi and psi of a residue are coupled otherwise than in MD"),
    Criterion("tica_jsd/0", 0.05, "the slowest motion visits its states in other shares than in MD"),
    Criterion("tica_jsd/0,1", 0.06, "the two slowest motions visit their states in other shares than in MD"),
    Criterion("free_energy_rmse_kT/psi_1", 0.2, "the free energy along the slowest coordinate is off"),
    Criterion("occupancy_jsd", 0.05, "metastable states are populated otherwise than in MD"),
    Criterion(
        "first_passage_log10_error", 0.1, "the molecule changes between metastable states too fast or too slowly"
    ),
    Criterion("decorrelation_log10_error/all", 0.1, "torsions forget where they were too fast or too slowly"),
    Criterion("autocorrelation_rmse/all", 0.03, "torsions move on other time scales than in MD"),
    Criterion("step_log10_error/all", 0.01, "torsions move too much or too little from one frame to the next"),
    Criterion("subframe_autocorrelation_rmse/all", 0.03, "torsions move otherwise between the key frames than in MD"),
    Criterion("share_difference/broken_bonds", 0.002, "bonds break"),
    Criterion("share_difference/broken_angles", 0.002, "bond angles break"),
    Criterion("share_difference/chirality", 0.001, "stereocentres are mirrored"),
    Criterion("share_difference/clashes", 0.005, "atoms overlap otherwise than in MD"),
    Criterion("share_difference/cis", 0.005, "peptide bonds are cis otherwise than in MD"),
    Criterion("energy_jsd/total", 0.05, "energies by the force field are distributed otherwise than in MD"),
)
