"""Numbers that papers report under the same definitions, on their own data: for orientation, never a comparison.

Those of AlphaFlow are from the paper itself. The tables of the other papers were not at hand; what stands here was read
through the accounts that `account` names, and the rest is left out.
"""

from dataclasses import dataclass

MDGEN = "Jing et al., Generative Modeling of Molecular Dynamics Trajectories, NeurIPS 2024, arXiv:2409.17808"
ALPHAFLOW = "Jing et al., AlphaFold Meets Flow Matching for Generating Protein Ensembles, ICML 2024, arXiv:2402.04845"
CONFROVER = (
    "Shen et al., Simultaneous Modeling of Protein Conformation and Dynamics via Autoregression, arXiv:2505.17478"
)
BIOEMU = "Lewis et al., Scalable emulation of protein equilibrium ensembles, Science 2025, doi:10.1126/science.adv9817"
TETRAPEPTIDES = "100 test tetrapeptides in explicit solvent, 100 ns each; averages"
ATLAS = "82 test proteins of ATLAS in explicit solvent, 3 x 100 ns each; medians"


@dataclass(frozen=True)
class Published:
    """One column of a published table.

    Args:
        protocol: protocol whose definitions it follows.
        model: model or simulation that was judged.
        data: molecules that it was judged on.
        source: paper.
        values: numbers by our name of the metric; lengths in angstrom.
        account: text through which the paper was read, where not the paper itself.
    """

    protocol: str
    model: str
    data: str
    source: str
    values: dict[str, float]
    account: str = ""


def _mdgen(model: str, torsions: float, **more: float) -> Published:
    values = {"torsion_jsd/all": torsions, **more}
    return Published("mdgen", model, TETRAPEPTIDES, f"{MDGEN}, table 2", values, "a published reading of its full text")


_ENSEMBLE = ("pairwise_rmsd_A", "pairwise_rmsd_pearson", "rmsf_A", "rmsf_pearson/global", "rmsf_pearson/target",
             "rmwd_A", "rmwd_translation_A", "rmwd_variance_A", "md_pca_w2_A", "joint_pca_w2_A", "pc_success_percent",
             "weak_contacts_jaccard", "transient_contacts_jaccard", "exposed_residues_jaccard",
             "exposure_information_spearman")  # fmt: skip


def _ensemble(model: str, source: str, *values: float | None, account: str = "") -> Published:
    found = {name: value for name, value in zip(_ENSEMBLE, values, strict=True) if value is not None}
    return Published("proteins", model, ATLAS, source, found, account)


_BIOMD = "the baselines that a later reproduction collected (AnewSampling, table 1)"
_NOTES = "published reading notes of it"

TABLES = (
    _mdgen("MDGen, 100 ns", 0.109, flux_spearman=0.67),
    _mdgen("MD, 100 ns", 0.076),
    _mdgen("MD, 10 ns", 0.125),
    _mdgen("MD, 1 ns", 0.240),
    _mdgen("MD, 100 ps", 0.364),
    _ensemble("AlphaFlow-MD", f"{ALPHAFLOW}, table 1",
              2.89, 0.48, 1.68, 0.60, 0.85, 2.61, 2.28, 1.30, 1.52, 2.25, None, 0.62, 0.41, 0.50, 0.25),
    _ensemble("AlphaFlow-MD, templates", f"{ALPHAFLOW}, table 1 and assets/12l_md_templates.md of its repository",
              2.18, 0.94, 1.31, 0.91, 0.90, 1.95, 1.64, 1.01, 1.25, 1.58, 44.0, 0.62, 0.47, 0.50, 0.25),
    _ensemble("AlphaFold", f"{ALPHAFLOW}, table 1",
              0.58, 0.10, 0.31, 0.21, 0.52, 3.58, 2.86, 2.27, 1.99, 2.86, None, 0.27, 0.28, 0.32, 0.02),
    _ensemble("MDGen", MDGEN,
              None, 0.48, None, 0.50, 0.71, 2.69, None, None, 1.89, None, None, 0.51, None, 0.29, None, account=_BIOMD),
    _ensemble("ConfRover", CONFROVER,
              None, 0.51, None, None, 0.85, 2.66, None, None, 1.47, None, None, None, None, None, None, account=_NOTES),
    _ensemble("BioEmu", BIOEMU,
              None, 0.46, None, 0.57, 0.71, 4.32, 4.04, 1.77, 1.97, 3.98, 51.0, 0.33, None, None, 0.07, account=_BIOMD),
)  # fmt: skip


def published(protocol: str) -> tuple[Published, ...]:
    """The columns of a protocol."""
    return tuple(column for column in TABLES if column.protocol == protocol)
