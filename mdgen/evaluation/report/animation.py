"""Short animations of consecutive frames for the report's player, all superposed on the reference's first frame."""

import base64
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.data.trajectories import TrajectorySet
from mdgen.evaluation.result import Evaluation
from mdgen.geometry.superposition import superpose

VIEWS = {"reference": "MD", "generated": "generated"}

MOST_COORDINATES = 300_000
"""Coordinates of an animation at most; those of large molecules are shorter."""


def animations(
    reference: TrajectorySet, generated: TrajectorySet, strides: tuple[int, ...], frames: int
) -> dict[str, np.ndarray]:
    """Curves `animation/reference` and `animation/generated` with the elements and bonds of the molecule."""
    first = animation(reference, strides[0], frames)
    return {
        "animation/reference": first,
        "animation/generated": animation(generated, strides[1], frames, onto=first[0]),
        "animation_elements": np.array(reference.molecule.elements),
        "animation_bonds": reference.molecule.bonds,
    }


def animation(
    trajectories: TrajectorySet, stride: int, frames: int, onto: Float[np.ndarray, "atom 3"] | None = None
) -> Float[np.ndarray, "frame atom 3"]:
    """The first frames of the longest trajectory in nm, superposed by their heavy atoms and centred.

    Fewer where the trajectory is shorter or the molecule is large. They are superposed `onto` a frame, or else on the
    first one, rotated to its principal axes.
    """
    longest = int(np.argmax(trajectories.lengths))
    frames = max(1, min(frames, MOST_COORDINATES // (3 * trajectories.molecule.n_atoms)))
    positions = torch.from_numpy(
        np.array(trajectories.positions(longest, 0, frames * stride, stride), dtype=np.float32)
    )
    heavy = torch.tensor([float(symbol not in ("H", "VS")) for symbol in trajectories.molecule.elements])
    weights = heavy if heavy.sum() > 2 else torch.ones_like(heavy)
    target = _on_principal_axes(positions[0], weights) if onto is None else torch.from_numpy(onto)
    return superpose(positions, target, weights).numpy()


def _on_principal_axes(frame: Float[Tensor, "atom 3"], weights: Float[Tensor, "atom"]) -> Float[Tensor, "atom 3"]:
    """The frame centred, its longest axis along x and its shortest towards the viewer, and not mirrored."""
    centred = frame - (frame * weights[:, None]).sum(0) / weights.sum()
    axes = torch.linalg.svd(centred * weights[:, None]).Vh
    return centred @ (axes * torch.linalg.det(axes).sign()).T


def player_data(result: Evaluation) -> dict[str, Any] | None:
    """What `player.js` reads, as plain JSON; None where the result holds no animations."""
    if not all(f"animation/{name}" in result.curves for name in VIEWS):
        return None
    positions = {name: result.curves[f"animation/{name}"] for name in VIEWS}
    return {
        "elements": [str(element) for element in result.curves["animation_elements"]],
        "bonds": result.curves["animation_bonds"].tolist(),
        "spacing_ps": float(result.settings["frame_spacing_ps"]),
        "radius": float(np.linalg.norm(positions["reference"], axis=-1).max()),
        "views": [{"name": n, "title": VIEWS[n], "positions": _encoded(values)} for n, values in positions.items()],
    }


def _encoded(positions: np.ndarray) -> str:
    """Picometres as 16-bit integers, little-endian, in base 64."""
    picometres = np.clip(np.round(positions * 1000), -32768, 32767).astype("<i2")
    return base64.b64encode(picometres.tobytes()).decode("ascii")
