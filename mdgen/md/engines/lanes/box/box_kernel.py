"""Replicas of one box or of one molecule with a cutoff: the engine's fast path on processors for those."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.md.engines.lanes.box.block_neighbours import (
    DIVERGED,
    OVERFLOW,
    NeighbourList,
    NeighbourSearch,
    SortedAtoms,
)
from mdgen.md.engines.lanes.box.bonded_tables import bonded_tables
from mdgen.md.engines.lanes.box.box_steps import ENERGY_TERMS, Model, WorkSpace, advance_replica, replica_energies
from mdgen.md.engines.lanes.box.cutoff_pairs import PairTables
from mdgen.md.engines.lanes.box.rigid_tables import rigid_tables
from mdgen.md.engines.lanes.integration import dynamics
from mdgen.md.engines.lanes.lane_kernel import LaneKernel, aligned, draw_seed
from mdgen.md.engines.lanes.lanes import LANES
from mdgen.md.engines.lanes.random import WORDS, seeded_streams
from mdgen.md.force_field.force_field import require_room
from mdgen.md.force_field.parameters import Cutoff, ForceFieldParameters
from mdgen.md.force_field.terms.nonbonded import pair_kinds

_TURN = {np.float32: np.int32, np.float64: np.int64}
"""Integer type of a coordinate, in parts of the box's edge, for a number type of the forces."""
_BUFFER_NM = 0.2
_SAFE = 0.999
_ROOM = 1.2


