"""State and threads that all kernels share."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import local
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.md.engines.lanes.bonded_terms import as_numpy
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.simd.lanes import LANES
from mdgen.simd.random import WORDS, seeded_streams
from mdgen.units import BOLTZMANN

EnergiesAndForces = tuple[dict[str, Float[np.ndarray, "replica"]], Float[np.ndarray, "replica atom 3"]]

_DTYPES = {"single": np.float32, "double": np.float64}


class Motion(NamedTuple):
    """State of all replicas; tasks, which are blocks of sixteen replicas or one replica each, come first.

    Args:
        positions: number (task, atom, 3, lane) or (task, atom, 3).
        velocities: number, as the positions.
        random: uint32 (task, 4, lane).
        thermal: number (task, 1, lane) or (task, 1): `sqrt(kT)`.
    """

    positions: np.ndarray
    velocities: np.ndarray
    random: np.ndarray
    thermal: np.ndarray


class LaneKernel(ABC):
    """Replicas in motion on the processor: their state, and the threads that work on them.

    Settings are not checked: engines and integrators have done so. Nothing is checked for instabilities while steps
    run: look whether positions are finite. A replica that has diverged harms no other. A call cannot be interrupted;
    ask for a second's worth of steps at a time.

    Args:
        parameters: the force field.
        n_replicas: number of copies.
        timestep_ps: time step.
        temperature_K: one number, or one a replica.
        friction_per_ps: collision rate; 0 conserves the energy.
        generator: source of the seed of the random streams; advanced by one draw.
        precision: `single` or `double`.
        threads: processor threads; None for torch's number.
    """

    name: ClassVar[str]
    """Name in a run's settings, and so part of its identity: kernels differ in rounding and random numbers."""
    cells: Float[np.ndarray, "replica 3"] | None = None
    """Edges of the boxes in nm; None without any."""

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
        self.n_replicas, self.n_atoms = n_replicas, parameters.n_atoms
        self.timestep_ps, self.threads = timestep_ps, threads or torch.get_num_threads()
        self.dtype = _DTYPES[precision]
        self.steps_done = 0
        seed = int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))
        self._state = self._lay_out(parameters, friction_per_ps, seed)
        self.set_temperature(temperature_K)

    def set_state(
        self,
        positions: Float[Tensor, "replica atom 3"] | Float[np.ndarray, "replica atom 3"],
        velocities: Float[Tensor, "replica atom 3"] | Float[np.ndarray, "replica atom 3"],
        cell: Float[Tensor, "replica 3"] | None = None,
    ) -> None:
        """Put every replica at `positions` (nm) with `velocities` (nm/ps).

        Without a cutoff, replicas are moved so that their centres are the origin; `cell` has the edges of boxes in nm.
        """
        self._check_shapes(positions, velocities)
        self._take_cell(cell)
        self._state.positions[:] = self._pack(self._centred(as_numpy(torch.as_tensor(positions).double())))
        self._state.velocities[:] = self._pack(as_numpy(torch.as_tensor(velocities)))

    def set_temperature(self, temperature_K: float | Float[Tensor, "replica"]) -> None:
        """Set the temperature in K of all replicas, or of each; velocities stay as they are."""
        temperatures = torch.as_tensor(temperature_K, dtype=torch.float64).expand(self.n_replicas).numpy()
        self._state.thermal[:] = self._pack(np.sqrt(BOLTZMANN * temperatures)[:, None])

    def positions(self) -> Float[np.ndarray, "replica atom 3"]:
        """Positions now, nm."""
        return self._unpack(self._state.positions)

    def velocities(self) -> Float[np.ndarray, "replica atom 3"]:
        """Velocities half a step before the positions, nm/ps."""
        return self._unpack(self._state.velocities)

    def advance(self, n_steps: int) -> None:
        """Advance every replica by `n_steps` steps."""
        self._run(n_steps, n_steps + 1, self._frames(0))

    def record(self, n_frames: int, steps_per_frame: int) -> Float[np.ndarray, "replica frame atom 3"]:
        """Advance by `n_frames * steps_per_frame` steps and return every `steps_per_frame`-th frame, float32, nm."""
        frames = self._frames(n_frames)
        self._run(n_frames * steps_per_frame, steps_per_frame, frames)
        return frames[: self.n_replicas]

    @classmethod
    def tasks(cls, n_replicas: int, n_atoms: int) -> int:
        """The most threads that can work on so many replicas of so many atoms."""
        return n_replicas

    @abstractmethod
    def energies_and_forces(self) -> EnergiesAndForces:
        """Potential energy of each term in kJ/mol, and forces in kJ/mol/nm, at the present positions."""

    def potential_energy(self) -> Float[np.ndarray, "replica"]:
        """Potential energy of each replica in kJ/mol."""
        return sum(self.energies_and_forces()[0].values(), np.zeros(self.n_replicas))

    def state_dict(self) -> dict[str, Tensor]:
        """All that a bitwise continuation needs."""
        return {
            "positions": torch.from_numpy(self.positions()),
            "velocities": torch.from_numpy(self.velocities()),
            "random": torch.from_numpy(self._unpack(self._state.random).astype(np.int64)),
            "thermal_speed": torch.from_numpy(self._unpack(self._state.thermal)),
            "steps_done": torch.tensor(self.steps_done),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned, in a kernel made with the same settings."""
        expected, found = (self.n_replicas, self.n_atoms, 3), tuple(state["positions"].shape)
        if found != expected:
            raise MdgenError(
                f"the saved state has shape (replica, atom, 3) = {found}, but the engine was made for {expected}"
            )
        names = "positions", "velocities", "random", "thermal_speed"
        for array, name in zip(self._state, names, strict=True):
            array[:] = self._pack(state[name].numpy().astype(array.dtype))
        self.steps_done = int(state["steps_done"])

    def _check_shapes(self, positions: Any, velocities: Any) -> None:
        shape = (self.n_replicas, self.n_atoms, 3)
        for name, values in (("positions", positions), ("velocities", velocities)):
            if tuple(values.shape) != shape:
                raise MdgenError(f"the {name} have shape {tuple(values.shape)}, but the engine was made for {shape}")

    def _take_cell(self, cell: Float[Tensor, "replica 3"] | None) -> None:  # noqa: B027  most have none
        """Check and keep the edges of the boxes of a new state."""

    def _centred(self, positions: np.ndarray) -> np.ndarray:
        """Positions (replica, atom, 3) as a new state has them."""
        return positions - positions.mean(1, keepdims=True)

    @abstractmethod
    def _lay_out(self, parameters: ForceFieldParameters, friction_per_ps: float, seed: int) -> Motion:
        """Lay out the tables of the kernel, and return the state with seeded random streams."""

    def _frames(self, n_frames: int) -> np.ndarray:
        return np.empty((self.n_replicas, n_frames, self.n_atoms, 3), np.float32)

    def _pack(self, values: np.ndarray) -> np.ndarray:
        """(replica, ...) as the kernel's arrays hold it."""
        return values

    def _unpack(self, values: np.ndarray) -> np.ndarray:
        """A copy of one of the kernel's arrays as (replica, ...)."""
        return values.copy()

    @abstractmethod
    def _work_space(self) -> Any:
        """Arrays that a thread needs to work on one task."""

    @abstractmethod
    def _run(self, n_steps: int, every: int, frames: np.ndarray) -> None:
        """Advance by `n_steps` and write every `every`-th frame to `frames`."""

    def _each_task(self, task: Callable[[int, Any], None]) -> None:
        """Run a task for every block or replica on all threads, each thread with a work space of its own."""
        own, tasks = local(), range(len(self._state.positions))

        def prepare() -> None:
            own.work = self._work_space()

        threads = min(self.threads, len(tasks))
        if threads == 1:
            prepare()
            for index in tasks:
                task(index, own.work)
            return
        with ThreadPoolExecutor(threads, initializer=prepare) as pool:
            list(pool.map(lambda index: task(index, own.work), tasks))


def motion_in_turn(n_replicas: int, n_atoms: int, seed: int) -> Motion:
    """State in double precision of replicas that run one by one, with streams of random numbers for all lanes."""
    streams = seeded_streams(seed, n_replicas * LANES).reshape(n_replicas, LANES, WORDS)
    random, shape = np.ascontiguousarray(streams.swapaxes(1, 2)), (n_replicas, n_atoms, 3)
    return Motion(np.zeros(shape), np.zeros(shape), random, np.zeros((n_replicas, 1)))


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of zeros on a cache line's boundary, so that no vector load straddles two lines."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)
