"""The engine on compiled kernels for processors: replicas of a molecule, few or many, or boxes with a cutoff."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.interfaces import Energies, Integrator, Positions, State, System
from mdgen.md.engines.base_engine import Engine, Recording, beyond_force_field, constant_volume
from mdgen.md.engines.lanes.bonded_terms import HIGHEST_PERIODICITY
from mdgen.md.engines.lanes.box.box_kernel import BoxKernel
from mdgen.md.engines.lanes.lane_kernel import LaneKernel
from mdgen.md.engines.lanes.molecule.molecule_kernel import MOST_ATOMS, MoleculeKernel
from mdgen.md.engines.lanes.replicas.constraint_tables import MOST_SWEEPS, sweeps_needed
from mdgen.md.engines.lanes.replicas.replica_kernel import ReplicaKernel
from mdgen.md.force_field.force_field import force_field_of
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.simd.lanes import LANES

_ATOMS_OF_A_LANE = 36


class KernelEngine(Engine):
    """Langevin dynamics, or leapfrog without friction, of a force field.

    Without a cutoff, and in generalised Born with one, many replicas run on `lanes.ReplicaKernel`, where multiples of
    16 waste nothing, and few on `lanes.MoleculeKernel`, where each fills the lanes by itself, see `kernel_class`; both
    move the centre of every replica to the origin. Any other system with a cutoff runs on `lanes.BoxKernel`: positions
    are never wrapped into the box, so that molecules stay whole and diffusion can be read off a trajectory.
    `MoleculeKernel` and `BoxKernel` keep positions and velocities in double precision.
    """

    name = "kernel"
    compiles = True

    def _set_up(self, system: System, integrator: Any, generator: torch.Generator, threads: int, device: str) -> None:
        parameters = force_field_of(system.potential).parameters.of_system(system)
        self._kernel = kernel_class(parameters, self.n_replicas)(
            parameters,
            self.n_replicas,
            integrator.timestep_ps,
            integrator.temperature_K,
            integrator.friction_per_ps,
            generator,
            self.precision,
            threads,
        )

    @classmethod
    def lacks(
        cls, system: System, integrator: Integrator, device: str = "cpu", pressure_bar: float | None = None
    ) -> str | None:
        """What the kernels do not have of what is asked for, in words; None if they have everything."""
        beyond = beyond_force_field(system, integrator)
        if beyond is not None:
            return beyond
        if device != "cpu":
            return f"the device {device} (only cpu)"
        if not bool(system.masses.isfinite().all()):
            return "atoms of infinite mass"
        field = force_field_of(system.potential)
        return constant_volume(pressure_bar) or field.not_computed or _beyond_kernels(field.parameters)

    @property
    def settings(self) -> dict:
        """Engine, kernel, precision and integrator, as plain JSON."""
        return super().settings | {"engine": self._kernel.name}

    def prepare(self, state: State) -> None:
        """Continue from `state`, which must have a cell if the force field is periodic."""
        self._kernel.set_state(state.positions, state.velocities, state.cell)
        self._kernel.steps_done = state.step

    def set_temperature(self, temperature_K: Float[Tensor, "temperature"]) -> None:
        """Change the temperature of the thermostat from here on."""
        self._kernel.set_temperature(temperature_K)

    def advance(self, n_steps: int) -> State:
        """Advance by `n_steps`."""
        kernel = self._kernel
        kernel.advance(n_steps)
        positions, velocities = torch.from_numpy(kernel.positions()), torch.from_numpy(kernel.velocities())
        state = State(positions, velocities, kernel.steps_done)
        cells = kernel.cells
        return state if cells is None else replace(state, cell=torch.from_numpy(cells.copy()))

    def record(self, n_frames: int, steps_per_frame: int) -> Recording:
        """Advance by `n_frames * steps_per_frame` steps and return the frames."""
        frames, cells = self._kernel.record(n_frames, steps_per_frame), self._kernel.cells
        if cells is None:
            return Recording(frames)
        vectors = cells[:, None, :, None].astype(np.float32) * np.eye(3, dtype=np.float32)
        return Recording(frames, np.repeat(vectors, n_frames, axis=1))

    def potential_energy(self) -> Float[np.ndarray, "replica"]:
        """Potential energy in kJ/mol now."""
        return self._kernel.potential_energy()

    def energy_and_forces(self, positions: Positions) -> tuple[Energies, Positions]:
        """Energies and forces as the kernel computes them; the state of the replicas is lost."""
        self._kernel.set_state(positions, torch.zeros_like(positions))
        by_term, forces = self._kernel.energies_and_forces()
        energies = sum(by_term.values(), np.zeros(self.n_replicas))
        return torch.from_numpy(energies).to(positions), torch.from_numpy(forces).to(positions)

    def state_dict(self) -> dict[str, Tensor]:
        """Positions, velocities, random streams, temperatures and the step."""
        return self._kernel.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` gave."""
        self._kernel.load_state_dict(state)


def kernel_class(parameters: ForceFieldParameters, n_replicas: int) -> type[LaneKernel]:
    """The kernel for a force field and a number of replicas, chosen by them alone so that threads change nothing.

    Without a cutoff, and in generalised Born with one, it is about the one that takes less processor time. Sixteen
    replicas in the lanes cost as much as some `1 + n_atoms / 36` replicas one by one: measured in generalised Born
    without a cutoff, 1.7 of 22 atoms, 3.2 of 55, 5.9 of 138 and 12.4 of 408. Replicas whose constraints are so strongly
    coupled that no number of sweeps is known beforehand run one by one, too.
    """
    if parameters.cutoff is not None and parameters.born is None:
        return BoxKernel
    of_one = -(-n_replicas // LANES) * (1 + parameters.n_atoms / _ATOMS_OF_A_LANE)
    return MoleculeKernel if n_replicas < of_one or sweeps_needed(parameters) > MOST_SWEEPS else ReplicaKernel


def _beyond_kernels(parameters: ForceFieldParameters) -> str | None:
    born, n_atoms = parameters.born, parameters.n_atoms
    boxed = parameters.cutoff is not None and born is None
    periodicity = parameters.torsion_periodicity[parameters.torsion_k != 0]
    unknown = {
        "generalised Born beside a switched reaction field": born is not None
        and parameters.cutoff is not None
        and parameters.cutoff.switch_coulomb,
        "salt where solute and solvent have one permittivity": born is not None
        and bool(born.kappa_per_nm)
        and born.solute_dielectric == born.solvent_dielectric,
        f"room for {n_atoms} atoms (at most {MOST_ATOMS})": not boxed and n_atoms > MOST_ATOMS,
        f"torsions of a periodicity outside 1 to {HIGHEST_PERIODICITY}": bool(
            ((periodicity < 1) | (periodicity > HIGHEST_PERIODICITY)).any()
        ),
    }
    return next((words for words, there in unknown.items() if there), None)
