"""Few replicas of one molecule, whose pairs fill the lanes."""

import numpy as np

from mdgen.md.engines.lanes.lane_kernel import EnergiesAndForces, LaneKernel, Motion, aligned, motion_in_turn
from mdgen.md.engines.lanes.molecule.all_pairs import PairSpace
from mdgen.md.engines.lanes.molecule.molecule_steps import (
    ENERGY_TERMS,
    Model,
    WorkSpace,
    advance_molecule,
    molecule_energies,
)
from mdgen.md.engines.lanes.molecule.molecule_tables import molecule_tables
from mdgen.md.engines.lanes.molecule.parts import advance_in_parts
from mdgen.md.engines.lanes.rigid.whole_step import step_space, step_tables
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.simd.lanes import LANES

MOST_ATOMS = 5000
_NOWHERE_NM = 1e6
_PARTS = 8
"""Parts of a large molecule, and so the most threads that one uses."""
_ATOMS_OF_PARTS = 1000
"""Atoms of a large molecule: a step takes milliseconds from there on, and threads that wait for each other little."""


def _parts(n_atoms: int) -> int:
    """Parts of a molecule: by its size alone, not by the threads, since they decide the order of sums."""
    return _PARTS if n_atoms >= _ATOMS_OF_PARTS else 1


class MoleculeKernel(LaneKernel):
    """Langevin or constant-energy dynamics of `n_replicas` copies of a molecule, without a box.

    Of cutoffs it knows those of generalised Born. A replica costs the same however many there are, and none influences
    another. It runs on one thread or, from a thousand atoms on and where there are fewer replicas than threads, on
    several; neither number changes a bit of a trajectory. Positions and velocities are kept in double precision
    whatever the precision of the forces. A molecule's centre is put back to the origin every thousand steps, as
    `ReplicaKernel` does.
    """

    name = "molecule_kernel"

    def _lay_out(self, parameters: ForceFieldParameters, friction_per_ps: float, seed: int) -> Motion:
        self._parts = _parts(self.n_atoms)
        self._model = Model(
            molecule_tables(parameters, self.dtype),
            step_tables(parameters, self.dtype, self.timestep_ps, friction_per_ps),
        )
        return motion_in_turn(self.n_replicas, self.n_atoms, seed)

    @classmethod
    def tasks(cls, n_replicas: int, n_atoms: int) -> int:
        """The replicas, or the parts of one if it is large."""
        return max(n_replicas, _parts(n_atoms))

    def energies_and_forces(self) -> EnergiesAndForces:
        """Energies by term, and forces."""
        energies = np.zeros((self.n_replicas, len(ENERGY_TERMS)))
        forces = np.empty(self._state.positions.shape, self.dtype)

        def evaluate(replica: int, work: WorkSpace) -> None:
            molecule_energies(self._state.positions[replica], self._model, work, energies[replica])
            forces[replica] = work.step.forces

        self._each_task(evaluate)
        return {term: energies[:, row] for row, term in enumerate(ENERGY_TERMS)}, forces

    def _run(self, n_steps: int, every: int, frames: np.ndarray) -> None:
        def advance(replica: int, work: WorkSpace, threads: int = 1) -> None:
            run = self._state, self._model, work, self.steps_done, n_steps, every, frames[replica]
            if self._parts == 1:
                advance_molecule(replica, *run)
            else:
                advance_in_parts(replica, *run, threads)

        if self._parts > 1 and self.n_replicas < self.threads:
            work = self._work_space()
            for replica in range(self.n_replicas):
                advance(replica, work, min(self.threads, self._parts))
        else:
            self._each_task(advance)
        self.steps_done += n_steps

    def _work_space(self) -> WorkSpace:
        n = self.n_atoms
        blocks, parts = -(-n // LANES), self._parts
        ends = np.cumsum([blocks - i // LANES for i in range(n)])
        tables = self._model.pairs
        entries = ends[-1] if len(tables.born_atoms) else 0
        pairs = PairSpace(
            rows=np.searchsorted(ends, np.arange(parts + 1) * ends[-1] / parts, side="right"),
            coordinates=aligned((blocks, 3, LANES), self.dtype),
            descreened=aligned((parts, blocks, LANES), self.dtype),
            slopes=aligned((entries, 2, LANES), self.dtype),
            within=np.zeros(0 if tables.cutoff is None else entries, bool),
            born=aligned((parts, 4, blocks, LANES), self.dtype),
            forces=aligned((parts, blocks, 3, LANES), self.dtype),
        )
        pairs.coordinates[:] = _NOWHERE_NM
        return WorkSpace(pairs, step_space(n, self.dtype))
