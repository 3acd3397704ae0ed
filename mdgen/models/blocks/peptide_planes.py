"""Peptide planes: what the torsions of a residue and the frames of its neighbours say of phi and psi, made to agree.

A latent says each of these angles twice. The channels of the carbonyl and of the amide turn O and H (or proline's CD)
against the frame of their own residue; where the frames of two bonded residues stand turns the next N and the C before.
Both lie in the plane of the peptide bond, opposite each other, so what the channels say is known of the frames as well.
Dynamics bend a plane by a few degrees. Sampled latents differ by more, and then the channels are nearer to the truth:
the chain is turned about CA-C and N-CA until the frames agree with them, which changes no bond, no angle and no other
torsion. Where that would tear another bond between residues, as within the loop of a disulphide, O and H are turned
instead, but for proline's ring, which stays whole.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.geometry.frames import Frames
from mdgen.geometry.rotations import rotation_from_quaternion
from mdgen.models.blocks.bond_closure import within
from mdgen.models.blocks.token_geometry import Internal, atoms_of_frames, picked
from mdgen.models.blocks.token_tables import TokenTables
from mdgen.molecule.tokens import TORSION_SLOTS

SLACK = (math.radians(18), math.radians(33))
"""Angles by which the bonds of C, and of N, bend out of their plane in 99 of 100 frames of peptides at 350 K."""


def in_planes(
    frames: Frames,
    points: Float[Tensor, "batch 3 frame_atom frame"],
    internal: Internal,
    tables: TokenTables,
    turn_chain: bool = True,
) -> tuple[Frames, Internal]:
    """Frames (batch, frame, token) and internal channels whose peptide bonds lie in planes, but for a thermal bend.

    Bends within `SLACK` are left alone, larger ones are brought into it (`bond_closure.within`).

    Args:
        frames: frame of each token.
        points: what `token_geometry.points_of_frames` returned.
        internal: channels that are not the rigid motion.
        tables: tables of the molecules.
        turn_chain: turn what follows in the chain, where that tears nothing; False turns O and H everywhere.
    """
    n_tokens = tables.plane_torsion.shape[1]
    torsions = tables.plane_torsion.flatten(1)
    channels = internal[..., : 2 * TORSION_SLOTS].permute(0, 3, 2, 1).unflatten(1, (2, TORSION_SLOTS))
    sine, cosine = picked(channels.transpose(2, 3).flatten(2, 3), torsions).unbind(1)
    placed = atoms_of_frames(frames, points, tables)
    places = tables.place.expand(len(torsions), -1).gather(1, tables.plane_atoms.flatten(1)).unflatten(1, (-1, 4))
    reference, start, end, far = (picked(placed, column) for column in places.unbind(-1))
    axis = end - start
    axis = axis / axis.square().sum(1, keepdim=True).clamp(min=1e-12).sqrt()
    before, after = torch.linalg.cross(start - reference, axis, dim=1), torch.linalg.cross(axis, far - end, dim=1)
    seen = torch.atan2(((start - reference) * after).sum(1), (before * after).sum(1))
    bend = seen + math.pi - torch.atan2(sine, cosine)
    bend = bend - 2 * math.pi * (bend / (2 * math.pi)).round()
    slack = bend.new_tensor(SLACK).repeat(n_tokens)[:, None]
    excess = torch.where(tables.has_plane.flatten(1)[..., None], bend - within(bend, slack), 0.0)
    if not bool(excess.any()):
        return frames, internal
    free = tables.plane_turns.flatten(1)[..., None] & turn_chain
    # a ring that holds the frame would be torn
    of_atoms = torch.where(free | tables.plane_in_ring.flatten(1)[..., None], 0.0, excess)
    of_chain = torch.where(free, excess, 0.0)
    # columns of both planes of each token: that of the carbonyl before it, whose far side moves, and its own amide's
    of_chain = of_chain * of_chain.new_tensor([-1.0, 1.0]).repeat(n_tokens)[:, None]
    turns = _about(axis, end, of_chain)
    frames = _turned_chain(frames, turns, tables)
    return frames, _turned_channels(internal, of_atoms, torsions)


def _about(
    axis: Float[Tensor, "batch 3 plane frame"],
    point: Float[Tensor, "batch 3 plane frame"],
    angle: Float[Tensor, "batch plane frame"],
) -> Frames:
    """Turns by angles about lines through points: (batch, plane, frame)."""
    half = angle[:, None] / 2
    rotations = rotation_from_quaternion(torch.cat([half.cos(), half.sin() * axis], 1).movedim(1, -1))
    point = point.movedim(1, -1)
    return Frames(rotations, point - (rotations @ point[..., None])[..., 0])


def _turned_chain(frames: Frames, turns: Frames, tables: TokenTables) -> Frames:
    """Every frame after all the turns before it in its chain; each turn is told in the coordinates before any."""
    whole = turns[:, 0]  # the first token has no plane before it: its turns are the identity
    moved = []
    for token in range(frames.shape[2]):
        starts = tables.starts_chain[:, token, None]
        before = Frames(
            torch.where(starts[..., None, None], turns.rotations[:, 0], whole.rotations),
            torch.where(starts[..., None], turns.origins[:, 0], whole.origins),
        )
        whole = before.compose(turns[:, 2 * token]).compose(turns[:, 2 * token + 1])
        moved.append(whole)
    together = Frames(
        torch.stack([each.rotations for each in moved], 2), torch.stack([each.origins for each in moved], 2)
    )
    return together.compose(frames)


def _turned_channels(internal: Internal, angle: Float[Tensor, "batch plane frame"], torsions: Tensor) -> Internal:
    """Torsions turned by angles."""
    both = internal[..., : 2 * TORSION_SLOTS]
    by_torsion = angle.new_zeros(len(angle), internal.shape[2] * TORSION_SLOTS, angle.shape[2])
    by_torsion = by_torsion.scatter_add(1, torsions[..., None].expand_as(angle), angle)
    turn = by_torsion.unflatten(1, (-1, TORSION_SLOTS)).permute(0, 3, 1, 2)
    sine, cosine = both.unflatten(-1, (2, TORSION_SLOTS)).unbind(-2)
    turned = [sine * turn.cos() + cosine * turn.sin(), cosine * turn.cos() - sine * turn.sin()]
    return torch.cat([*turned, internal[..., 2 * TORSION_SLOTS :]], -1)
