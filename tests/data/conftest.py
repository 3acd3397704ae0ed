"""Small molecules and trajectories that the tests of this room share."""

import mdtraj
import numpy as np
import pytest

from mdgen.molecule.topology import Molecule


def argon(n_atoms: int = 3) -> Molecule:
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for index in range(n_atoms):
        topology.add_atom("AR", mdtraj.element.argon, topology.add_residue("AR", chain, resSeq=index + 1))
    return Molecule.from_mdtraj(topology)


def walk(n_frames: int, seed: int = 0, n_atoms: int = 12) -> np.ndarray:
    """A random walk of all atoms, in nm."""
    rng = np.random.default_rng(seed)
    start, steps = rng.normal(size=(1, n_atoms, 3)), 0.02 * rng.normal(size=(n_frames, n_atoms, 3))
    return (start + np.cumsum(steps, axis=0)).astype(np.float32)


@pytest.fixture
def molecule() -> Molecule:
    return argon(12)
