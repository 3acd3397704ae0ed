"""Many replicas of one small molecule, sixteen to a SIMD block: the engine's fast path on processors."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.md.engines.lanes.integration import dynamics
from mdgen.md.engines.lanes.lane_kernel import LaneKernel, aligned, draw_seed
from mdgen.md.engines.lanes.lanes import LANES
from mdgen.md.engines.lanes.random import WORDS, seeded_streams
from mdgen.md.engines.lanes.replicas.constraint_tables import constraint_tables
from mdgen.md.engines.lanes.replicas.force_tables import force_tables
from mdgen.md.engines.lanes.replicas.replica_steps import ENERGY_TERMS, WorkSpace, advance_block, energy_block
from mdgen.md.force_field.parameters import ForceFieldParameters

MOST_ATOMS = 500


class ReplicaKernel(LaneKernel):
    """Langevin or constant-energy dynamics of `n_replicas` copies of a molecule, without cutoff or box.

    The replicas never influence one another, not even in rounding: each gives the same trajectory bit for bit whatever
    the others do and however many there are. A molecule's centre is put back to the origin every thousand steps, since
    single precision would fade as it diffuses away; positions are defined up to a translation.

    Nothing is checked for instabilities while steps run: look whether positions are finite. A replica that has diverged
    costs no time and harms no other. A call cannot be interrupted; ask for a second's worth of steps at a time.

    Without friction, rounding in single precision heats alanine dipeptide by about 1 kJ/mol a nanosecond; take `double`
    where the energy has to be conserved. Any friction makes that negligible.

    Args:
        parameters: the force field; constraints must be bonds whose coupling converges fast, such as bonds to hydrogen.
        n_replicas: number of copies; multiples of 16 waste nothing.
        timestep_ps: time step.
        temperature_K: one number, or one a replica.
        friction_per_ps: collision rate; 0 conserves the energy.
        generator: source of the seed of the random streams, one a replica; advanced by one draw.
        precision: `single` or `double` (for tests, slower by about five).
        threads: processor threads; None for torch's number.

    Raises:
        MdgenError: for settings out of range.
    """

    def __init__(
        self,
        parameters: ForceFieldParameters,
        n_replicas: int,
        timestep_ps: float,
        temperature_K: float | Float[Tensor, "replica"],
        friction_per_ps: float,
        generator: torch.Generator,
        precision: str = "single",
        threads: int | None = None,
    ) -> None:
        super().__init__(parameters, n_replicas, timestep_ps, friction_per_ps, precision, threads)
        _check_molecule(parameters)
        self.n_blocks = -(-n_replicas // LANES)
        self._tables = force_tables(parameters, self.dtype)
        self._constraints = constraint_tables(parameters, self.dtype)
        masses = parameters.masses.detach().cpu().numpy()
        self._dynamics = dynamics(masses, timestep_ps, friction_per_ps, self.dtype)
        self._positions = aligned((self.n_blocks, self.n_atoms, 3, LANES), self.dtype)
        self._velocities = aligned((self.n_blocks, self.n_atoms, 3, LANES), self.dtype)
        self._thermal = aligned((self.n_blocks, 1, LANES), self.dtype)
        self._random = aligned((self.n_blocks, WORDS, LANES), np.uint32)
        self._random[:] = self._pack(seeded_streams(draw_seed(generator), n_replicas))
        self.set_temperature(temperature_K)

    def set_state(
        self,
        positions: Float[Tensor, "replica atom 3"] | Float[np.ndarray, "replica atom 3"],
        velocities: Float[Tensor, "replica atom 3"] | Float[np.ndarray, "replica atom 3"],
    ) -> None:
        """Put every replica at `positions` (nm), moved so that its centre is the origin, with `velocities` (nm/ps)."""
        self._check_shapes(positions, velocities)
        where = np.asarray(positions, dtype=np.float64)
        self._positions[:] = self._pack(where - where.mean(1, keepdims=True))
        self._velocities[:] = self._pack(np.asarray(velocities))

    def energies_and_forces(
        self,
    ) -> tuple[dict[str, Float[np.ndarray, "replica"]], Float[np.ndarray, "replica atom 3"]]:
        """Potential energy of each term in kJ/mol, and forces in kJ/mol/nm, at the present positions."""
        energies = np.zeros((self.n_blocks, len(ENERGY_TERMS), LANES), self.dtype)
        forces = aligned(self._positions.shape, self.dtype)

        def evaluate(block: int, work: WorkSpace) -> None:
            energy_block(self._positions[block], forces[block], self._tables, work, energies[block])

        self._each_task(evaluate)
        by_term = self._unpack(energies)
        return {term: by_term[:, row] for row, term in enumerate(ENERGY_TERMS)}, self._unpack(forces)

    def _run(self, n_steps: int, every: int, frames: np.ndarray) -> None:
        def advance(block: int, work: WorkSpace) -> None:
            advance_block(
                block,
                self._positions,
                self._velocities,
                self._random,
                self._thermal,
                self._tables,
                self._constraints,
                self._dynamics,
                work,
                self.steps_done,
                n_steps,
                every,
                frames,
            )

        self._each_task(advance)
        self.steps_done += n_steps

    def _frames(self, n_frames: int) -> np.ndarray:
        return np.empty((self.n_blocks * LANES, n_frames, self.n_atoms, 3), np.float32)

    def _work_space(self) -> WorkSpace:
        n = self.n_atoms
        pairs = n * (n - 1) // 2 if len(self._tables.born_atoms) else 0
        return WorkSpace(
            pairs=aligned((pairs, 4, LANES), self.dtype),
            born=aligned((4, n, LANES), self.dtype),
            forces=aligned((n, 3, LANES), self.dtype),
            previous=aligned((n, 3, LANES), self.dtype),
            noise=aligned((3 * n + (3 * n) % 2, LANES), self.dtype),
        )

    def _pack(self, values: np.ndarray) -> np.ndarray:
        """(replica, ...) to (block, ..., lane); lanes beyond the last replica repeat it."""
        padded = values[np.minimum(np.arange(self.n_blocks * LANES), self.n_replicas - 1)]
        return np.moveaxis(padded.reshape(self.n_blocks, LANES, *values.shape[1:]), 1, -1)

    def _unpack(self, values: np.ndarray) -> np.ndarray:
        replicas = np.moveaxis(values, -1, 1).reshape(self.n_blocks * LANES, *values.shape[1:-1])
        return replicas[: self.n_replicas].copy()


def _check_molecule(parameters: ForceFieldParameters) -> None:
    if parameters.cutoff is not None:
        raise MdgenError(
            f"the force field has a cutoff of {parameters.cutoff.distance_nm} nm, but the many-replica kernel does all "
            "pairs; build the system without one or use the torch engine"
        )
    if parameters.n_atoms > MOST_ATOMS:
        raise MdgenError(
            f"the molecule has {parameters.n_atoms} atoms, but the many-replica kernel, which does all pairs, takes "
            f"at most {MOST_ATOMS}; use the torch engine"
        )
