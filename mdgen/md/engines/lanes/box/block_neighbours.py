"""Neighbour lists of blocks of sixteen atoms: atoms sorted in space, and the blocks near every atom.

Atoms are sorted along columns, up one and down the next, so that sixteen in a row lie close together. A list holds
every pair within the cutoff and a buffer, and is rebuilt when an atom has moved by half the buffer. Order and list
depend only on the positions at which they were built: built again there, they give the same sums to the last bit.
"""

from typing import Any, NamedTuple

import numpy as np

from mdgen.md.engines.lanes.vectors import dot, load_vector, minus, store_vector
from mdgen.simd.jit import lane_function
from mdgen.simd.lane_instructions import bits_less, converted
from mdgen.simd.lanes import LANES, load

_ALL = (1 << LANES) - 1
_BINS_AN_ATOM = 8
_LARGEST = 1e8
"""Largest coordinate in edges of the box; beyond it the replica has diverged."""
READY, OVERFLOW, DIVERGED = 0, 1, 2
"""Outcome of a rebuild: a list; more pairs than it has room for; an atom without a finite position."""


class SortedAtoms(NamedTuple):
    """The atoms of one replica sorted into blocks; `number` is float32 or float64, `turn` int32 or int64.

    Args:
        order: int64 (slot,): the atom in each slot; slots after the last atom repeat it.
        grid: turn (block, 3, lane): coordinates, a turn for an edge.
        charges: number (block, lane).
        kinds: int64 (slot,).
        strengths: number (kind, block, 2, lane): `PairTables.strengths` of each kind with the atom in the slot.
        forces: number (block, 3, lane).
        scale: number (3,): nm of a unit of `grid`.
        edges: float64 (2, 3): origin and edges of the box.
        listed: float64 (atom, 3): positions at which the list was built; NaN before the first.
    """

    order: np.ndarray
    grid: np.ndarray
    charges: np.ndarray
    kinds: np.ndarray
    strengths: np.ndarray
    forces: np.ndarray
    scale: np.ndarray
    edges: np.ndarray
    listed: np.ndarray


class NeighbourList(NamedTuple):
    """The neighbour list of one replica.

    Args:
        starts: int64 (couple + 1,): where the entries of the atoms in slots 2 k and 2 k + 1 begin.
        slots: int32 (entry + 1,): first slot of a block; one more may be looked at than there are.
        masks: uint32 (entry,): the atoms of the block that count for the first of the two, and from bit 16 on for the
            second; the cutoff is not in it.
        needed: int64 (1,): entries that the last rebuild found.
    """

    starts: np.ndarray
    slots: np.ndarray
    masks: np.ndarray
    needed: np.ndarray


class NeighbourSearch(NamedTuple):
    """Settings of the neighbour list, and the pairs excluded from it.

    Args:
        reach: number (1,): square of the cutoff and the buffer.
        moved: float64 (1,): square distance that an atom may go before the list is stale.
        margin: float64 (1,): room to leave around atoms without a box, nm; 0 for periodic boxes.
        excluded_starts: int64 (atom + 1,).
        excluded: int64 (exclusion,): partners in exceptions of every atom, both ways round.
    """

    reach: np.ndarray
    moved: np.ndarray
    margin: np.ndarray
    excluded_starts: np.ndarray
    excluded: np.ndarray


@lane_function
def is_stale(x: Any, ordered: Any, search: Any) -> Any:
    """Whether an atom has moved too far for the list, or is not finite."""
    furthest = 0.0
    for atom in range(x.shape[0]):
        moved = minus(load_vector(x, atom), load_vector(ordered.listed, atom))
        square = dot(moved, moved)
        furthest = furthest if square <= furthest else (square if square == square else np.inf)
    return not furthest <= search.moved[0]


