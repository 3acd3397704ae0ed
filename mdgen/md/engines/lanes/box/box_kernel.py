"""Replicas of one box or of one molecule with a cutoff: the engine's fast path on processors for those."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.md.engines.lanes.box.bonded_tables import bonded_tables
from mdgen.md.engines.lanes.box.lists import FULL, LOST, Near, Search, Space
from mdgen.md.engines.lanes.box.rigid_tables import rigid_tables
from mdgen.md.engines.lanes.box.step import ENERGY_TERMS, Model, WorkSpace, advance_replica, replica_energies
from mdgen.md.engines.lanes.box.sweep import PairTables
from mdgen.md.engines.lanes.lanes import LANES
from mdgen.md.engines.lanes.random import WORDS, seeded_streams
from mdgen.md.force_field.force_field import require_room
from mdgen.md.force_field.pair_forces import pair_forces
from mdgen.md.force_field.parameters import Cutoff, ForceFieldParameters
from mdgen.units import BOLTZMANN

_DTYPES = {"single": (np.float32, np.int32), "double": (np.float64, np.int64)}
_BUFFER_NM = 0.2
_SAFE = 0.999
_ROOM = 1.2


class BoxKernel:
    """Langevin or constant-energy dynamics of `n_replicas` copies of a system with a cutoff.

    Each replica runs by itself on one thread, so replicas never influence one another, and neither the number of
    threads nor that of replicas changes a bit of a trajectory. Positions and velocities are kept in double precision
    whatever the precision of the forces, and are never wrapped into the box. Nothing is checked for blow-ups while
    steps run: a replica with an atom that is nowhere stands still from then on; look whether positions are finite. A
    call cannot be interrupted; ask for a second's worth of steps at a time.

    Args:
        parameters: the force field, with a cutoff.
        n_replicas: how many copies.
        timestep_ps: the time step.
        temperature_K: one number, or one a replica.
        friction_per_ps: collision rate; 0 conserves the energy.
        generator: seeds the random streams, sixteen a replica; advanced by one draw.
        precision: of forces, `single` or `double`.
        threads: processor threads; as many as torch uses by default.
        buffer_nm: how far beyond the cutoff lists reach; it changes the speed and the rounding, nothing else.

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
        buffer_nm: float = _BUFFER_NM,
    ) -> None:
        _check(n_replicas, timestep_ps, friction_per_ps, precision)
        if parameters.cutoff is None:
            raise MdgenError("the force field has no cutoff, but the box kernel needs one; use the many-replica kernel")
        self.cutoff: Cutoff = parameters.cutoff
        self.n_replicas, self.n_atoms = n_replicas, parameters.n_atoms
        self.timestep_ps, self.threads = timestep_ps, threads or torch.get_num_threads()
        self.steps_done = 0
        self._dtype, self._turn = _DTYPES[precision]
        self._buffer_nm = buffer_nm
        self._model = self._laid_out(parameters, friction_per_ps)
        self._positions = np.zeros((n_replicas, self.n_atoms, 3))
        self._velocities = np.zeros_like(self._positions)
        self._cells: np.ndarray | None = None
        streams = seeded_streams(_draw_seed(generator), n_replicas * LANES).reshape(n_replicas, LANES, WORDS)
        self._random = np.ascontiguousarray(streams.swapaxes(1, 2))
        self._spaces = [self._space() for _ in range(n_replicas)]
        self._near = [_near(self.n_atoms, 0) for _ in range(n_replicas)]
        self.set_temperature(temperature_K)

    def set_temperature(self, temperature_K: float | Float[Tensor, "replica"]) -> None:
        """Set the temperature in K of all replicas, or of each; velocities stay as they are."""
        temperatures = torch.as_tensor(temperature_K, dtype=torch.float64).expand(self.n_replicas).numpy()
        if not np.all(np.isfinite(temperatures) & (temperatures >= 0)):
            raise MdgenError(f"a temperature is {temperatures.min():g} K, but must be 0 K or more")
        self._thermal = np.sqrt(BOLTZMANN * temperatures)

    def set_state(
        self,
        positions: Float[Tensor, "replica atom 3"],
        velocities: Float[Tensor, "replica atom 3"],
        cell: Float[Tensor, "replica 3"] | None,
    ) -> None:
        """Put every replica at `positions` (nm) with `velocities` (nm/ps) in a box of edges `cell` (nm)."""
        shape = (self.n_replicas, self.n_atoms, 3)
        for name, values in (("positions", positions), ("velocities", velocities)):
            if tuple(values.shape) != shape:
                raise MdgenError(f"the {name} have shape {tuple(values.shape)}, but the engine was made for {shape}")
        self._set_cell(cell)
        self._positions[:] = positions.detach().cpu().numpy()
        self._velocities[:] = velocities.detach().cpu().numpy()
        for space in self._spaces:
            space.listed[:] = np.nan

    def positions(self) -> Float[np.ndarray, "replica atom 3"]:
        """Positions now, nm."""
        return self._positions.copy()

    def velocities(self) -> Float[np.ndarray, "replica atom 3"]:
        """Velocities half a step before the positions, nm/ps."""
        return self._velocities.copy()

    @property
    def cells(self) -> Float[np.ndarray, "replica 3"] | None:
        """Edges of the boxes in nm; None without any."""
        return self._cells

    def advance(self, n_steps: int) -> None:
        """Advance every replica by `n_steps` steps."""
        self._run(n_steps, n_steps + 1, np.empty((self.n_replicas, 0, self.n_atoms, 3), np.float32))

    def record(self, n_frames: int, steps_per_frame: int) -> Float[np.ndarray, "replica frame atom 3"]:
        """Advance by `n_frames * steps_per_frame` steps and return every `steps_per_frame`-th frame, float32, nm."""
        frames = np.empty((self.n_replicas, n_frames, self.n_atoms, 3), np.float32)
        self._run(n_frames * steps_per_frame, steps_per_frame, frames)
        return frames

    def energies_and_forces(
        self,
    ) -> tuple[dict[str, Float[np.ndarray, "replica"]], Float[np.ndarray, "replica atom 3"]]:
        """Potential energy of each term in kJ/mol, and forces in kJ/mol/nm, at the present positions."""
        self._require_cell()
        energies, forces = np.zeros((self.n_replicas, len(ENERGY_TERMS))), np.empty(self._positions.shape, self._dtype)

        def evaluate(replica: int, work: WorkSpace) -> None:
            state = FULL
            while state == FULL:
                energies[replica] = 0.0
                space, near = self._spaces[replica], self._near[replica]
                state = replica_energies(self._positions[replica], space, near, self._model, work, energies[replica])
                if state == FULL:
                    self._grow(replica)
            forces[replica] = work.forces
            if state == LOST:
                energies[replica], forces[replica] = np.nan, np.nan

        self._each_replica(evaluate)
        terms = {term: energies[:, row] for row, term in enumerate(ENERGY_TERMS)}
        if self._cells is not None and self.cutoff.dispersion_kJ_nm3:
            terms["dispersion_correction"] = self.cutoff.dispersion_kJ_nm3 / self._cells.prod(-1)
        return terms, forces

    def potential_energy(self) -> Float[np.ndarray, "replica"]:
        """Potential energy of each replica in kJ/mol."""
        return sum(self.energies_and_forces()[0].values(), np.zeros(self.n_replicas))

    def state_dict(self) -> dict[str, Tensor]:
        """All that a bitwise continuation needs: where the lists were found too, since rounding depends on it."""
        cells = {} if self._cells is None else {"cell": torch.from_numpy(self._cells.copy())}
        return cells | {
            "positions": torch.from_numpy(self.positions()),
            "velocities": torch.from_numpy(self.velocities()),
            "listed": torch.from_numpy(np.stack([space.listed for space in self._spaces])),
            "random": torch.from_numpy(self._random.astype(np.int64)),
            "thermal_speed": torch.from_numpy(self._thermal.copy()),
            "steps_done": torch.tensor(self.steps_done),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned, in an engine made with the same settings."""
        expected, found = self._positions.shape, tuple(state["positions"].shape)
        if found != expected:
            raise MdgenError(
                f"the saved state has shape (replica, atom, 3) = {found}, but the engine was made for {expected}"
            )
        self.set_state(state["listed"], state["velocities"], state.get("cell"))
        self._find_lists()
        self._positions[:] = state["positions"].numpy()
        self._random[:] = state["random"].numpy().astype(np.uint32)
        self._thermal = state["thermal_speed"].numpy().copy()
        self.steps_done = int(state["steps_done"])

    def _find_lists(self) -> None:
        """Find every list anew where the atoms are, without stepping."""
        self.energies_and_forces()

    def _laid_out(self, parameters: ForceFieldParameters, friction_per_ps: float) -> Model:
        inverse = 1 / parameters.masses.detach().cpu().numpy().astype(np.float64)
        surviving = float(np.exp(-friction_per_ps * self.timestep_ps))
        random = float(np.sqrt(-np.expm1(-2 * friction_per_ps * self.timestep_ps)))
        return Model(
            _pair_tables(parameters, self.cutoff, self._dtype),
            _search(parameters, self.cutoff, self._buffer_nm, self._dtype),
            bonded_tables(parameters, self._dtype),
            rigid_tables(parameters),
            np.stack([inverse, np.sqrt(inverse)], -1),
            np.array([self.timestep_ps, surviving, random]),
        )

    def _space(self) -> Space:
        blocks, kinds = -(-self.n_atoms // LANES), len(self._model.pairs.acts)
        return Space(
            order=np.zeros(blocks * LANES, np.int64),
            grid=_aligned((blocks, 3, LANES), self._turn),
            charges=_aligned((blocks, LANES), self._dtype),
            kinds=np.zeros(blocks * LANES, np.int64),
            strengths=_aligned((kinds, blocks, 2, LANES), self._dtype),
            forces=_aligned((blocks, 3, LANES), self._dtype),
            scale=np.zeros(3, self._dtype),
            edges=np.stack([np.zeros(3), np.ones(3)]),
            listed=np.full((self.n_atoms, 3), np.nan),
        )

    def _set_cell(self, cell: Float[Tensor, "replica 3"] | None) -> None:
        if not self.cutoff.periodic:
            if cell is not None:
                raise MdgenError("a periodic cell was given, but this force field is not periodic; leave it out")
            return
        if cell is None:
            raise MdgenError("this force field is periodic, but no cell was given; give the edges of its box")
        require_room(self.cutoff, cell)
        self._cells = np.broadcast_to(cell.detach().cpu().double().numpy(), (self.n_replicas, 3)).copy()
        for space, edges in zip(self._spaces, self._cells, strict=True):
            space.edges[1] = edges

    def _require_cell(self) -> None:
        if self.cutoff.periodic and self._cells is None:
            raise MdgenError("this force field is periodic, but no cell was given; give the edges of its box")

    def _grow(self, replica: int) -> None:
        self._near[replica] = _near(self.n_atoms, int(_ROOM * self._near[replica].needed[0]) + 1)

    def _run(self, n_steps: int, every: int, frames: np.ndarray) -> None:
        self._require_cell()

        def advance(replica: int, work: WorkSpace) -> None:
            done = 0
            while done < n_steps:
                done, state = advance_replica(
                    self._positions[replica],
                    self._velocities[replica],
                    self._random[replica],
                    self._thermal[replica],
                    self._spaces[replica],
                    self._near[replica],
                    self._model,
                    work,
                    done,
                    n_steps,
                    every,
                    frames[replica],
                )
                if state == FULL:
                    self._grow(replica)

        self._each_replica(advance)
        self.steps_done += n_steps

    def _each_replica(self, task: Callable[[int, WorkSpace], None]) -> None:
        """Run a task for every replica on all threads; each thread in turn takes a work space from the shelf."""
        threads = min(self.threads, self.n_replicas)
        if threads == 1:
            work = self._work_space()
            for replica in range(self.n_replicas):
                task(replica, work)
            return
        shelf: SimpleQueue[WorkSpace] = SimpleQueue()
        for _ in range(threads):
            shelf.put(self._work_space())

        def with_work_space(replica: int) -> None:
            work = shelf.get()
            try:
                task(replica, work)
            finally:
                shelf.put(work)

        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(with_work_space, range(self.n_replicas)))

    def _work_space(self) -> WorkSpace:
        rows = -(-3 * self.n_atoms // LANES)
        return WorkSpace(
            forces=np.zeros((self.n_atoms, 3), self._dtype),
            before=np.zeros((self.n_atoms, 3)),
            noise=_aligned((rows + rows % 2, LANES), np.float32),
            terms=_aligned((4, 3, LANES), self._dtype),
            triangles=_aligned((3, 3, LANES), np.float64),
        )


def _pair_tables(parameters: ForceFieldParameters, cutoff: Cutoff, dtype: type) -> PairTables:
    laid = pair_forces(parameters, cutoff)
    distance, switch, slope, k, c = laid.numbers
    strengths = np.stack([12 * laid.twelfth, 6 * laid.sixth], -1)
    return PairTables(
        charges=laid.charges.astype(dtype),
        kinds=np.ascontiguousarray(laid.kind, np.int64),
        strengths=np.ascontiguousarray(strengths, dtype),
        acts=(np.abs(strengths).sum((1, 2)) > 0).astype(np.int64),
        square=np.array([distance**2], dtype),
        field=np.array([k, c], dtype),
        switch=np.array([switch, slope], dtype) if slope else None,
    )


def _search(parameters: ForceFieldParameters, cutoff: Cutoff, buffer_nm: float, dtype: type) -> Search:
    pairs = parameters.exception_atoms.detach().cpu().numpy().reshape(-1, 2)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    starts = np.searchsorted(both[:, 0], np.arange(parameters.n_atoms + 1))
    reach = cutoff.distance_nm + buffer_nm
    return Search(
        reach=np.array([reach**2], dtype),
        moved=np.array([(0.5 * _SAFE * buffer_nm) ** 2]),
        margin=np.array([0.0 if cutoff.periodic else 2 * reach]),
        excluded_starts=starts.astype(np.int64),
        excluded=np.ascontiguousarray(both[:, 1], np.int64),
    )


def _near(atoms: int, room: int) -> Near:
    return Near(
        starts=np.zeros(-(-atoms // 2) + 1, np.int64),
        slots=np.zeros(room + 1, np.int32),
        masks=np.zeros(room, np.uint32),
        needed=np.zeros(1, np.int64),
    )


def _aligned(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """An array of zeros on a cache line's boundary, so that no vector load straddles two lines."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(size + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + size].view(dtype).reshape(shape)


def _draw_seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))


def _check(n_replicas: int, timestep_ps: float, friction_per_ps: float, precision: str) -> None:
    if n_replicas < 1:
        raise MdgenError(f"n_replicas is {n_replicas}, but must be 1 or more")
    if not timestep_ps > 0:
        raise MdgenError(f"timestep_ps is {timestep_ps}, but must be positive, such as 0.002")
    if not friction_per_ps >= 0:
        raise MdgenError(f"friction_per_ps is {friction_per_ps}, but must be 0 or more, such as 1")
    if precision not in _DTYPES:
        raise MdgenError(f"precision is {precision!r}, but must be one of {', '.join(_DTYPES)}")
