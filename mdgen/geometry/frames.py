"""Rigid frames: a rotation and an origin for each of many bodies, batched and differentiable."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from mdgen.geometry.rotations import rotation_from_quaternion

_LEAN = 0.375
"""Turn of a frame in radians for a deviation of one radian: 1 / (4 - 4 / 3), four unit directions less the sum of their
squared projections on any axis."""


@dataclass(frozen=True)
class Frames:
    """Rigid motions x -> R x + t, from the coordinates of a body to those of space; leading axes broadcast.

    Args:
        rotations: rotation matrices; their columns are the axes of the body.
        origins: origins of the bodies in nm.
    """

    rotations: Float[Tensor, "*batch 3 3"]
    origins: Float[Tensor, "*batch 3"]

    @property
    def shape(self) -> torch.Size:
        """Leading axes."""
        return self.origins.shape[:-1]

    def __getitem__(self, index: Any) -> "Frames":
        """Some of the frames, by an index into the leading axes."""
        return Frames(self.rotations[index], self.origins[index])

    def compose(self, inner: "Frames") -> "Frames":
        """The motion that applies `inner` first and then this one."""
        return Frames(self.rotations @ inner.rotations, self.apply(inner.origins))

    def inverse(self) -> "Frames":
        """The inverse motion."""
        back = self.rotations.mT
        return Frames(back, -(back @ self.origins[..., None]).squeeze(-1))

    def apply(self, points: Float[Tensor, "*points 3"]) -> Float[Tensor, "*moved 3"]:
        """Points of each body, in its coordinates, to points in space; the leading axes broadcast."""
        return (self.rotations @ points[..., None]).squeeze(-1) + self.origins


def frames_from_atoms(
    first: Float[Tensor, "*batch 3"], centre: Float[Tensor, "*batch 3"], last: Float[Tensor, "*batch 3"]
) -> Frames:
    """Frames of three atoms each, such as N, CA and C: origin at the centre, x along the bisector, y towards `last`.

    A change of the bond angle moves both outer atoms alike in the frame, instead of one of them twice as far. Collinear
    atoms have no frame.
    """
    to_first, to_last = normalize(first - centre, dim=-1), normalize(last - centre, dim=-1)
    x, y = normalize(to_first + to_last, dim=-1), normalize(to_last - to_first, dim=-1)
    return Frames(torch.stack([x, y, torch.linalg.cross(x, y)], -1), centre)


def leaned_towards(frames: Frames, fourth: Float[Tensor, "*batch 3"]) -> Frames:
    """Frames of `frames_from_atoms`, turned so that a fourth atom, bonded to the middle one, counts as those two do."""
    direction = normalize((frames.rotations.mT @ (fourth - frames.origins)[..., None]).squeeze(-1), dim=-1)
    return Frames(frames.rotations @ lean_of(direction), frames.origins)


def lean_of(direction: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """The turn of a frame whose fourth atom lies in a direction from its centre, given in the frame.

    It is the first step of a least-squares fit of the tetrahedral directions of the three atoms and of the missing one.
    Both signs of chirality are treated alike.
    """
    x, y, z = direction.unbind(-1)
    # an ideal direction is (-1, 0, +-sqrt(2)) / sqrt(3); that of the missing atom follows from the sum of the others
    ideal_x, ideal_z = -((1 / 3) ** 0.5), (2 / 3) ** 0.5 * torch.where(z < 0, -1.0, 1.0)
    turn = torch.stack([-y * ideal_z, x * ideal_z - z * ideal_x, y * ideal_x], -1)
    return rotation_from_quaternion(torch.cat([torch.full_like(turn[..., :1], 2 / _LEAN), turn], -1))


def frames_about_bonds(
    reference: Float[Tensor, "*batch 3"], start: Float[Tensor, "*batch 3"], end: Float[Tensor, "*batch 3"]
) -> Frames:
    """Frames about bonds: origin at `end`, z along the bond from `start`, x to the side of `reference`.

    A turn about z by the angle t places, at azimuth zero, an atom whose dihedral reference-start-end-atom is t.
    """
    z = normalize(end - start, dim=-1)
    side = reference - start
    x = normalize(side - (side * z).sum(-1, keepdim=True) * z, dim=-1)
    return Frames(torch.stack([x, torch.linalg.cross(z, x), z], -1), end)


def turned_about_z(frames: Frames, sine: Float[Tensor, "*batch"], cosine: Float[Tensor, "*batch"]) -> Frames:
    """Frames after a turn about their own z axis, given by the sine and cosine of its angle."""
    x, y, z = frames.rotations.unbind(-1)
    s, c = sine[..., None], cosine[..., None]
    x, y, z = torch.broadcast_tensors(c * x + s * y, c * y - s * x, z)
    return Frames(torch.stack([x, y, z], -1), frames.origins)
