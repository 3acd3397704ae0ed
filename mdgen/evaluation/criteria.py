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
    # 0.05 is 0.1 kT of a state of one half: a share of 0.025 of it, or of 0.01 of a state of 0.04
    Criterion("population_error/backbone", 0.05, "residues are in their basins of phi and psi in other shares"),
    Criterion("population_error/left_handed", 0.05, "residues have a phi above zero in another share than in MD"),
    Criterion("population_error/side_chain", 0.05, "side chains are in their rotamers in other shares than in MD"),
    Criterion("torsion_pair_jsd/worst", 0.06, "phi and psi of a residue are coupled otherwise than in MD"),
    Criterion("tica_jsd/0,1", 0.06, "the two slowest motions visit their states in other shares than in MD"),
    Criterion("free_energy_rmse_kT/psi_1", 0.2, "the free energy along the slowest coordinate is off"),
    Criterion(
        "first_passage_log10_error", 0.1, "the molecule changes between metastable states too fast or too slowly"
    ),
    Criterion("decorrelation_log10_error/all", 0.1, "torsions forget where they were too fast or too slowly"),
    Criterion("autocorrelation_rmse/all", 0.03, "torsions move on other time scales than in MD"),
    Criterion("subframe_autocorrelation_rmse/all", 0.03, "torsions move otherwise between the key frames than in MD"),
    Criterion("timescale_log_error/1", 0.2, "the slowest process is too fast or too slow"),
    Criterion("timescale_log_error/2", 0.2, "the second slowest process is too fast or too slow"),
    Criterion("path_jsd", 0.08, "transitions take other ways through the metastable states than in MD"),
    Criterion("path_log_probability_error", 0.1, "transitions are likelier or less likely than in MD"),
    Criterion("relaxation_log10_error/all", 0.03, "torsions move too much or too little within a few frames"),
    # 0.001 nm costs k d^2 / 2 = 0.05 kT of a C-C bond (k = 2.6e5 kJ/mol/nm^2), a third of its thermal spread; what xtc
    # rounds away is 0.0004 nm
    Criterion("bond_w2_nm/worst", 0.001, "a bond is too long, too short, too rigid or too loose"),
    Criterion("bond_w2_nm/all", 0.0005, "bonds are too long, too short, too rigid or too loose"),
    # angles spread by 3 to 5 degrees: a quarter of it
    Criterion("angle_w2_deg/worst", 1.0, "a bond angle is too wide, too narrow, too rigid or too loose"),
    Criterion("angle_w2_deg/all", 0.3, "bond angles are too wide, too narrow, too rigid or too loose"),
    Criterion("planarity_w2_deg/worst", 1.5, "an atom stands out of a plane, or a plane is too stiff"),
    Criterion("share_difference/broken_bonds", 0.002, "bonds break"),
    Criterion("share_difference/broken_angles", 0.002, "bond angles break"),
    Criterion("share_difference/chirality", 0.001, "stereocentres are mirrored"),
    Criterion("share_difference/prochirality", 0.001, "like neighbours of an atom change places, which MD never does"),
    Criterion("share_difference/clashes", 0.005, "atoms overlap otherwise than in MD"),
    Criterion("share_difference/cis", 0.002, "a peptide bond is cis otherwise than in MD"),
    Criterion("radius_of_gyration_w1", 0.01, "the molecule is too compact, too extended, too stiff or too loose"),
    Criterion("pair_distance_w1_nm/all", 0.01, "atoms are at other distances from each other than in MD"),
    Criterion("contact_error/all", 0.05, "residues touch more or less often than in MD"),
    Criterion("pca_w2_nm", 0.015, "the shape differs from MD in its mean or its fluctuations"),
    # a coefficient of correlation of 0.05 explains 0.25 % of a variance
    Criterion("coupling_error/all", 0.05, "torsions of different residues do not move together as in MD"),
    Criterion("concert_error/worst", 0.1, "neighbouring torsions do not turn together from frame to frame as in MD"),
    Criterion("step_log10_error/all", 0.02, "torsions move too much or too little within 1, 2 or 5 frames"),
    # a decoder of single frames knows nothing of a methyl group's past, which few users miss; frozen groups reach 3
    Criterion("step_log10_error/methyl", 0.5, "methyl groups turn more than three times too fast or too slowly"),
    Criterion("pair_step_log10_error", 0.02, "distances change too much or too little within 1, 2 or 5 frames"),
    Criterion("energy_jsd/total", 0.05, "energies by the force field are distributed otherwise than in MD"),
)
