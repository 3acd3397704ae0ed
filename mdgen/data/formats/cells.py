"""Periodic boxes between the box vectors used here and the lengths and angles of files."""

import numpy as np
from jaxtyping import Float
from mdtraj.utils import box_vectors_to_lengths_and_angles, lengths_and_angles_to_box_vectors

_SMALLEST_NM = 0.11
"""Programs write an edge of 0 or 1 angstrom where there is no box."""

Vectors = Float[np.ndarray, "frame 3 3"]
"""Box vectors of frames as rows, nm."""


def vectors_of(lengths_nm: Float[np.ndarray, "frame 3"], angles_deg: Float[np.ndarray, "frame 3"]) -> Vectors | None:
    """Box vectors from edges and the angles alpha, beta, gamma; None where they are no boxes."""
    with np.errstate(invalid="ignore", divide="ignore"):
        vectors = lengths_and_angles_to_box_vectors(*lengths_nm.astype(float).T, *angles_deg.astype(float).T)
    return boxes(np.stack(vectors, 1).astype(np.float32))


def lengths_and_angles(vectors: Vectors) -> tuple[Float[np.ndarray, "frame 3"], Float[np.ndarray, "frame 3"]]:
    """Edges in nm and the angles alpha, beta, gamma in degrees."""
    found = np.stack(box_vectors_to_lengths_and_angles(*np.moveaxis(vectors.astype(float), 1, 0)), 1)
    return found[:, :3].astype(np.float32), found[:, 3:].astype(np.float32)


def boxes(vectors: Float[np.ndarray, "frame 3 3"] | None) -> Vectors | None:
    """The vectors, or None where a frame has no box: a file that has one for some frames only is taken to have none."""
    if vectors is None or not len(vectors):
        return None
    edges, volumes = np.linalg.norm(vectors, axis=-1), np.abs(np.linalg.det(vectors))
    whole = bool((edges > _SMALLEST_NM).all() and (volumes > 0).all())  # comparisons are false for NaN
    return np.asarray(vectors, dtype=np.float32) if whole else None
