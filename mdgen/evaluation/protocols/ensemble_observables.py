"""Contacts and solvent exposure of an ensemble of a protein, as AlphaFlow reports them (section 4.3, appendix B.3)."""

import mdtraj
import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial.distance import pdist

CONTACT_NM = 0.8
"""C-alpha distance below which two residues are in contact."""

RARE = 0.1
"""Share of frames above which a contact that the structure has is weak, one that it has not is transient, and a buried
residue is exposed."""

EXPOSED_NM2 = 0.02
"""Solvent-accessible area of a side chain above which it is exposed: 2 square angstrom (Porter et al., 2019)."""

PROBE_NM = 0.28
BACKBONE = ("CA", "C", "N", "O", "OXT")


def contact_shares(alpha: Float[np.ndarray, "frame alpha 3"]) -> Float[np.ndarray, "pair"]:
    """Share of frames in which each pair of residues is in contact, pairs in the order of `scipy`'s `pdist`."""
    shares = np.zeros(alpha.shape[1] * (alpha.shape[1] - 1) // 2)
    for frame in alpha:
        shares += pdist(frame) < CONTACT_NM
    return shares / len(alpha)


def weak_contacts(structure: Bool[np.ndarray, "pair"], shares: Float[np.ndarray, "pair"]) -> Bool[np.ndarray, "pair"]:
    """Contacts of the structure that dissociate in more than a tenth of the frames."""
    return structure & (shares < 1 - RARE)


def transient_contacts(
    structure: Bool[np.ndarray, "pair"], shares: Float[np.ndarray, "pair"]
) -> Bool[np.ndarray, "pair"]:
    """Pairs that the structure does not have in contact and that associate in more than a tenth of the frames."""
    return ~structure & (shares > RARE)


def exposures(
    positions: Float[np.ndarray, "frame heavy 3"], topology: mdtraj.Topology
) -> Bool[np.ndarray, "frame residue"]:
    """Whether each residue's side chain is exposed to the solvent: Shrake-Rupley, probe of 0.28 nm, no hydrogens."""
    areas = mdtraj.shrake_rupley(mdtraj.Trajectory(positions, topology), probe_radius=PROBE_NM)
    side = np.zeros((topology.n_atoms, topology.n_residues))
    for atom in topology.atoms:
        side[atom.index, atom.residue.index] = atom.name not in BACKBONE
    return areas @ side > EXPOSED_NM2


def exposed_residues(
    structure: Bool[np.ndarray, "residue"], exposed: Bool[np.ndarray, "frame residue"]
) -> Bool[np.ndarray, "residue"]:
    """Residues buried in the structure and exposed in more than a tenth of the frames."""
    return ~structure & (exposed.mean(0) > RARE)


def exposure_information(exposed: Bool[np.ndarray, "frame residue"]) -> Float[np.ndarray, "residue residue"]:
    """Mutual information in nats of the exposure of any two residues; zero on the diagonal, as in the original.

    >>> states = np.array([[True, True], [False, False]])
    >>> print(exposure_information(states)[0, 1].round(4))
    0.6931
    """
    on = exposed.astype(np.float64)
    information = np.zeros((on.shape[1], on.shape[1]))
    for first in (on, 1 - on):
        for second in (on, 1 - on):
            joint = first.T @ second / len(on)
            apart = first.mean(0)[:, None] * second.mean(0)[None, :]
            ratio = np.divide(joint, apart, out=np.ones_like(joint), where=joint > 0)
            information += joint * np.log(ratio)
    np.fill_diagonal(information, 0.0)
    return information


def jaccard(first: Bool[np.ndarray, "member"], second: Bool[np.ndarray, "member"]) -> float:
    """Shared members over all members of two sets; NaN where both are empty.

    >>> jaccard(np.array([True, True, False]), np.array([True, False, False]))
    0.5
    """
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else float("nan")
