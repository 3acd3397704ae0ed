"""Many replicas of one small molecule, sixteen to a SIMD block: the engine's fast path on processors."""

import numpy as np

from mdgen.md.engines.lanes.bonded_terms import as_numpy
from mdgen.md.engines.lanes.integration import dynamics
from mdgen.md.engines.lanes.lane_kernel import EnergiesAndForces, LaneKernel, Motion, aligned
from mdgen.md.engines.lanes.layouts import in_lanes
from mdgen.md.engines.lanes.replicas.constraint_tables import constraint_tables
from mdgen.md.engines.lanes.replicas.force_tables import force_tables
from mdgen.md.engines.lanes.replicas.replica_steps import ENERGY_TERMS, Model, WorkSpace, advance_block, energy_block
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.simd.lanes import LANES
from mdgen.simd.random import seeded_streams


class ReplicaKernel(LaneKernel):
    """Langevin or constant-energy dynamics of `n_replicas` copies of a molecule, without a box.

    Of cutoffs it knows those of generalised Born.

    The replicas never influence one another, not even in rounding: each gives the same trajectory bit for bit whatever
    the others do and however many there are. A molecule's centre is put back to the origin every thousand steps, since
    single precision would fade as it diffuses away; positions are defined up to a translation.

    Without friction, rounding in single precision heats alanine dipeptide by about 1 kJ/mol a nanosecond; take `double`
    where the energy has to be conserved. Any friction makes that negligible.

    Constraints must be bonds whose coupling converges fast, such as bonds to hydrogen. Multiples of 16 replicas waste
    nothing; double precision, for tests, is slower by about five.
    """

    name = "kernel"  # as users call the engine: what it runs on by default

    def _lay_out(self, parameters: ForceFieldParameters, friction_per_ps: float, seed: int) -> Motion:
        self.n_blocks = self.tasks(self.n_replicas, self.n_atoms)
        self._model = Model(
            force_tables(parameters, self.dtype),
            constraint_tables(parameters, self.dtype),
            dynamics(as_numpy(parameters.masses), self.timestep_ps, friction_per_ps, self.dtype),
        )
        streams = self._pack(seeded_streams(seed, self.n_replicas))
        state = Motion(
            positions=aligned((self.n_blocks, self.n_atoms, 3, LANES), self.dtype),
            velocities=aligned((self.n_blocks, self.n_atoms, 3, LANES), self.dtype),
            random=aligned(streams.shape, np.uint32),
            thermal=aligned((self.n_blocks, 1, LANES), self.dtype),
        )
        state.random[:] = streams
        return state

    @classmethod
    def tasks(cls, n_replicas: int, n_atoms: int) -> int:
        """The blocks of sixteen replicas."""
        return -(-n_replicas // LANES)

    def energies_and_forces(self) -> EnergiesAndForces:
        """Energies by term, and forces."""
        energies = np.zeros((self.n_blocks, len(ENERGY_TERMS), LANES), self.dtype)
        forces = aligned(self._state.positions.shape, self.dtype)

        def evaluate(block: int, work: WorkSpace) -> None:
            energy_block(self._state.positions[block], forces[block], self._model.tables, work, energies[block])

        self._each_task(evaluate)
        by_term = self._unpack(energies)
        return {term: by_term[:, row] for row, term in enumerate(ENERGY_TERMS)}, self._unpack(forces)

    def _run(self, n_steps: int, every: int, frames: np.ndarray) -> None:
        def advance(block: int, work: WorkSpace) -> None:
            advance_block(block, self._state, self._model, work, self.steps_done, n_steps, every, frames)

        self._each_task(advance)
        self.steps_done += n_steps

    def _frames(self, n_frames: int) -> np.ndarray:
        return np.empty((self.n_blocks * LANES, n_frames, self.n_atoms, 3), np.float32)

    def _work_space(self) -> WorkSpace:
        n = self.n_atoms
        pairs = n * (n - 1) // 2 if len(self._model.tables.born_atoms) else 0
        return WorkSpace(
            pairs=aligned((pairs, 4, LANES), self.dtype),
            born=aligned((4, n, LANES), self.dtype),
            forces=aligned((n, 3, LANES), self.dtype),
            previous=aligned((n, 3, LANES), self.dtype),
            noise=aligned((3 * n + (3 * n) % 2, LANES), self.dtype),
        )

    def _pack(self, values: np.ndarray) -> np.ndarray:
        """(replica, ...) to (block, ..., lane)."""
        return in_lanes(values)

    def _unpack(self, values: np.ndarray) -> np.ndarray:
        replicas = np.moveaxis(values, -1, 1).reshape(self.n_blocks * LANES, *values.shape[1:-1])
        return replicas[: self.n_replicas].copy()
