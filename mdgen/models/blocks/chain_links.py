"""The motion of a residue against the one before it in its chain: the internal coordinates of the link between them.

Two rigid frames that are joined by a bond have six degrees of freedom: the bond's length, the angles at both of its
atoms, the torsion about it (omega), and those about the bonds next to it (phi of one residue and psi of the other).
The channels of the carbonyl's and the amide's torsions tell psi and phi already, by where O and H are; what is left of
both is how far the bonds of C, and of N, bend out of a plane. So nothing is told twice, and a latent cannot contradict
itself, as one of frames against a key frame can; bonds close by themselves. For it, errors add up along a chain, so
these are the coordinates of peptides rather than of large proteins.

Channels, in order: bend of C out of its plane, angle at C (CA-C-N) and length of the bond less their ideals, sine and
cosine of omega, angle at N (C-N-CA), and bend of N; in rad and nm. Caps have no torsion there; the bond is then
measured against the plane of the cap's own frame.
"""

import math
from functools import lru_cache

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.geometry.dihedrals import bond_angles, bond_lengths, dihedral_angles
from mdgen.geometry.frames import Frames, frames_about_bonds, turned_about_z
from mdgen.models.blocks.bond_closure import within
from mdgen.models.blocks.token_geometry import Internal, pick, picked
from mdgen.models.blocks.token_tables import TokenTables
from mdgen.molecule.tokens import TORSION_SLOTS, TokenLayout

LINK = 7
"""Channels of a link: as many as a rigid motion takes, so that tokens of either kind have the same shape."""

OMEGA = slice(3, 5)
"""Sine and cosine of omega."""

_PLANAR = math.radians(120.0)
_LENGTH_NM = 0.1335

_SLACK = (math.radians(18), math.radians(15), 0.012, math.radians(15), math.radians(33))
"""Bends, angles and length beyond which a sampled link is no peptide's: four times the thermal spread at 350 K."""

_LEAST_NORM = 1e-12


@lru_cache(maxsize=4096)
def require_one_chain(layout: TokenLayout) -> None:
    """Raise unless every residue but the first is bonded to the one before, and no bond closes a ring of residues.

    Raises:
        MdgenError: naming the first residue, or bond, that is otherwise.
    """
    apart = (layout.chain_atoms[1:, 0] < 0).nonzero()[0]
    if len(apart):
        residue = layout.molecule.topology.residue(int(apart[0]) + 1)
        raise MdgenError(
            f"nothing joins {residue} to the residue before it, but tokens relative to the chain place each residue by "
            "that one; use encoder.model.relative_to=key_frame for several chains"
        )
    first, second = layout.link_tokens.min(1), layout.link_tokens.max(1)
    rings = [number for number, pair in enumerate(zip(first, second, strict=True)) if pair[1] != pair[0] + 1]
    if rings or len(first) >= layout.n_tokens:
        _, one, other, _ = layout.links[rings[0] if rings else -1].tolist()
        atoms = " and ".join(layout.molecule.atom_label(atom) for atom in (one, other))
        raise MdgenError(
            f"the bond between {atoms} closes a ring, which tokens relative to the chain would tear; use "
            "encoder.model.relative_to=key_frame for bridges and rings"
        )


def link_mask(tables: TokenTables) -> Bool[Tensor, "row token channel"]:
    """Which of the channels there are."""
    return tables.has_chain[..., None].expand(-1, -1, LINK)


def links_of(
    positions: Float[Tensor, "batch frame atom 3"], internal: Internal, tables: TokenTables
) -> Float[Tensor, "batch frame token channel"]:
    """The link of each token to the one before; zero where there is none.

    Args:
        positions: positions in nm.
        internal: what `token_geometry.internal_of` returned for them.
        tables: tables of the molecules.
    """
    atoms = pick(positions, tables.chain_atoms.flatten(1)).unflatten(2, (-1, 6))
    turns = dihedral_angles(atoms, torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5]]))
    angles = bond_angles(atoms, torch.tensor([[1, 2, 3], [2, 3, 4]])) - _PLANAR
    length = bond_lengths(atoms, torch.tensor([[2, 3]]))[..., 0] - _LENGTH_NM
    before, after = _planes(internal, tables)
    bends, omega = _wrapped(turns[..., ::2] - torch.stack([before, after], -1)), turns[..., 1]
    channels = torch.stack(
        [bends[..., 0], angles[..., 0], length, omega.sin(), omega.cos(), angles[..., 1], bends[..., 1]], -1
    )
    return torch.where(link_mask(tables)[:, None], channels, 0)


