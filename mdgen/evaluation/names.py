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
        "slowest coordinate `psi_1`, or over phi and psi in cells of 10 degrees. An empty bin counts as half a frame, "
        "so that rows of few frames cannot score as badly as they deserve.",
    ),
    "outside_share": ("Outside", "share of frames beyond the reference's range of the coordinate."),
    "timescale_ps": ("Timescale (ps)", "implied timescales of the Markov state model, slowest first."),
    "connected_share": ("Connected", "share of transitions within the largest connected set of states."),
    "chapman_kolmogorov_rms": (
        "CK error",
        "Chapman-Kolmogorov test: root-mean-square difference between the probability of being in the same lumped "
        "state after 2 to 5 lags as the row's own Markov model predicts it and as it is counted.",
    ),
    "occupancy_jsd": ("Occupancy JSD", "Jensen-Shannon distance of the populations of the lumped (PCCA) states."),
    "transitions_per_ns": ("Transitions (1/ns)", "changes between lumped states from one lag to the next, per ns."),
    "flux_spearman": (
        "Flux Spearman",
        "rank correlation of the stationary fluxes pi_i T_ij between lumped states with the reference's. 1 is best; "
        "the shuffled row shows how much of it needs no kinetics.",
    ),
    "first_passage_log10_error": (
        "MFPT error",
        "mean absolute difference of log10 mean first-passage times between lumped states: 0.3 is a factor of two.",
    ),
    "decorrelation_ps": (
        "Decorrelation (ps)",
        "time after which a torsion's autocorrelation, sine and cosine together and above its baseline, falls to 1/e. "
        "A time below the frame spacing says no more than that.",
    ),
    "decorrelation_log10_error": (
        "Decorrelation error",
        "mean absolute difference of log10 decorrelation times over torsions: 0.3 is a factor of two. A time beyond "
        "the lags counts as the longest of them.",
    ),
    "autocorrelation_rmse": (
        "Autocorrelation RMSE",
        "root-mean-square difference of the torsions' autocorrelations over lags even on a log scale, up to half of "
        "the longest trajectory or a thirtieth of all frames.",
    ),
    "dynamical_content_rmse": (
        "Dynamical content RMSE",
        "the same of the dynamical content -d autocorrelation / d ln t.",
    ),
    "subframe_autocorrelation_rmse": (
        "Sub-frame autocorrelation RMSE",
        "for upsampling: root-mean-square difference of the torsions' autocorrelations at lags below the "
        "spacing of the key frames.",
    ),
    "subframe_dynamical_content_rmse": (
        "Sub-frame dynamical content RMSE",
        "the same of the dynamical content -d autocorrelation / d ln t.",
    ),
    "step_rms_deg": (
        "Step (°)",
        "root-mean-square change of a torsion from one frame to the next; jitter on a right motion shows here first.",
    ),
    "step_log10_error": ("Step error", "mean absolute difference of log10 of these steps over torsions."),
    "path_valid_share": (
        "Valid paths",
        "share of paths between the two lumped states of lowest flux, 20 lags long, drawn from the row's own Markov "
        "model, that the reference's model allows.",
    ),
    "path_occupancy_jsd": (
        "Path JSD",
        "Jensen-Shannon distance of the states visited on those paths from the exact bridges of the reference's model.",
    ),
    "path_log_probability": (
        "Path ln p",
        "mean log-probability of the valid paths under the reference's model, given their ends.",
    ),
    "energy_kJ_mol": ("Energy (kJ/mol)", "mean energy by the force field, in all and by term."),
    "energy_jsd": ("Energy JSD", "Jensen-Shannon distance of the energies, 50 bins over the reference's range."),
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
    "closest_nm": (
        "Closest contact (nm)",
        "mean over frames of the smallest distance between two heavy atoms more than three bonds apart.",
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


DISTANCES = (
    "torsion_jsd", "torsion_pair_jsd", "tica_jsd", "free_energy_rmse_kT", "outside_share", "occupancy_jsd",
    "decorrelation_log10_error", "autocorrelation_rmse", "step_log10_error", "dynamical_content_rmse",
    "subframe_autocorrelation_rmse", "subframe_dynamical_content_rmse",
    "first_passage_log10_error", "flux_spearman", "path_valid_share", "path_occupancy_jsd", "energy_jsd",
    "ramachandran_outlier_share",
)  # fmt: skip
"""Metrics of a row against the reference; of the reference itself they say nothing."""


def says_something(row: str, metric: str) -> bool:
    """Whether a metric says anything of a row: distances from the reference do not of the reference itself."""
    return not (row == "reference" and metric.partition("/")[0] in DISTANCES)
