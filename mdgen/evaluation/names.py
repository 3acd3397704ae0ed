"""The names of the metrics, what they say and how tables show them; stable from here on.

A name may be followed by `/` and what it was measured on, such as `torsion_jsd/phi ALA2`.
"""

METRICS = {
    "torsion_jsd": (
        "Torsion JSD",
        "Jensen-Shannon distance of a torsion's histogram, 100 bins of [-pi, pi]; the mean over torsions for `all`, "
        "`backbone`, `omega`, `side_chain` and `methyl`. 0 to 0.8326.",
    ),
    "torsion_pair_jsd": ("phi, psi JSD", "the same over 50 x 50 bins of phi and psi of a residue."),
    "tica_jsd": (
        "TICA JSD",
        "the same over the slowest linear coordinates, 100 bins of the first or 50 x 50 of two, over the joint range.",
    ),
    "free_energy_rmse_kT": (
        "F RMSE (kT)",
        "root-mean-square difference of free energies where the reference's is below 5 kT, after alignment: over the "
        "slowest coordinate `psi_1`, or over phi and psi in cells of 10 degrees.",
    ),
    "outside_share": ("Outside", "share of frames beyond the reference's range of the coordinate."),
    "timescale_ps": ("Timescale (ps)", "implied timescales of the Markov state model, slowest first."),
    "connected_share": ("Connected share", "share of transitions within the largest connected set of states."),
    "broken_bond_share": ("Broken bonds", "share of frames with a bond off its ideal length by more than 0.03 nm."),
    "bond_rms_nm": ("Bond RMS (nm)", "root-mean-square deviation of bonds from the reference's mean lengths."),
    "broken_angle_share": (
        "Broken angles",
        "share of frames with an angle off its ideal value by more than 30 degrees.",
    ),
    "angle_rms_deg": ("Angle RMS (°)", "root-mean-square deviation of angles from the reference's means."),
    "chirality_error_share": ("Wrong chirality", "share of frames with a stereocentre of the wrong hand."),
    "clash_share": (
        "Clashes",
        "share of frames in which two heavy atoms more than three bonds apart overlap: closer than the sum of their "
        "van der Waals radii less 0.04 nm.",
    ),
    "radius_of_gyration_nm": ("Rg (nm)", "mean radius of gyration."),
    "radius_of_gyration_sd_nm": ("Rg sd (nm)", "its standard deviation."),
    "cis_share": ("cis omega", "share of frames with a peptide bond in cis."),
    "ramachandran_outlier_share": (
        "Ramachandran outliers",
        "share of frames with a residue in a cell of 10 degrees of phi and psi that the reference never visits.",
    ),
}
"""Label and meaning by name."""


def label(name: str) -> str:
    """What a table calls a metric.

    >>> label("torsion_jsd/phi ALA2"), label("clash_share")
    ('Torsion JSD, phi ALA2', 'Clashes')
    """
    kind, _, what = name.partition("/")
    short = METRICS[kind][0] if kind in METRICS else kind
    return f"{short}, {what}" if what else short