def frames_from_links(
    links: Float[Tensor, "batch frame token channel"],
    internal: Internal,
    points: Float[Tensor, "batch 3 frame_atom frame"],
    first: Frames,
    tables: TokenTables,
    thermal: bool = True,
) -> Frames:
    """The frame of every token, from the first along the chain: (batch, frame, token).

    Args:
        links: what `links_of` returned; sine and cosine need not be of unit norm.
        internal: channels that are neither motion nor link.
        points: what `token_geometry.points_of_frames` returned.
        first: frame of the first token of each row.
        tables: tables of the molecules.
        thermal: bring bends, angles and lengths beyond those of peptides into their range.
    """
    small = torch.cat([links[..., : OMEGA.start], links[..., OMEGA.stop :]], -1)
    small = within(small, small.new_tensor(_SLACK)) if thermal else small
    bend_before, angle_before, length, angle, bend = small.unbind(-1)
    planes = _planes(internal, tables)
    omega = links[..., OMEGA]
    omega = omega * omega.square().sum(-1, keepdim=True).clamp(min=_LEAST_NORM).rsqrt()
    # in the frame of the token before, where the atoms x, a, b are; c, d, y belong to the token itself
    n_tokens, local = links.shape[2], _local_points(points, tables)
    earlier = torch.arange(n_tokens, device=links.device).sub(1).clamp(min=0)
    x, a, b = (each.index_select(2, earlier) for each in local[:3])
    c, d, y = local[3:]
    turn = planes[0] + bend_before
    to_c = turned_about_z(frames_about_bonds(x, a, b), turn.sin(), turn.cos())
    placed_c = to_c.apply(_beyond(angle_before + _PLANAR, length + _LENGTH_NM))
    to_d = turned_about_z(frames_about_bonds(a, b, placed_c), *omega.unbind(-1))
    placed_d = to_d.apply(_beyond(angle + _PLANAR, torch.linalg.vector_norm(d - c, dim=-1)))
    turn = planes[1] + bend
    to_y = turned_about_z(frames_about_bonds(b, placed_c, placed_d), turn.sin(), turn.cos())
    motion = to_y.compose(frames_about_bonds(y, c, d).inverse())
    chain = [Frames(*(each[:, None].expand(-1, links.shape[1], *each.shape[1:]) for each in vars(first).values()))]
    for token in range(1, n_tokens):
        chain.append(chain[-1].compose(motion[:, :, token]))
    return Frames(torch.stack([each.rotations for each in chain], 2), torch.stack([each.origins for each in chain], 2))


def _local_points(
    points: Float[Tensor, "batch 3 frame_atom frame"], tables: TokenTables
) -> list[Float[Tensor, "batch frame token 3"]]:
    """The six atoms of `chain_atoms` in the frames that they belong to; the first three by the token they belong to."""
    n_tokens = tables.has_chain.shape[1]
    first, last = points[:, :, :n_tokens], points[:, :, n_tokens : 2 * n_tokens]
    corners = torch.stack([first, torch.zeros_like(first), last], 2).permute(0, 4, 3, 2, 1)  # (.., token, role, 3)
    found = []
    for place, role in enumerate(tables.chain_roles.unbind(-1)):
        if place < 3:  # named by the token after
            role = torch.cat([role[:, 1:], role[:, :1]], 1)
        index = role[:, None, :, None, None].expand(len(corners), corners.shape[1], -1, 1, 3)
        found.append(corners.gather(3, index)[:, :, :, 0])
    return found


def _planes(internal: Internal, tables: TokenTables) -> tuple[Tensor, Tensor]:
    """Where the bond is expected about the bonds beside it, opposite to O and to H; rad, (batch, frame, token)."""
    channels = internal[..., : 2 * TORSION_SLOTS].permute(0, 3, 2, 1).unflatten(1, (2, TORSION_SLOTS))
    channels = channels.transpose(2, 3).flatten(2, 3)
    found = []
    for torsion, there in zip(tables.plane_torsion.unbind(-1), tables.has_plane.unbind(-1), strict=True):
        sine, cosine = picked(channels, torsion).unbind(1)
        angle = torch.atan2(sine, torch.where(there[..., None], cosine, 1.0))
        found.append((torch.where(there[..., None], angle, 0.0) + math.pi).transpose(1, 2))
    return found[0], found[1]


def _beyond(angle: Tensor, length: Tensor) -> Float[Tensor, "*batch 3"]:
    """An atom in the frame of the bond before it, at a bond angle and a distance."""
    return torch.stack([length * angle.sin(), torch.zeros_like(angle), -length * angle.cos()], -1)


def _wrapped(angle: Tensor) -> Tensor:
    return angle - 2 * math.pi * (angle / (2 * math.pi)).round()
