"""Which blocks of sixteen atoms are near which atom: an order in space, and a list that serves for many steps.

Atoms are sorted along columns, up one and down the next, so that sixteen in a row lie together. A list holds every pair
within the cutoff and a buffer; it is found anew when an atom has gone half the buffer. Order and list follow from the
positions at which they were found and from nothing else: found again there, they give the same sums to the last bit.
"""

from typing import Any, NamedTuple

import numpy as np

from mdgen.md.engines.lanes.box.selection import bits_less
from mdgen.md.engines.lanes.lane_instructions import converted
from mdgen.md.engines.lanes.lane_math import lane_function
from mdgen.md.engines.lanes.lanes import LANES, load

_ALL = (1 << LANES) - 1
_BINS_AN_ATOM = 8
_LARGEST = 1e8
"""Edges of the box that an atom may be away; further, the replica has blown up."""
READY, FULL, LOST = 0, 1, 2
"""What came of a search: a list; more pairs than there is room for; an atom that is nowhere."""


class Space(NamedTuple):
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
        listed: float64 (atom, 3): where the list was found; NaN before there is one.
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


class Near(NamedTuple):
    """The list of one replica.

    Args:
        starts: int64 (couple + 1,): where the entries of the atoms in slots 2 k and 2 k + 1 begin.
        slots: int32 (entry + 1,): first slot of a block; one more may be looked at than there are.
        masks: uint32 (entry,): the atoms of the block that count for the first of the two, and from bit 16 on for the
            second; the cutoff is not in it.
        needed: int64 (1,): entries that the last search found.
    """

    starts: np.ndarray
    slots: np.ndarray
    masks: np.ndarray
    needed: np.ndarray


