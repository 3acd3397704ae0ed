"""Atoms that overlap in decoded structures moved apart, by the least motion of the latent.

Repulsion makes a sharp edge in the distribution of structures, which a continuous network rounds off: a few structures
of every hundred, or of every three in a large peptide, come out with atoms inside of one another. Newton steps on the
root of the sum of squared overlaps, along the latent channels that are soft, move these apart: torsions turn, the most
of a frame by ten to fifteen degrees, bonds between residues close again, angles change where torsions do not suffice.
Steps lead beyond the edge, as far as thermal motion spreads neighbours there, so that they do not pile up at it.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import pad

from mdgen.molecule.topology import Molecule
from mdgen.molecule.van_der_waals import clash_distances, nonbonded_pairs

MOST_STEPS = 12
"""Steps of a structure, at most."""

_LEFT_ALONE = 0.003
"""Overlap in nm beyond `ALLOWED_OVERLAP_NM` that stays: dynamics at 350 K show as much in one frame of sixty."""

_BEYOND = 0.015
"""How far in nm beyond the edge a step leads."""

_LARGEST_STEP = 1.5
"""Largest norm of a step, in units of the channels' softness."""

_LEAST = 1e-12
"""Least squared slope, and squared step, that is divided by."""

_APART = 1e-6
"""Offset in nm of atoms in one place, which gives their distance a slope."""

_DISTANCES, _MOVED_ATOMS = 2**24, 2**18
"""Distances that are in memory at a time, and atoms that move at a time, each of which takes some kilobytes."""

Latent = Float[Tensor, "batch frame token channel"]
Positions = Float[Tensor, "batch frame atom 3"]


@lru_cache(maxsize=8)
def least_distances(
    molecules: tuple[Molecule, ...], n_atoms: int, device: torch.device
) -> Float[Tensor, "row atom atom"]:
    """Distances in nm below which atoms are moved apart, above the diagonal; zero for pairs at any distance."""
    with torch.inference_mode(False):  # they are kept, and followed back elsewhere
        wide = [n_atoms - molecule.n_atoms for molecule in molecules]
        own = [_of_molecule(molecule) for molecule in molecules]
        return torch.stack([pad(each, (0, more, 0, more)) for each, more in zip(own, wide, strict=True)]).to(device)


@lru_cache(maxsize=256)
def _of_molecule(molecule: Molecule) -> Float[Tensor, "atom atom"]:
    table = torch.zeros(molecule.n_atoms, molecule.n_atoms)
    pairs = nonbonded_pairs(molecule, hydrogens=True)
    first, second = torch.from_numpy(pairs).unbind(1)
    table[first, second] = torch.from_numpy(clash_distances(molecule, pairs)).float() - _LEFT_ALONE
    return table


def without_clashes(
    latent: Latent,
    positions: Positions,
    place: Callable[[Latent], Positions],
    least: Float[Tensor, "row atom atom"],
    softness: Float[Tensor, "token channel"],
) -> Positions:
    """Positions without clashes, as far as some steps reach; those of other frames are the same as before.

    Args:
        latent: latent that was decoded.
        positions: what it was decoded to.
        place: decoding of some frames of every row.
        least: what `least_distances` returned.
        softness: how far each channel moves under the same force, in its own unit.
    """
    with torch.no_grad():
        clashing = overlap(positions, least) > 0
    if not bool(clashing.any()):
        return positions
    chosen = _first(clashing)
    began = _frames(latent, chosen)
    size = max(1, _MOVED_ATOMS // (len(latent) * positions.shape[2]))
    moved = began + torch.cat([_motion(some, place, least, softness) for some in began.detach().split(size, 1)], 1)
    there = clashing.gather(1, chosen)[..., None, None]
    apart = torch.where(there, place(moved), _frames(positions, chosen))
    return positions.scatter(1, chosen[..., None, None].expand_as(apart), apart)


def overlap(positions: Positions, least: Float[Tensor, "row atom atom"]) -> Float[Tensor, "batch frame"]:
    """Root of the sum of squared overlaps of every frame in nm, differentiable; zero where no atoms clash."""
    batch, n_frames, n_atoms = positions.shape[:3]
    flat = positions.flatten(0, 1)
    rows = torch.arange(batch, device=flat.device).repeat_interleave(n_frames) % len(least)
    with torch.no_grad():  # few pairs clash, and only these are followed back
        found, centred = [], flat - flat.mean(1, keepdim=True)
        for frames in torch.arange(len(flat), device=flat.device).split(max(1, _DISTANCES // n_atoms**2)):
            near = torch.cdist(centred[frames], centred[frames]) < (least if len(least) == 1 else least[rows[frames]])
            frame, *pair = near.nonzero().unbind(1)
            found.append(torch.stack([frames[frame], *pair]))
        frame, first, second = torch.cat(found, 1)
    between = flat[frame, first] - flat[frame, second] + _APART
    inside = least[rows[frame], first, second] - torch.linalg.vector_norm(between, dim=-1)
    squares = flat.new_zeros(len(flat)).index_add(0, frame, inside.clamp(min=0).square())
    tiny = torch.finfo(squares.dtype).tiny  # the slope is finite where there is no overlap
    return torch.where(squares > tiny, squares.clamp(min=tiny).sqrt(), 0).unflatten(0, (batch, n_frames))


def _motion(
    latent: Latent, place: Callable[[Latent], Positions], least: Tensor, softness: Float[Tensor, "token channel"]
) -> Latent:
    """The motion of frames that clash; none where the slope is not finite."""
    total = torch.zeros_like(latent)
    chosen = torch.arange(latent.shape[1], device=latent.device).expand(len(latent), -1)
    for _ in range(MOST_STEPS):
        here = _frames(total, chosen)
        with torch.enable_grad():
            moved = (_frames(latent, chosen) + here).requires_grad_()
            inside = overlap(place(moved), least)
            (slope,) = torch.autograd.grad(inside.sum(), moved)
        clashing = (inside > 0) & slope.isfinite().all(3).all(2)
        if not bool(clashing.any()):
            break
        soft = slope * softness.square()
        factor = (inside.detach() + _BEYOND) / (slope * soft).sum((2, 3)).clamp(min=_LEAST)
        size = factor * (slope * softness).square().sum((2, 3)).sqrt()
        factor = factor * (_LARGEST_STEP / size.clamp(min=_LEAST)).clamp(max=1.0)
        here = torch.where(clashing[..., None, None], here - factor[..., None, None] * soft, here)
        total.scatter_(1, chosen[..., None, None].expand_as(here), here)
        chosen = chosen.gather(1, _first(clashing))
    return total


def _first(chosen: Bool[Tensor, "batch frame"]) -> Tensor:
    """The frames that are chosen in each row, filled up by others to as many as there are in the row with the most."""
    return chosen.byte().argsort(dim=1, descending=True, stable=True)[:, : int(chosen.sum(1).max())]


def _frames(values: Float[Tensor, "batch frame *shape"], chosen: Tensor) -> Tensor:
    """Frames of each row by their numbers."""
    return values.gather(1, chosen[..., None, None].expand(-1, -1, *values.shape[2:]))
