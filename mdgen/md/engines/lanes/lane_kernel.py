"""State, checks and threads that the kernels of replicas and of boxes share."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.units import BOLTZMANN

_DTYPES = {"single": np.float32, "double": np.float64}


class LaneKernel(ABC):
    """Replicas in motion on the processor: their settings, their state, and the threads that work on them.

    State lies in arrays of one item a task: a block of sixteen replicas, or one replica. `_pack` and `_unpack` convert
    between (replica, ...) and that layout. A subclass sets `_positions`, `_velocities`, `_random` and `_thermal`.

    Args:
        parameters: the force field.
        n_replicas: number of copies.
        timestep_ps: time step.
        friction_per_ps: collision rate; 0 conserves the energy.
        precision: `single` or `double`.
        threads: processor threads; None for torch's number.

    Raises:
        MdgenError: for settings out of range.
    """

    _positions: np.ndarray
    _velocities: np.ndarray
    _random: np.ndarray
    _thermal: np.ndarray

    def __init__(
        self,
        parameters: ForceFieldParameters,
        n_replicas: int,
        timestep_ps: float,
        friction_per_ps: float,
        precision: str,
        threads: int | None,
    ) -> None:
        if n_replicas < 1:
            raise MdgenError(f"n_replicas is {n_replicas}, but must be 1 or more")
        if not timestep_ps > 0:
            raise MdgenError(f"timestep_ps is {timestep_ps}, but must be positive, such as 0.002")
        if not friction_per_ps >= 0:
            raise MdgenError(f"friction_per_ps is {friction_per_ps}, but must be 0 or more, such as 1")
        if precision not in _DTYPES:
            raise MdgenError(f"precision is {precision!r}, but must be one of {', '.join(_DTYPES)}")
        self.n_replicas, self.n_atoms = n_replicas, parameters.n_atoms
        self.timestep_ps, self.threads = timestep_ps, threads or torch.get_num_threads()
        self.dtype = _DTYPES[precision]
        self.steps_done = 0

    def set_temperature(self, temperature_K: float | Float[Tensor, "replica"]) -> None:
        """Set the temperature in K of all replicas, or of each; velocities stay as they are."""
        temperatures = torch.as_tensor(temperature_K, dtype=torch.float64).expand(self.n_replicas).numpy()
        if not np.all(np.isfinite(temperatures) & (temperatures >= 0)):
            raise MdgenError(f"a temperature is {temperatures.min():g} K, but must be 0 K or more")
        self._thermal[:] = self._pack(np.sqrt(BOLTZMANN * temperatures)[:, None])

    def positions(self) -> Float[np.ndarray, "replica atom 3"]:
        """Positions now, nm."""
        return self._unpack(self._positions)

    def velocities(self) -> Float[np.ndarray, "replica atom 3"]:
        """Velocities half a step before the positions, nm/ps."""
        return self._unpack(self._velocities)

    def advance(self, n_steps: int) -> None:
        """Advance every replica by `n_steps` steps."""
        self._run(n_steps, n_steps + 1, self._frames(0))

    def record(self, n_frames: int, steps_per_frame: int) -> Float[np.ndarray, "replica frame atom 3"]:
        """Advance by `n_frames * steps_per_frame` steps and return every `steps_per_frame`-th frame, float32, nm."""
        frames = self._frames(n_frames)
        self._run(n_frames * steps_per_frame, steps_per_frame, frames)
        return frames[: self.n_replicas]

    @abstractmethod
    def energies_and_forces(
        self,
    ) -> tuple[dict[str, Float[np.ndarray, "replica"]], Float[np.ndarray, "replica atom 3"]]:
        """Potential energy of each term in kJ/mol, and forces in kJ/mol/nm, at the present positions."""

    def potential_energy(self) -> Float[np.ndarray, "replica"]:
        """Potential energy of each replica in kJ/mol."""
        return sum(self.energies_and_forces()[0].values(), np.zeros(self.n_replicas))

    def state_dict(self) -> dict[str, Tensor]:
        """All that a bitwise continuation needs."""
        return {
            "positions": torch.from_numpy(self.positions()),
            "velocities": torch.from_numpy(self.velocities()),
            "random": torch.from_numpy(self._unpack(self._random).astype(np.int64)),
            "thermal_speed": torch.from_numpy(self._unpack(self._thermal)),
            "steps_done": torch.tensor(self.steps_done),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned, in a kernel made with the same settings."""
        expected, found = (self.n_replicas, self.n_atoms, 3), tuple(state["positions"].shape)
        if found != expected:
            raise MdgenError(
                f"the saved state has shape (replica, atom, 3) = {found}, but the engine was made for {expected}"
            )
        self._positions[:] = self._pack(state["positions"].numpy())
        self._velocities[:] = self._pack(state["velocities"].numpy())
        self._random[:] = self._pack(state["random"].numpy().astype(np.uint32))
        self._thermal[:] = self._pack(state["thermal_speed"].numpy())
        self.steps_done = int(state["steps_done"])

    def _check_shapes(self, positions: Any, velocities: Any) -> None:
        shape = (self.n_replicas, self.n_atoms, 3)
        for name, values in (("positions", positions), ("velocities", velocities)):
            if tuple(values.shape) != shape:
                raise MdgenError(f"the {name} have shape {tuple(values.shape)}, but the engine was made for {shape}")

    def _frames(self, n_frames: int) -> np.ndarray:
        return np.empty((self.n_replicas, n_frames, self.n_atoms, 3), np.float32)

    @abstractmethod
    def _pack(self, values: np.ndarray) -> np.ndarray:
        """(replica, ...) as the kernel's arrays hold it."""

    @abstractmethod
    def _unpack(self, values: np.ndarray) -> np.ndarray:
        """A copy of one of the kernel's arrays as (replica, ...)."""

    @abstractmethod
    def _work_space(self) -> Any:
        """Arrays that a thread needs to work on one task."""

    @abstractmethod
    def _run(self, n_steps: int, every: int, frames: np.ndarray) -> None:
        """Advance by `n_steps` and write every `every`-th frame to `frames`."""

    def _each_task(self, task: Callable[[int, Any], None]) -> None:
        """Run a task for every block or replica on all threads, each task with a work space of its own."""
        n_tasks = len(self._positions)
        threads = min(self.threads, n_tasks)
        if threads == 1:
            work = self._work_space()
            for index in range(n_tasks):
                task(index, work)
            return
        idle: SimpleQueue[Any] = SimpleQueue()
        for _ in range(threads):
            idle.put(self._work_space())

        def with_work_space(index: int) -> None:
            work = idle.get()
            try:
                task(index, work)
            finally:
                idle.put(work)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(with_work_space, range(n_tasks)))


def aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of zeros on a cache line's boundary, so that no vector load straddles two lines."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


def draw_seed(generator: torch.Generator) -> int:
    """Seed of the kernel's own random streams."""
    return int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))