class Search(NamedTuple):
    """What a search for neighbours goes by.

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
def is_stale(x: Any, space: Any, search: Any) -> Any:
    """Whether an atom has gone too far for the list, or nowhere."""
    furthest = 0.0
    for atom in range(x.shape[0]):
        dx = x[atom, 0] - space.listed[atom, 0]
        dy = x[atom, 1] - space.listed[atom, 1]
        dz = x[atom, 2] - space.listed[atom, 2]
        square = dx * dx + dy * dy + dz * dz
        furthest = furthest if square <= furthest else (square if square == square else np.inf)
    return not furthest <= search.moved[0]


@lane_function
def place(x: Any, space: Any) -> None:
    """Write the atoms' coordinates to `space.grid`."""
    turn = 8 * space.grid.itemsize
    for axis in range(3):
        origin, inverse = space.edges[0, axis], 1.0 / space.edges[1, axis]
        for slot in range(space.order.shape[0]):
            part = (x[space.order[slot], axis] - origin) * inverse
            part -= np.rint(part)
            # Doubles have 53 bits; the shift wraps half an edge round to minus half.
            space.grid[slot // LANES, axis, slot % LANES] = (np.int64(part * 2.0**53) << 11) >> (64 - turn)


@lane_function
def find(x: Any, space: Any, near: Any, tables: Any, search: Any) -> Any:
    """Sort the atoms and find the list anew; returns `READY`, `FULL` or `LOST`."""
    _enclose(x, space, search)
    for atom in range(x.shape[0]):
        for axis in range(3):
            # Nothing less than a number will do: NaN compares false.
            if not abs((x[atom, axis] - space.edges[0, axis]) / space.edges[1, axis]) < _LARGEST:
                return LOST
    _sort(x, space)
    _acting_first(space.order, tables, x.shape[0])
    for slot in range(space.order.shape[0]):
        atom, block, lane = space.order[slot], slot // LANES, slot % LANES
        real = slot < x.shape[0]
        space.charges[block, lane] = tables.charges[atom] if real else 0.0
        space.kinds[slot] = tables.kinds[atom]
        for kind in range(space.strengths.shape[0]):
            for power in range(2):
                strength = tables.strengths[kind, tables.kinds[atom], power]
                space.strengths[kind, block, power, lane] = strength if real else 0.0
    for axis in range(3):
        space.scale[axis] = space.edges[1, axis] / 2.0 ** (8 * space.grid.itemsize)
    place(x, space)
    _list(space, near, search, x.shape[0])
    if near.needed[0] >= near.slots.shape[0]:
        return FULL
    space.listed[:] = x
    return READY


@lane_function
def _enclose(x: Any, space: Any, search: Any) -> None:
    """Without a box, take one so large that no atom sees an image."""
    if search.margin[0] == 0.0:
        return
    for axis in range(3):
        low, high = np.inf, -np.inf
        for atom in range(x.shape[0]):
            low, high = min(low, x[atom, axis]), max(high, x[atom, axis])
        space.edges[0, axis] = low - 0.5 * search.margin[0]
        space.edges[1, axis] = high - low + search.margin[0]


@lane_function
def _sort(x: Any, space: Any) -> None:
    """Sort by columns, up and down in turn, and by height in them; equals by their index."""
    atoms = x.shape[0]
    width = (space.edges[1, 0] * space.edges[1, 1] * space.edges[1, 2] * LANES / atoms) ** (1.0 / 3.0)
    most = int(np.sqrt(atoms)) + 1
    across = min(most, max(1, int(np.rint(space.edges[1, 0] / width))))
    along = min(most, max(1, int(np.rint(space.edges[1, 1] / width))))
    levels = max(1, _BINS_AN_ATOM * atoms // (across * along))
    key = np.empty(atoms, np.int64)
    counts = np.zeros(across * along * levels + 1, np.int64)
    bins, cell = (across, along, levels), np.empty(3, np.int64)
    for atom in range(atoms):
        for axis in range(3):
            part = (x[atom, axis] - space.edges[0, axis]) / space.edges[1, axis]
            part -= np.floor(part)
            cell[axis] = min(bins[axis] - 1, int(part * bins[axis]))
        column = cell[0] * along + (along - 1 - cell[1] if cell[0] % 2 else cell[1])
        key[atom] = column * levels + (levels - 1 - cell[2] if column % 2 else cell[2])
        counts[key[atom] + 1] += 1
    for k in range(1, counts.shape[0]):
        counts[k] += counts[k - 1]
    for atom in range(atoms):
        space.order[counts[key[atom]]] = atom
        counts[key[atom]] += 1
    for slot in range(atoms, space.order.shape[0]):
        space.order[slot] = space.order[atoms - 1]


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
def _boxes(space: Any) -> Any:
    """Middle, in turns, and half widths, in nm, of what each block encloses."""
    blocks = space.grid.shape[0]
    middle, half = np.empty((blocks, 3)), np.empty((blocks, 3))
    turn = 2.0 ** (8 * space.grid.itemsize)
    for block in range(blocks):
        for axis in range(3):
            first, low, high = space.grid[block, axis, 0], 0.0, 0.0
            for lane in range(1, LANES):
                apart = _wrapped(space.grid[block, axis, lane] - first, turn)
                low, high = min(low, apart), max(high, apart)
            middle[block, axis] = first / turn + 0.5 * (low + high)
            half[block, axis] = 0.5 * (high - low) * space.edges[1, axis]
    return middle, half


@lane_function
def _wrapped(difference: Any, turn: Any) -> Any:
    """A difference of two coordinates as a part of a turn between -1/2 and 1/2."""
    part = difference / turn
    return part - np.rint(part)


@lane_function
def _close_blocks(block: Any, middle: Any, half: Any, space: Any, search: Any, close: Any) -> Any:
    """Write to `close` the blocks from `block` on that an atom of it may reach; returns how many."""
    found, reach = 0, search.reach[0]
    for other in range(block, middle.shape[0]):
        square = 0.0
        for axis in range(3):
            apart = middle[block, axis] - middle[other, axis]
            gap = abs(apart - np.rint(apart)) * space.edges[1, axis] - half[block, axis] - half[other, axis]
            square += max(gap, 0.0) ** 2
        if square < reach:
            close[found] = other
            found += 1
    return found


@lane_function
def _list(space: Any, near: Any, search: Any, atoms: Any) -> None:
    """Every pair is listed once: for the atom in the lower slot."""
    blocks, reach = space.grid.shape[0], search.reach[0]
    starts, excluded = search.excluded_starts, search.excluded
    middle, half = _boxes(space)
    rank = np.empty(atoms, np.int64)
    for slot in range(atoms):
        rank[space.order[slot]] = slot
    allowed = np.full((2, blocks), _ALL, np.int64)
    allowed[:, blocks - 1] = _ALL >> (LANES * blocks - atoms)
    close, n_close, count = np.empty(blocks, np.int64), 0, 0
    for couple in range(near.starts.shape[0] - 1):
        block, lane = (2 * couple) // LANES, (2 * couple) % LANES
        if lane == 0:
            n_close = _close_blocks(block, middle, half, space, search, close)
        _exclude(allowed, 2 * couple, space.order, rank, starts, excluded)
        near.starts[couple] = count
        count = _entries(block, lane, close[:n_close], allowed, space, near, reach, count)
        _include(allowed, 2 * couple, space.order, rank, starts, excluded)
    near.starts[near.starts.shape[0] - 1] = count
    near.needed[0] = count


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
def _entries(block: Any, lane: Any, close: Any, allowed: Any, space: Any, near: Any, reach: Any, count: Any) -> Any:
    """Write the entries of two atoms side by side, as far as there is room; returns the count with them."""
    grid, room = space.grid, near.slots.shape[0] - 1
    scale_x, scale_y, scale_z = space.scale[0], space.scale[1], space.scale[2]
    x, y, z = grid[block, 0, lane], grid[block, 1, lane], grid[block, 2, lane]
    p, q, r = grid[block, 0, lane + 1], grid[block, 1, lane + 1], grid[block, 2, lane + 1]
    like = load(space.charges, (block,))
    for k in range(close.shape[0]):
        other = close[k]
        at_x, at_y, at_z = load(grid, (other, 0)), load(grid, (other, 1)), load(grid, (other, 2))
        dx, dy, dz = converted(x - at_x, like), converted(y - at_y, like), converted(z - at_z, like)
        dx, dy, dz = dx * scale_x, dy * scale_y, dz * scale_z
        one = bits_less(dx * dx + dy * dy + dz * dz, reach) & allowed[0, other]
        dx, dy, dz = converted(p - at_x, like), converted(q - at_y, like), converted(r - at_z, like)
        dx, dy, dz = dx * scale_x, dy * scale_y, dz * scale_z
        two = bits_less(dx * dx + dy * dy + dz * dz, reach) & allowed[1, other]
        if one | two:
            if count < room:
                near.slots[count] = LANES * other
                near.masks[count] = allowed[0, other] | (allowed[1, other] << LANES)
            count += 1
    return count