@lane_function
def update_grid(x: Any, ordered: Any) -> None:
    """Write the atoms' coordinates to `ordered.grid`."""
    turn = 8 * ordered.grid.itemsize
    for axis in range(3):
        origin, inverse = ordered.edges[0, axis], 1.0 / ordered.edges[1, axis]
        for slot in range(ordered.order.shape[0]):
            part = (x[ordered.order[slot], axis] - origin) * inverse
            part -= np.rint(part)
            # Doubles have 53 bits; the shift wraps half an edge round to minus half.
            ordered.grid[slot // LANES, axis, slot % LANES] = (np.int64(part * 2.0**53) << 11) >> (64 - turn)


@lane_function
def rebuild(x: Any, ordered: Any, neighbours: Any, tables: Any, search: Any) -> Any:
    """Sort the atoms and build their list; returns `READY`, `OVERFLOW` or `DIVERGED`."""
    _enclose(x, ordered, search)
    for atom in range(x.shape[0]):
        for axis in range(3):
            # Written so that NaN, which compares false, is caught too.
            if not abs((x[atom, axis] - ordered.edges[0, axis]) / ordered.edges[1, axis]) < _LARGEST:
                return DIVERGED
    _sort(x, ordered)
    _acting_first(ordered.order, tables, x.shape[0])
    for slot in range(ordered.order.shape[0]):
        atom, block, lane = ordered.order[slot], slot // LANES, slot % LANES
        real = slot < x.shape[0]
        ordered.charges[block, lane] = tables.charges[atom] if real else 0.0
        ordered.kinds[slot] = tables.kinds[atom]
        for kind in range(ordered.strengths.shape[0]):
            for power in range(2):
                strength = tables.strengths[kind, tables.kinds[atom], power]
                ordered.strengths[kind, block, power, lane] = strength if real else 0.0
    for axis in range(3):
        ordered.scale[axis] = ordered.edges[1, axis] / 2.0 ** (8 * ordered.grid.itemsize)
    update_grid(x, ordered)
    _list(ordered, neighbours, search, x.shape[0])
    if neighbours.needed[0] >= neighbours.slots.shape[0]:
        return OVERFLOW
    for atom in range(x.shape[0]):
        store_vector(ordered.listed, atom, load_vector(x, atom))
    return READY


@lane_function
def _enclose(x: Any, ordered: Any, search: Any) -> None:
    """Without a box, take one so large that no atom sees an image."""
    if search.margin[0] == 0.0:
        return
    for axis in range(3):
        low, high = np.inf, -np.inf
        for atom in range(x.shape[0]):
            low, high = min(low, x[atom, axis]), max(high, x[atom, axis])
        ordered.edges[0, axis] = low - 0.5 * search.margin[0]
        ordered.edges[1, axis] = high - low + search.margin[0]


@lane_function
def _sort(x: Any, ordered: Any) -> None:
    """Sort by columns, up and down in turn, and by height in them; equals by their index."""
    atoms = x.shape[0]
    width = (ordered.edges[1, 0] * ordered.edges[1, 1] * ordered.edges[1, 2] * LANES / atoms) ** (1.0 / 3.0)
    most = int(np.sqrt(atoms)) + 1
    across = min(most, max(1, int(np.rint(ordered.edges[1, 0] / width))))
    along = min(most, max(1, int(np.rint(ordered.edges[1, 1] / width))))
    levels = max(1, _BINS_AN_ATOM * atoms // (across * along))
    key = np.empty(atoms, np.int64)
    counts = np.zeros(across * along * levels + 1, np.int64)
    bins, cell = (across, along, levels), np.empty(3, np.int64)
    for atom in range(atoms):
        for axis in range(3):
            part = (x[atom, axis] - ordered.edges[0, axis]) / ordered.edges[1, axis]
            part -= np.floor(part)
            cell[axis] = min(bins[axis] - 1, int(part * bins[axis]))
        column = cell[0] * along + (along - 1 - cell[1] if cell[0] % 2 else cell[1])
        key[atom] = column * levels + (levels - 1 - cell[2] if column % 2 else cell[2])
        counts[key[atom] + 1] += 1
    for k in range(1, counts.shape[0]):
        counts[k] += counts[k - 1]
    for atom in range(atoms):
        ordered.order[counts[key[atom]]] = atom
        counts[key[atom]] += 1
    for slot in range(atoms, ordered.order.shape[0]):
        ordered.order[slot] = ordered.order[atoms - 1]


@lane_function
def _acting_first(order: Any, tables: Any, atoms: Any) -> None:
    """In every block, put the atoms with Lennard-Jones first: two without any take a shorter way through the sweep."""
    rest = np.empty(LANES, np.int64)
    for start in range(0, atoms, LANES):
        n_rest, at = 0, start
        for slot in range(start, min(start + LANES, atoms)):
            if tables.acts[tables.kinds[order[slot]]]:
                order[at] = order[slot]
                at += 1
            else:
                rest[n_rest] = order[slot]
                n_rest += 1
        for k in range(n_rest):
            order[at + k] = rest[k]


@lane_function
def _boxes(ordered: Any) -> Any:
    """Middle, in turns, and half widths, in nm, of what each block encloses."""
    blocks = ordered.grid.shape[0]
    middle, half = np.empty((blocks, 3)), np.empty((blocks, 3))
    turn = 2.0 ** (8 * ordered.grid.itemsize)
    for block in range(blocks):
        for axis in range(3):
            first, low, high = ordered.grid[block, axis, 0], 0.0, 0.0
            for lane in range(1, LANES):
                apart = (ordered.grid[block, axis, lane] - first) / turn
                apart -= np.rint(apart)
                low, high = min(low, apart), max(high, apart)
            middle[block, axis] = first / turn + 0.5 * (low + high)
            half[block, axis] = 0.5 * (high - low) * ordered.edges[1, axis]
    return middle, half


@lane_function
def _close_blocks(block: Any, middle: Any, half: Any, ordered: Any, search: Any, close: Any) -> Any:
    """Write to `close` the blocks from `block` on that an atom of it may reach; returns how many."""
    found, reach = 0, search.reach[0]
    for other in range(block, middle.shape[0]):
        square = 0.0
        for axis in range(3):
            apart = middle[block, axis] - middle[other, axis]
            gap = abs(apart - np.rint(apart)) * ordered.edges[1, axis] - half[block, axis] - half[other, axis]
            square += max(gap, 0.0) ** 2
        if square < reach:
            close[found] = other
            found += 1
    return found


@lane_function
def _list(ordered: Any, neighbours: Any, search: Any, atoms: Any) -> None:
    """Every pair is listed once: for the atom in the lower slot."""
    blocks, reach = ordered.grid.shape[0], search.reach[0]
    starts, excluded = search.excluded_starts, search.excluded
    middle, half = _boxes(ordered)
    rank = np.empty(atoms, np.int64)
    for slot in range(atoms):
        rank[ordered.order[slot]] = slot
    allowed = np.full((2, blocks), _ALL, np.int64)
    allowed[:, blocks - 1] = _ALL >> (LANES * blocks - atoms)
    close, n_close, count = np.empty(blocks, np.int64), 0, 0
    for couple in range(neighbours.starts.shape[0] - 1):
        block, lane = (2 * couple) // LANES, (2 * couple) % LANES
        if lane == 0:
            n_close = _close_blocks(block, middle, half, ordered, search, close)
        _exclude(allowed, 2 * couple, ordered.order, rank, starts, excluded)
        neighbours.starts[couple] = count
        count = _entries(block, lane, close[:n_close], allowed, ordered, neighbours, reach, count)
        _include(allowed, 2 * couple, ordered.order, rank, starts, excluded)
    neighbours.starts[neighbours.starts.shape[0] - 1] = count
    neighbours.needed[0] = count


@lane_function
def _exclude(allowed: Any, first: Any, order: Any, rank: Any, starts: Any, excluded: Any) -> None:
    """For two slots, clear the bits of the atoms of the block up to themselves, and of the partners in exceptions."""
    for k in range(2):
        slot = first + k
        if slot >= rank.shape[0]:
            allowed[k, :] = 0
            return
        allowed[k, slot // LANES] &= _ALL << (slot % LANES + 1)
        for e in range(starts[order[slot]], starts[order[slot] + 1]):
            other = rank[excluded[e]]
            allowed[k, other // LANES] &= ~(1 << (other % LANES))


@lane_function
def _include(allowed: Any, first: Any, order: Any, rank: Any, starts: Any, excluded: Any) -> None:
    """Undo `_exclude`."""
    atoms, blocks = rank.shape[0], allowed.shape[1]
    for k in range(2):
        slot = first + k
        allowed[k, slot // LANES] = _ALL
        if slot < atoms:
            for e in range(starts[order[slot]], starts[order[slot] + 1]):
                allowed[k, rank[excluded[e]] // LANES] = _ALL
        allowed[k, blocks - 1] = _ALL >> (LANES * blocks - atoms)


@lane_function
def _within(apart: Any, ordered: Any, reach: Any) -> Any:
    """An integer with the bits of those lanes set where a difference of coordinates is short enough."""
    like, scale = load(ordered.charges, (0,)), ordered.scale
    dx, dy, dz = converted(apart[0], like), converted(apart[1], like), converted(apart[2], like)
    apart = dx * scale[0], dy * scale[1], dz * scale[2]
    return bits_less(dot(apart, apart), reach)


@lane_function
def _entries(
    block: Any, lane: Any, close: Any, allowed: Any, ordered: Any, neighbours: Any, reach: Any, count: Any
) -> Any:
    """Write the entries of two atoms side by side, as far as there is room; returns the count with them."""
    grid, room = ordered.grid, neighbours.slots.shape[0] - 1
    x, y, z = grid[block, 0, lane], grid[block, 1, lane], grid[block, 2, lane]
    p, q, r = grid[block, 0, lane + 1], grid[block, 1, lane + 1], grid[block, 2, lane + 1]
    for k in range(close.shape[0]):
        other = close[k]
        there = load_vector(grid, other)
        one, two = minus((x, y, z), there), minus((p, q, r), there)
        if (_within(one, ordered, reach) & allowed[0, other]) | (_within(two, ordered, reach) & allowed[1, other]):
            if count < room:
                neighbours.slots[count] = LANES * other
                neighbours.masks[count] = allowed[0, other] | (allowed[1, other] << LANES)
            count += 1
    return count
