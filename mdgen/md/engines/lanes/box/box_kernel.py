"""Replicas of one box or of one molecule with a cutoff: the engine's fast path on processors for those."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.md.engines.lanes.bonded_terms import as_numpy
from mdgen.md.engines.lanes.box.block_neighbours import (
    DIVERGED,
    OVERFLOW,
    NeighbourList,
    NeighbourSearch,
    SortedAtoms,
)
from mdgen.md.engines.lanes.box.box_steps import ENERGY_TERMS, Model, advance_replica, replica_energies
from mdgen.md.engines.lanes.box.cutoff_pairs import PairTables
from mdgen.md.engines.lanes.lane_kernel import EnergiesAndForces, LaneKernel, Motion, aligned, motion_in_turn
from mdgen.md.engines.lanes.pair_laws import cutoff_tables
from mdgen.md.engines.lanes.rigid.whole_step import StepSpace, step_space, step_tables
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.parameters import Cutoff, ForceFieldParameters
from mdgen.md.force_field.terms.nonbonded import pair_kinds
from mdgen.simd.lanes import LANES

_TURN = {np.float32: np.int32, np.float64: np.int64}
"""Integer type of a coordinate, in parts of the box's edge, for a number type of the forces."""
_BUFFER_NM = 0.2
"""Reach of the neighbour lists beyond the cutoff; it changes the speed and the rounding, nothing else."""
_SAFE = 0.999
_ROOM = 1.2


class BoxKernel(LaneKernel):
    """Langevin or constant-energy dynamics of `n_replicas` copies of a system with a cutoff.

    Each replica runs by itself on one thread, so replicas never influence one another, and neither the number of
    threads nor that of replicas changes a bit of a trajectory. Positions and velocities are kept in double precision
    whatever the precision of the forces, and are never wrapped into the box. A replica whose positions are no longer
    finite stands still from then on.
    """

    name = "box_kernel"

    def _lay_out(self, parameters: ForceFieldParameters, friction_per_ps: float, seed: int) -> Motion:
        assert parameters.cutoff is not None
        self._field, self.cutoff = ForceField(parameters), parameters.cutoff
        self._model = Model(
            _pair_tables(parameters, self.cutoff, self.dtype),
            _search(parameters, self.cutoff, self.dtype),
            step_tables(parameters, self.dtype, self.timestep_ps, friction_per_ps),
        )
        self._ordered = [self._sorted_atoms() for _ in range(self.n_replicas)]
        self._neighbours = [_empty_list(self.n_atoms, 0) for _ in range(self.n_replicas)]
        return motion_in_turn(self.n_replicas, self.n_atoms, seed)

    def _take_cell(self, cell: Float[Tensor, "replica 3"] | None) -> None:
        self._field.require_cell(cell)
        for ordered in self._ordered:
            ordered.listed[:] = np.nan
        if cell is not None:
            self.cells = np.broadcast_to(as_numpy(cell.double()), (self.n_replicas, 3)).copy()
            for ordered, edges in zip(self._ordered, self.cells, strict=True):
                ordered.edges[1] = edges

    def _centred(self, positions: np.ndarray) -> np.ndarray:
        return positions

    def energies_and_forces(self) -> EnergiesAndForces:
        """Energies by term, and forces."""
        energies = np.zeros((self.n_replicas, len(ENERGY_TERMS)))
        forces = np.empty(self._state.positions.shape, self.dtype)

        def evaluate(replica: int, work: StepSpace) -> None:
            state = OVERFLOW
            while state == OVERFLOW:
                energies[replica] = 0.0
                ordered, neighbours = self._ordered[replica], self._neighbours[replica]
                x = self._state.positions[replica]
                state = replica_energies(x, ordered, neighbours, self._model, work, energies[replica])
                if state == OVERFLOW:
                    self._grow(replica)
            forces[replica] = work.forces
            if state == DIVERGED:
                energies[replica], forces[replica] = np.nan, np.nan

        self._each_task(evaluate)
        terms = {term: energies[:, row] for row, term in enumerate(ENERGY_TERMS)}
        if self.cells is not None and self.cutoff.dispersion_kJ_nm3:
            terms["dispersion_correction"] = self.cutoff.dispersion_kJ_nm3 / self.cells.prod(-1)
        return terms, forces

    def state_dict(self) -> dict[str, Tensor]:
        """All that a bitwise continuation needs: where the lists were built too, since rounding depends on it."""
        cells = {} if self.cells is None else {"cell": torch.from_numpy(self.cells.copy())}
        listed = torch.from_numpy(np.stack([ordered.listed for ordered in self._ordered]))
        return super().state_dict() | cells | {"listed": listed}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue from what `state_dict` returned, in a kernel made with the same settings."""
        if state["positions"].shape == self._state.positions.shape:
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

    def _grow(self, replica: int) -> None:
        self._neighbours[replica] = _empty_list(self.n_atoms, int(_ROOM * self._neighbours[replica].needed[0]) + 1)

    def _run(self, n_steps: int, every: int, frames: np.ndarray) -> None:
        def advance(replica: int, work: StepSpace) -> None:
            done = 0
            while done < n_steps:
                ordered, neighbours = self._ordered[replica], self._neighbours[replica]
                where = (replica, self._state, ordered, neighbours, self._model)
                done, state = advance_replica(*where, work, done, n_steps, every, frames[replica])
                if state == OVERFLOW:
                    self._grow(replica)

        self._each_task(advance)
        self.steps_done += n_steps

    def _work_space(self) -> StepSpace:
        return step_space(self.n_atoms, self.dtype)


def _pair_tables(parameters: ForceFieldParameters, cutoff: Cutoff, dtype: type) -> PairTables:
    p, ends = parameters, cutoff_tables(cutoff, dtype)
    table = p.pair_table if p.pair_table is not None else pair_kinds(p.sigma, p.epsilon)
    sixth = table.sigma.detach().double().pow(6)
    strength = 4 * table.epsilon.detach().double() * sixth
    strengths = np.stack([12 * (strength * sixth).numpy(), 6 * strength.numpy()], -1)
    return PairTables(
        charges=(p.charges.detach().double().numpy() * p.coulomb_constant**0.5).astype(dtype),
        kinds=np.ascontiguousarray(table.kind.numpy(), np.int64),
        strengths=np.ascontiguousarray(strengths, dtype),
        acts=(np.abs(strengths).sum((1, 2)) > 0).astype(np.int64),
        square=ends.square,
        field=ends.field,
        switch=ends.switch,
        coulomb_switch=ends.switch if cutoff.switch_coulomb else None,
    )


def _search(parameters: ForceFieldParameters, cutoff: Cutoff, dtype: type) -> NeighbourSearch:
    pairs = as_numpy(parameters.exception_atoms).reshape(-1, 2)
    both = np.concatenate([pairs, pairs[:, ::-1]])
    both = both[np.argsort(both[:, 0], kind="stable")]
    starts = np.searchsorted(both[:, 0], np.arange(parameters.n_atoms + 1))
    reach = cutoff.distance_nm + _BUFFER_NM
    return NeighbourSearch(
        reach=np.array([reach**2], dtype),
        moved=np.array([(0.5 * _SAFE * _BUFFER_NM) ** 2]),
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
