"""ACE-ALA-NME with torsions of one's choice: a toy dynamics whose every law is known."""

import mdtraj
import numpy as np

from mdgen.data.trajectories import TrajectorySet
from mdgen.molecule.topology import Molecule
from tests.evaluation.faults import turned

ATOMS = """ACE CH3 0.014 0.339 0.1474
ACE H1 0.0852 0.3707 0.0713
ACE H2 -0.0862 0.3704 0.1186
ACE H3 0.0403 0.384 0.243
ACE C 0.0175 0.1884 0.1593
ACE O 0.0467 0.1356 0.2666
ALA N -0.0119 0.12 0.0489
ALA H -0.0331 0.1726 -0.0347
ALA CA -0.0145 -0.0262 0.0379
ALA HA 0.0595 -0.0682 0.1063
ALA C 0.0215 -0.0747 -0.1043
ALA O 0.0105 0.0002 -0.2021
ALA CB -0.1532 -0.0762 0.0806
ALA HB1 -0.1745 -0.0442 0.1827
ALA HB2 -0.1562 -0.1851 0.0768
ALA HB3 -0.2295 -0.0361 0.0137
NME N 0.0631 -0.2015 -0.116
NME H 0.0685 -0.2569 -0.0316
NME C 0.1008 -0.2657 -0.242
NME H1 0.1839 -0.2118 -0.288
NME H2 0.1314 -0.3688 -0.2237
NME H3 0.0162 -0.2656 -0.3108"""
BONDS = "0-1 0-2 0-3 6-7 8-9 12-13 12-14 12-15 16-17 18-19 18-20 18-21 0-4 4-5 4-6 8-10 10-11 8-12 6-8 10-16 16-18"
PHI, PSI = (4, 6, 8, 10), (6, 8, 10, 16)

WELLS = np.radians([[-75.0, -15.0], [-75.0, 150.0], [60.0, 40.0]])
TRANSITIONS = np.array([[0.95, 0.04, 0.01], [0.05, 0.94, 0.01], [0.02, 0.02, 0.96]])
"""The toy dynamics: a Markov chain over three wells of (phi, psi) with one step a frame."""


def molecule() -> Molecule:
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    residues: dict[str, mdtraj.core.topology.Residue] = {}
    atoms = []
    for line in ATOMS.splitlines():
        residue, name = line.split()[:2]
        if residue not in residues:
            residues[residue] = topology.add_residue(residue, chain, resSeq=len(residues) + 1)
        atoms.append(topology.add_atom(name, mdtraj.element.get_by_symbol(name[0]), residues[residue]))
    for bond in BONDS.split():
        first, second = bond.split("-")
        topology.add_bond(atoms[int(first)], atoms[int(second)])
    return Molecule.from_mdtraj(topology)


def positions() -> np.ndarray:
    """One frame, nm."""
    return np.array([line.split()[2:] for line in ATOMS.splitlines()], dtype=float)


def rotated(frames: np.ndarray, torsion: tuple[int, int, int, int], angles: np.ndarray) -> np.ndarray:
    """The frames with the torsion turned by `angles`, one a frame."""
    return turned(frames, molecule(), torsion, angles)


def chain(n_frames: int, rng: np.random.Generator) -> np.ndarray:
    """States of the toy dynamics."""
    draws, cumulative, states = rng.random(n_frames), TRANSITIONS.cumsum(1), np.zeros(n_frames, dtype=int)
    states[0] = rng.integers(3)
    for i in range(1, n_frames):
        states[i] = min(2, np.searchsorted(cumulative[states[i - 1]], draws[i]))
    return states


def trajectory(n_frames: int, seed: int) -> np.ndarray:
    """Positions of the toy dynamics with vibrating bonds, float32 in nm."""
    rng = np.random.default_rng(seed)
    angles = WELLS[chain(n_frames, rng)] + np.radians(12) * rng.normal(size=(n_frames, 2))
    frames = np.broadcast_to(positions(), (n_frames, 22, 3))
    start = mdtraj.compute_dihedrals(mdtraj.Trajectory(positions()[None], molecule().topology), [PHI, PSI])[0]
    frames = rotated(rotated(frames, PHI, angles[:, 0] - start[0]), PSI, angles[:, 1] - start[1])
    return (frames + 0.001 * rng.normal(size=frames.shape)).astype(np.float32)


def toy_set(n_trajectories: int = 6, n_frames: int = 1500, seed: int = 0, spacing_ps: float = 1.0) -> TrajectorySet:
    arrays = [trajectory(n_frames, 1000 * seed + i) for i in range(n_trajectories)]
    return TrajectorySet.from_arrays(molecule(), spacing_ps, arrays)
