"""Many replicas of one small molecule, sixteen to a SIMD block: the engine's fast path on processors."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.md.engines.lanes.constraints import constraint_tables
from mdgen.md.engines.lanes.forces import ENERGY_TERMS
from mdgen.md.engines.lanes.lanes import LANES
from mdgen.md.engines.lanes.random import WORDS, seeded_streams
from mdgen.md.engines.lanes.step import Dynamics, WorkSpace, advance_block, energy_block
from mdgen.md.engines.lanes.tables import force_tables
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.units import BOLTZMANN

MOST_ATOMS = 500
_DTYPES = {"single": np.float32, "double": np.float64}


class ReplicaKernel:
    """Langevin or constant-energy dynamics of `n_replicas` copies of a molecule, without cutoff or box.

    The replicas never influence one another, not even in rounding: each gives the same trajectory bit for bit whatever
    the others do and however many there are. A molecule's centre is put back to the origin every thousand steps, since
    single precision would fade as it diffuses away; positions mean something up to a translation.

    Nothing is checked for blow-ups while steps run: look whether positions are finite. A replica that has blown up
    costs no time and harms no other. A call cannot be interrupted; ask for a second's worth of steps at a time.

    Without friction, rounding in single precision heats alanine dipeptide by about 1 kJ/mol a nanosecond; take `double`
    where the energy has to be conserved. Any friction makes that negligible.

    Args:
        parameters: the force field; constraints must be bonds whose coupling converges fast, such as bonds to hydrogen.
        n_replicas: how many copies; multiples of 16 waste nothing.
        timestep_ps: the time step.
        temperature_K: one number, or one a replica.
        friction_per_ps: collision rate; 0 conserves the energy.
        generator: seeds the random streams, one a replica; advanced by one draw.
        precision: `single` or `double` (for tests, slower by about five).
        threads: processor threads; as many as torch uses by default.

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
        _check(parameters, n_replicas, timestep_ps, friction_per_ps, precision)
        self.n_replicas = n_replicas
        self.n_atoms = parameters.n_atoms
        self.timestep_ps = timestep_ps
        self.threads = threads or torch.get_num_threads()
        self.dtype = _DTYPES[precision]
        self.n_blocks = -(-n_replicas // LANES)
        self.steps_done = 0
        self._tables = force_tables(parameters, self.dtype)
        self._constraints = constraint_tables(parameters, self.dtype)
        self._dynamics = self._integrator(parameters, friction_per_ps)
        self._positions = _aligned((self.n_blocks, self.n_atoms, 3, LANES), self.dtype)
        self._velocities = _aligned((self.n_blocks, self.n_atoms, 3, LANES), self.dtype)
        self._thermal = _aligned((self.n_blocks, 1, LANES), self.dtype)
        self._random = _aligned((self.n_blocks, WORDS, LANES), np.uint32)
        self._random[:] = self._to_blocks(seeded_streams(_draw_seed(generator), n_replicas))
        self.set_temperature(temperature_K)

    def set_temperature(self, temperature_K: float | Float[Tensor, "replica"]) -> None:
        """Set the temperature in K of all replicas, or of each; velocities stay as they are."""
        temperatures = torch.as_tensor(temperature_K, dtype=torch.float64).expand(self.n_replicas).numpy()
        if not np.all(np.isfinite(temperatures) & (temperatures >= 0)):
            raise MdgenError(f"a temperature is {temperatures.min():g} K, but must be 0 K or more")
        self._thermal[:] = self._to_blocks(np.sqrt(BOLTZMANN * temperatures)[:, None])

    def set_state(
        self,
        positions: Float[Tensor, "replica atom 3"] | Float[np.ndarray, "replica atom 3"],
        velocities: Float[Tensor, "replica atom 3"] | Float[np.ndarray, "replica atom 3"],
    ) -> None:
        """Put every replica at `positions` (nm), moved so that its centre is the origin, with `velocities` (nm/ps)."""
        shape = (self.n_replicas, self.n_atoms, 3)
        for name, values in (("positions", positions), ("velocities", velocities)):
            if tuple(values.shape) != shape:
                raise MdgenError(f"the {name} have shape {tuple(values.shape)}, but the engine was made for {shape}")
        where = np.asarray(positions, dtype=np.float64)
        self._positions[:] = self._to_blocks(where - where.mean(1, keepdims=True))
        self._velocities[:] = self._to_blocks(np.asarray(velocities))

    def positions(self) -> Float[np.ndarray, "replica atom 3"]:
        """Positions now, nm, in the kernel's precision."""
        return self._from_blocks(self._positions)

    def velocities(self) -> Float[np.ndarray, "replica atom 3"]:
        """Velocities half a step before the positions, nm/ps."""
        return self._from_blocks(self._velocities)

    def advance(self, n_steps: int) -> None:
        """Advance every replica by `n_steps` steps."""
        self._run(n_steps, n_steps + 1, np.empty((self.n_blocks * LANES, 0, self.n_atoms, 3), np.float32))

    def record(self, n_frames: int, steps_per_frame: int) -> Float[np.ndarray, "replica frame atom 3"]:
        """Advance by `n_frames * steps_per_frame` steps and return every `steps_per_frame`-th frame, float32, nm."""
        frames = np.empty((self.n_blocks * LANES, n_frames, self.n_atoms, 3), np.float32)
        self._run(n_frames * steps_per_frame, steps_per_frame, frames)
        return frames[: self.n_replicas]

    def energies_and_forces(
        self,
    ) -> tuple[dict[str, Float[np.ndarray, "replica"]], Float[np.ndarray, "replica atom 3"]]:
        """Potential energy of each term in kJ/mol, and forces in kJ/mol/nm, at the present positions."""
        energies = np.zeros((self.n_blocks, len(ENERGY_TERMS), LANES), self.dtype)
        forces = _aligned(self._positions.shape, self.dtype)

        def evaluate(block: int, work: WorkSpace) -> None:
            energy_block(self._positions[block], forces[block], self._tables, work, energies[block])

        self._each_block(evaluate)
        by_term = self._from_blocks(energies)
        return {term: by_term[:, row] for row, term in enumerate(ENERGY_TERMS)}, self._from_blocks(forces)

    def potential_energy(self) -> Float[np.ndarray, "replica"]:
        """Potential energy of each replica in kJ/mol."""
        return sum(self.energies_and_forces()[0].values(), np.zeros(self.n_replicas))

    def state_dict(self) -> dict[str, Tensor]:
        """All that a bitwise continuation needs."""
        return {
            "positions": torch.from_numpy(self.positions()),
            "velocities": torch.from_numpy(self.velocities()),
            "random": torch.from_numpy(self._from_blocks(self._random).astype(np.int64)),
            "thermal_speed": torch.from_numpy(self._from_blocks(self._thermal)),
            "steps_done": torch.tensor(self.steps_done),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned, in an engine made with the same settings."""
        expected = (self.n_replicas, self.n_atoms, 3)
        found = tuple(state["positions"].shape)
        if found != expected:
            raise MdgenError(
                f"the saved state has shape (replica, atom, 3) = {found}, but the engine was made for {expected}"
            )
        self._positions[:] = self._to_blocks(state["positions"].numpy())
        self._velocities[:] = self._to_blocks(state["velocities"].numpy())
        self._random[:] = self._to_blocks(state["random"].numpy().astype(np.uint32))
        self._thermal[:] = self._to_blocks(state["thermal_speed"].numpy())
        self.steps_done = int(state["steps_done"])

    def _integrator(self, parameters: ForceFieldParameters, friction_per_ps: float) -> Dynamics:
        inverse = 1 / parameters.masses.detach().cpu().numpy()
        surviving = float(np.exp(-friction_per_ps * self.timestep_ps))
        random = float(np.sqrt(-np.expm1(-2 * friction_per_ps * self.timestep_ps)))
        numbers = np.array([self.timestep_ps, 1 / self.timestep_ps, surviving, random], self.dtype)
        return Dynamics(np.stack([inverse, np.sqrt(inverse)], -1).astype(self.dtype), numbers)

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

        self._each_block(advance)
        self.steps_done += n_steps

    def _each_block(self, task: Callable[[int, WorkSpace], None]) -> None:
        """Run a task for every block on all threads; each thread in turn takes a work space from the shelf."""
        threads = min(self.threads, self.n_blocks)
        if threads == 1:
            work = self._work_space()
            for block in range(self.n_blocks):
                task(block, work)
            return
        shelf: SimpleQueue[WorkSpace] = SimpleQueue()
        for _ in range(threads):
            shelf.put(self._work_space())

        def with_work_space(block: int) -> None:
            work = shelf.get()
            try:
                task(block, work)
            finally:
                shelf.put(work)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(with_work_space, range(self.n_blocks)))

    def _work_space(self) -> WorkSpace:
        n = self.n_atoms
        pairs = n * (n - 1) // 2 if len(self._tables.born_atoms) else 0
        return WorkSpace(
            pairs=_aligned((pairs, 4, LANES), self.dtype),
            born=_aligned((4, n, LANES), self.dtype),
            forces=_aligned((n, 3, LANES), self.dtype),
            previous=_aligned((n, 3, LANES), self.dtype),
            noise=_aligned((3 * n + (3 * n) % 2, LANES), self.dtype),
        )

    def _to_blocks(self, values: np.ndarray) -> np.ndarray:
        """(replica, ...) to (block, ..., lane); lanes beyond the last replica repeat it."""
        padded = values[np.minimum(np.arange(self.n_blocks * LANES), self.n_replicas - 1)]
        return np.moveaxis(padded.reshape(self.n_blocks, LANES, *values.shape[1:]), 1, -1)

    def _from_blocks(self, blocks: np.ndarray) -> np.ndarray:
        values = np.moveaxis(blocks, -1, 1).reshape(self.n_blocks * LANES, *blocks.shape[1:-1])
        return np.ascontiguousarray(values[: self.n_replicas])


def _aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of zeros on a cache line's boundary, so that no vector load straddles two lines."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


def _draw_seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))


def _check(
    parameters: ForceFieldParameters, n_replicas: int, timestep_ps: float, friction_per_ps: float, precision: str
) -> None:
    if n_replicas < 1:
        raise MdgenError(f"n_replicas is {n_replicas}, but must be 1 or more")
    if not timestep_ps > 0:
        raise MdgenError(f"timestep_ps is {timestep_ps}, but must be positive, such as 0.002")
    if not friction_per_ps >= 0:
        raise MdgenError(f"friction_per_ps is {friction_per_ps}, but must be 0 or more, such as 1")
    if precision not in _DTYPES:
        raise MdgenError(f"precision is {precision!r}, but must be one of {', '.join(_DTYPES)}")
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
