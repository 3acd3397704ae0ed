"""What the metrics of the protocols are called in tables, and what they mean; in the order of the tables.

A name may be followed by `/` and what it was measured on.
"""

from mdgen.evaluation.metrics.target import Description, distance

PROTOCOL_METRICS: dict[str, dict[str, Description]] = {
    "mdgen": {
        "torsion_jsd": distance("Torsion JSD", "Jensen-Shannon distance of phi, psi or chi, 100 bins, without omega."),
        "torsion_pair_jsd": distance("phi, psi JSD", "the same over 50 x 50 bins of phi and psi of a residue."),
        "tica_jsd": distance("TICA JSD", "the same over TICA-0, 100 bins, or TICA-0,1, 50 x 50, at 100 ps."),
        "occupancy_jsd": distance(
            "MSM states JSD",
            "the same over 10 metastable states: shares of frames, or stationary distributions of the two models.",
        ),
        "flux_spearman": Description(
            "Flux Spearman",
            "rank correlation with the reference's of T_ij pi_j, as the original has it, between different metastable "
            "states; `all` counts the diagonal too.",
        ),
        "decorrelation_log10_error": distance(
            "Decorrelation error", "mean absolute difference of log10 decorrelation times: 0.3 is a factor of two."
        ),
        "decorrelation_pearson": Description(
            "Decorrelation r", "correlation over torsions of log10 decorrelation times with the reference's."
        ),
        "path_jsd": distance(
            "Path JSD", "Jensen-Shannon distance of the states on interpolations from the reference's bridges."
        ),
        "path_valid_share": Description("Valid paths", "share of interpolations that the reference's model allows."),
        "path_probability": Description(
            "Path probability",
            "mean probability under the reference's model, given its ends, of all interpolations or of valid ones.",
        ),
    },
    "proteins": {
        "pairwise_rmsd_A": Description("Pairwise RMSD (Å)", "mean C-alpha RMSD between any two frames."),
        "reference_pairwise_rmsd_A": Description("of MD", "the same of the reference."),
        "pairwise_rmsd_pearson": Description("Pairwise RMSD r", "its correlation over proteins with the reference's."),
        "rmsf_A": Description("RMSF (Å)", "median fluctuation of heavy atoms about their means."),
        "reference_rmsf_A": Description("of MD", "the same of the reference."),
        "rmsf_pearson": Description(
            "RMSF r",
            "correlation of the fluctuations with the reference's, over the atoms of one protein (`target`) or of all "
            "(`global`).",
        ),
        "rmwd_A": distance(
            "RMWD (Å)",
            "root mean Wasserstein distance of the Gaussians of atoms; the root of the squares of its parts.",
        ),
        "rmwd_translation_A": distance("RMWD, translation (Å)", "the part of the atoms' means."),
        "rmwd_variance_A": distance("RMWD, variance (Å)", "the part of their covariances."),
        "md_pca_w2_A": distance(
            "MD PCA W2 (Å)", "Wasserstein distance in the first two principal components of the reference."
        ),
        "joint_pca_w2_A": distance("Joint PCA W2 (Å)", "the same in those of both sets together, weighted equally."),
        "pc_cosine": Description("PC cosine", "absolute cosine of the first principal components of the two sets."),
        "pc_success_percent": Description("PC cosine > 0.5 (%)", "share of proteins where it is above 0.5."),
        "weak_contacts_jaccard": Description(
            "Weak contacts J",
            "Jaccard similarity of the contacts of the static structure that break in over a tenth of the frames.",
        ),
        "transient_contacts_jaccard": Description(
            "Transient contacts J", "the same of contacts that it has not and that form in over a tenth of the frames."
        ),
        "exposed_residues_jaccard": Description(
            "Exposed residues J",
            "the same of residues whose side chain is buried in it and exposed in over a tenth of the frames.",
        ),
        "exposure_information_spearman": Description(
            "Exposed MI rho", "rank correlation of the mutual information of the exposure of any two residues."
        ),
        "coverage": Description("Coverage", "share of the reference's states, below 4 kcal/mol, that are sampled."),
        "free_energy_mae_kcal_mol": distance(
            "F MAE (kcal/mol)", "mean absolute error of the free energy of the states that are sampled."
        ),
    },
}


def protocol_label(protocol: str, metric: str) -> str:
    """The heading of a metric in tables.

    >>> protocol_label("mdgen", "torsion_jsd/all"), protocol_label("proteins", "coverage")
    ('Torsion JSD, all', 'Coverage')
    """
    kind, _, what = metric.partition("/")
    label = PROTOCOL_METRICS[protocol][kind].label
    return f"{label}, {what}" if what else label


def is_general(metric: str) -> bool:
    """Whether a metric means the same for every molecule: not that of one torsion or residue.

    >>> is_general("torsion_pair_jsd/ALA2"), is_general("torsion_jsd/phi ALA2"), is_general("torsion_jsd/all")
    (False, False, True)
    """
    kind, _, what = metric.partition("/")
    return " " not in what and (kind != "torsion_pair_jsd" or what == "all")
