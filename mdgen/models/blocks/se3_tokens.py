"""Channels of tokens: a rigid motion against a key frame, torsions and bond angles; how to change the key frame.

Channels, in order: the motion as a unit quaternion (w, x, y, z) of non-negative real part and a translation in nm, in
the coordinates of the token's frame in the key frame; then what `blocks.token_geometry` measures within a token: sines
and cosines of torsions, and bond angles that carry heavy atoms; zero where there is none. Every frame is superposed on
the key frame first, so tumbling and diffusion are no part of the latent. Latents of the kind `chain_tokens` have the
link to the residue before (`blocks.chain_links`) in the place of the motion.

Source: Jing, Stark, Jaakkola and Berger, Generative Modeling of Molecular Dynamics Trajectories (MDGen), 2024; the
superposition, the torsions of every rigid group and the bond angles are this package's.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mdgen.geometry.frames import Frames
from mdgen.geometry.rotations import nearest_rotation, quaternion_from_rotation, rotation_from_quaternion
from mdgen.interfaces import Context
from mdgen.models.blocks.chain_links import link_mask
from mdgen.models.blocks.token_geometry import INTERNAL, internal_mask, token_frames
from mdgen.models.blocks.token_tables import structures_of, tables_of
from mdgen.molecule.tokens import TORSION_SLOTS

KEY_FRAME_TOKENS, CHAIN_TOKENS = KINDS = ("se3_tokens", "chain_tokens")
"""Kinds of latents of tokens: the motion of a residue is told against a key frame, or against the residue before."""

RIGID = 7
"""Channels of the rigid motion: four of the quaternion, three of the translation; or those of a link."""

CHANNELS = RIGID + INTERNAL
"""Channels of a token."""

SINES = slice(RIGID, RIGID + TORSION_SLOTS)
COSINES = slice(SINES.stop, SINES.stop + TORSION_SLOTS)
"""Channels of the torsions."""

TORSION_HARMONICS = 9
"""Cosines and sines of a torsion times one to four, and the norm of its sine and cosine."""

_TRIANGLE = ((0.0826, -0.1201, 0.0), (0.0, 0.0, 0.0), (0.0864, 0.1257, 0.0))
"""N, CA and C in a residue's frame in nm: the points of every frame that are superposed."""


def key_frames_of(context: Context) -> Frames:
    """The frame of every token in the key frame, `context.key_frames[:, 0]`: (batch, token).

    Raises:
        MdgenError: if the context names no molecules or key frames, or they do not fit each other.
    """
    tables = tables_of(context)
    return token_frames(structures_of(context)[:, :1], tables)[:, 0]


def channel_mask(context: Context, kind: str = KEY_FRAME_TOKENS) -> Bool[Tensor, "batch token channel"]:
    """The channels that mean something: not those of padding, nor of angles or links that a residue does not have.

    Raises:
        MdgenError: as `key_frames_of`.
    """
    tables = tables_of(context)
    motion = tables.token_mask[..., None].expand(-1, -1, RIGID) if kind == KEY_FRAME_TOKENS else link_mask(tables)
    mask = torch.cat([motion, internal_mask(tables)], -1)
    return mask.expand(len(structures_of(context)), -1, -1)


def frames_of(latent: Float[Tensor, "batch frame token channel"], key: Frames) -> Frames:
    """The frame of every token: (batch, frame, token); quaternions need not be normalised.

    Args:
        latent: latent trajectories.
        key: frames of the key frame, (batch, token).
    """
    motion = Frames(rotation_from_quaternion(latent[..., :4]), latent[..., 4:RIGID])
    return key[:, None].compose(motion)


def latent_of(
    frames: Frames,
    internal: Float[Tensor, "batch frame token internal"],
    key: Frames,
    token_mask: Bool[Tensor, "row token"] | None = None,
) -> Float[Tensor, "batch frame token channel"]:
    """The latent of frames (batch, frame, token), superposed on the key frame, with their internal channels."""
    relative = key[:, None].inverse().compose(superposed(frames, key, token_mask))
    latent = torch.cat([quaternion_from_rotation(relative.rotations), relative.origins, internal], -1)
    return latent if token_mask is None else torch.where(token_mask[:, None, :, None], latent, 0)


def superposed(frames: Frames, key: Frames, token_mask: Bool[Tensor, "row token"] | None = None) -> Frames:
    """All frames of each time, moved as one body to have the least squared deviation from the key frame.

    The points compared are an ideal N, CA and C in each token's frame, all of one weight; so the superposition depends
    on the frames alone.

    Args:
        frames: frames of a trajectory, (batch, frame, token).
        key: frames of the key frame, (batch, token).
        token_mask: which tokens count; all where None.
    """
    points = torch.tensor(_TRIANGLE, dtype=frames.origins.dtype, device=frames.origins.device)
    mobile, reference = (
        (each.rotations @ points.T + each.origins[..., None]).transpose(-1, -2) for each in (frames, key[:, None])
    )
    shares = torch.ones_like(reference[..., 0, :1]) if token_mask is None else token_mask[:, None, :, None].to(mobile)
    shares = (shares / (len(points) * shares.sum(2, keepdim=True)))[..., None, :]
    centre, target = ((each * shares).sum((2, 3)) for each in (mobile, reference))
    mobile, reference = mobile - centre[:, :, None, None], (reference - target[:, :, None, None]) * shares
    covariance = reference.flatten(2, 3).mT @ mobile.flatten(2, 3)
    turn = nearest_rotation(covariance)
    whole = Frames(turn, target - (turn @ centre[..., None]).squeeze(-1))
    return whole[:, :, None].compose(frames)


def rebase(
    latent: Float[Tensor, "batch frame token channel"],
    key: Frames,
    new: Float[Tensor, "batch token channel"],
    token_mask: Bool[Tensor, "row token"] | None = None,
) -> tuple[Float[Tensor, "batch frame token channel"], Frames]:
    """The same trajectories against another key frame, given as a latent itself; and the frames of that key frame.

    `with_key(rebased, new_key, key)` is the inverse.

    Args:
        latent: latent trajectories against `key`.
        key: frames of the key frame, (batch, token).
        new: latent of the new key frame against `key`.
        token_mask: which tokens are real; all where None.
    """
    new_key = frames_of(new[:, None], key)[:, 0]
    return with_key(latent, key, new_key, token_mask), new_key


def with_key(
    latent: Float[Tensor, "batch frame token channel"],
    key: Frames,
    other: Frames,
    token_mask: Bool[Tensor, "row token"] | None = None,
) -> Float[Tensor, "batch frame token channel"]:
    """Latent trajectories against `key`, told against `other`: every frame is superposed on that one instead."""
    return latent_of(frames_of(latent, key), latent[..., RIGID:], other, token_mask)


def torsion_harmonics(
    latent: Float[Tensor, "batch frame token channel"],
) -> Float[Tensor, "batch frame token torsion harmonic"]:
    """The `TORSION_HARMONICS` of each torsion; its sine and cosine need not be of unit norm.

    In them the field that drives a torsion into one, two or three wells, `sin(n x)` along the circle, is linear: it is
    made of the harmonics n + 1 and n - 1. So is the one that drives it to the circle.
    """
    sine, cosine = latent[..., SINES], latent[..., COSINES]
    length = (sine.square() + cosine.square()).clamp_min(1e-12).sqrt()  # of finite gradient where there is none
    once = cosine / length, sine / length
    found = [once]
    for _ in range(3):
        before = found[-1]
        found.append((before[0] * once[0] - before[1] * once[1], before[1] * once[0] + before[0] * once[1]))
    return torch.stack([*(part for each in found for part in each), length], -1)