class BoxKernel(LaneKernel):
    """Langevin or constant-energy dynamics of `n_replicas` copies of a system with a cutoff.

    Each replica runs by itself on one thread, so replicas never influence one another, and neither the number of
    threads nor that of replicas changes a bit of a trajectory. Positions and velocities are kept in double precision
    whatever the precision of the forces, and are never wrapped into the box. Nothing is checked for instabilities while
    steps run: a replica whose positions are no longer finite stands still from then on, so look at them. A call cannot
    be interrupted; ask for a second's worth of steps at a time.

    Args:
        parameters: the force field, with a cutoff.
        n_replicas: number of copies.
        timestep_ps: time step.
        temperature_K: one number, or one a replica.
        friction_per_ps: collision rate; 0 conserves the energy.
        generator: source of the seed of the random streams, sixteen a replica; advanced by one draw.
        precision: precision of forces, `single` or `double`.
        threads: processor threads; None for torch's number.
        buffer_nm: reach of the neighbour lists beyond the cutoff; it changes the speed and the rounding, nothing else.

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
        super().__init__(parameters, n_replicas, timestep_ps, friction_per_ps, precision, threads)
        if parameters.cutoff is None:
            raise MdgenError("the force field has no cutoff, but the box kernel needs one; use the many-replica kernel")
        self.cutoff: Cutoff = parameters.cutoff
        masses = parameters.masses.detach().cpu().numpy().astype(np.float64)
        self._model = Model(
            _pair_tables(parameters, self.cutoff, self.dtype),
            _search(parameters, self.cutoff, buffer_nm, self.dtype),
            bonded_tables(parameters, self.dtype),
            rigid_tables(parameters),
            dynamics(masses, timestep_ps, friction_per_ps, np.float64),
        )
        self._positions = np.zeros((n_replicas, self.n_atoms, 3))
        self._velocities = np.zeros_like(self._positions)
        self._thermal = np.zeros((n_replicas, 1))
        self._cells: np.ndarray | None = None
        streams = seeded_streams(draw_seed(generator), n_replicas * LANES).reshape(n_replicas, LANES, WORDS)
        self._random = np.ascontiguousarray(streams.swapaxes(1, 2))
        self._ordered = [self._sorted_atoms() for _ in range(n_replicas)]
        self._neighbours = [_empty_list(self.n_atoms, 0) for _ in range(n_replicas)]
        self.set_temperature(temperature_K)

    def set_state(
        self,
        positions: Float[Tensor, "replica atom 3"],
        velocities: Float[Tensor, "replica atom 3"],
        cell: Float[Tensor, "replica 3"] | None,
    ) -> None:
        """Put every replica at `positions` (nm) with `velocities` (nm/ps) in a box of edges `cell` (nm)."""
        self._check_shapes(positions, velocities)
        self._set_cell(cell)
        self._positions[:] = positions.detach().cpu().numpy()
        self._velocities[:] = velocities.detach().cpu().numpy()
        for ordered in self._ordered:
            ordered.listed[:] = np.nan

    @property
    def cells(self) -> Float[np.ndarray, "replica 3"] | None:
        """Edges of the boxes in nm; None without any."""
        return self._cells

    def energies_and_forces(
        self,
    ) -> tuple[dict[str, Float[np.ndarray, "replica"]], Float[np.ndarray, "replica atom 3"]]:
        """Potential energy of each term in kJ/mol, and forces in kJ/mol/nm, at the present positions."""
        self._require_cell()
        energies, forces = np.zeros((self.n_replicas, len(ENERGY_TERMS))), np.empty(self._positions.shape, self.dtype)

        def evaluate(replica: int, work: WorkSpace) -> None:
            state = OVERFLOW
            while state == OVERFLOW:
                energies[replica] = 0.0
                ordered, neighbours = self._ordered[replica], self._neighbours[replica]
                x = self._positions[replica]
                state = replica_energies(x, ordered, neighbours, self._model, work, energies[replica])
                if state == OVERFLOW:
                    self._grow(replica)
            forces[replica] = work.forces
            if state == DIVERGED:
                energies[replica], forces[replica] = np.nan, np.nan

        self._each_task(evaluate)
        terms = {term: energies[:, row] for row, term in enumerate(ENERGY_TERMS)}
        if self._cells is not None and self.cutoff.dispersion_kJ_nm3:
            terms["dispersion_correction"] = self.cutoff.dispersion_kJ_nm3 / self._cells.prod(-1)
        return terms, forces

    def state_dict(self) -> dict[str, Tensor]:
        """All that a bitwise continuation needs: where the lists were built too, since rounding depends on it."""
        cells = {} if self._cells is None else {"cell": torch.from_numpy(self._cells.copy())}
        listed = torch.from_numpy(np.stack([ordered.listed for ordered in self._ordered]))
        return super().state_dict() | cells | {"listed": listed}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned, in a kernel made with the same settings."""
        if state["positions"].shape == self._positions.shape:
            self.set_state(state["listed"], state["velocities"], state.get("cell"))
            self.energies_and_forces()  # builds every list where it was built before
        super().load_state_dict(state)

    def _sorted_atoms(self) -> SortedAtoms:
        blocks, kinds = -(-self.n_atoms // LANES), len(self._model.pairs.acts)
        return SortedAtoms(
            order=np.zeros(blocks * LANES, np.int64),
            grid=aligned((blocks, 3, LANES), _TURN[self.dtype]),
            charges=aligned((blocks, LANES), self.dtype),
            kinds=np.zeros(blocks * LANES, np.int64),
            strengths=aligned((kinds, blocks, 2, LANES), self.dtype),
            forces=aligned((blocks, 3, LANES), self.dtype),
            scale=np.zeros(3, self.dtype),
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
        for ordered, edges in zip(self._ordered, self._cells, strict=True):
            ordered.edges[1] = edges

    def _require_cell(self) -> None:
        if self.cutoff.periodic and self._cells is None:
            raise MdgenError("this force field is periodic, but no cell was given; give the edges of its box")

    def _grow(self, replica: int) -> None:
        self._neighbours[replica] = _empty_list(self.n_atoms, int(_ROOM * self._neighbours[replica].needed[0]) + 1)

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
                    self._ordered[replica],
                    self._neighbours[replica],
                    self._model,
                    work,
                    done,
                    n_steps,
                    every,
                    frames[replica],
                )
                if state == OVERFLOW:
                    self._grow(replica)

        self._each_task(advance)
        self.steps_done += n_steps

    def _pack(self, values: np.ndarray) -> np.ndarray:
        return values

    def _unpack(self, values: np.ndarray) -> np.ndarray:
        return values.copy()

    def _work_space(self) -> WorkSpace:
        rows = -(-3 * self.n_atoms // LANES)
        return WorkSpace(
            forces=np.zeros((self.n_atoms, 3), self.dtype),
            previous=np.zeros((self.n_atoms, 3)),
            noise=aligned((rows + rows % 2, LANES), np.float32),
            terms=aligned((4, 3, LANES), self.dtype),
            triangles=aligned((3, 3, LANES), np.float64),
        )


def _pair_tables(parameters: ForceFieldParameters, cutoff: Cutoff, dtype: type) -> PairTables:
    p, distance, dielectric = parameters, cutoff.distance_nm, cutoff.reaction_field_dielectric
    table = p.pair_table if p.pair_table is not None else pair_kinds(p.sigma, p.epsilon)
    sixth = table.sigma.detach().double().pow(6)
    strength = 4 * table.epsilon.detach().double() * sixth
    strengths = np.stack([12 * (strength * sixth).numpy(), 6 * strength.numpy()], -1)
    field = [(dielectric - 1) / (2 * dielectric + 1) / distance**3, 3 * dielectric / (2 * dielectric + 1) / distance]
    switch: np.ndarray | None = None
    if cutoff.switch_nm is not None and cutoff.switch_nm < distance:
        switch = np.array([cutoff.switch_nm, 1 / (distance - cutoff.switch_nm)], dtype)
    return PairTables(
        charges=(p.charges.detach().double().numpy() * p.coulomb_constant**0.5).astype(dtype),
        kinds=np.ascontiguousarray(table.kind.numpy(), np.int64),
        strengths=np.ascontiguousarray(strengths, dtype),
        acts=(np.abs(strengths).sum((1, 2)) > 0).astype(np.int64),
        square=np.array([distance**2], dtype),
        field=np.array(field, dtype),
        switch=switch,
    )


def _search(parameters: ForceFieldParameters, cutoff: Cutoff, buffer_nm: float, dtype: type) -> NeighbourSearch:
    pairs = parameters.exception_atoms.detach().cpu().numpy().reshape(-1, 2)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    starts = np.searchsorted(both[:, 0], np.arange(parameters.n_atoms + 1))
    reach = cutoff.distance_nm + buffer_nm
    return NeighbourSearch(
        reach=np.array([reach**2], dtype),
        moved=np.array([(0.5 * _SAFE * buffer_nm) ** 2]),
        margin=np.array([0.0 if cutoff.periodic else 2 * reach]),
        excluded_starts=starts.astype(np.int64),
        excluded=np.ascontiguousarray(both[:, 1], np.int64),
    )


def _empty_list(atoms: int, room: int) -> NeighbourList:
    return NeighbourList(
        starts=np.zeros(-(-atoms // 2) + 1, np.int64),
        slots=np.zeros(room + 1, np.int32),
        masks=np.zeros(room, np.uint32),
        needed=np.zeros(1, np.int64),
    )
