"""What counts as a blow-up: torn molecules, not molecules that go their ways."""

import numpy as np
import pytest

from mdgen.data.finite import LARGEST_NM
from mdgen.md.dynamics.instabilities import stable_segments

MOLECULES = np.array([0, 1, 0, 1, 2])
"""Two of two atoms, interleaved, and a lone one."""


def judged(moved: np.ndarray) -> tuple[list[int], list[str]]:
    """Frames of each segment, and what is said of the replicas that stopped."""
    energy, label = np.zeros(len(moved)), "atom {}".format
    segments, stops = stable_segments(moved, energy, range(len(moved)), 0, 10, label, MOLECULES)
    return [segment.frames.shape[1] for segment in segments], [str(stop) for stop in stops]


def test_molecules_that_diffuse_apart_are_sound() -> None:
    """Water diffuses by 100 nm within 100 ns."""
    moved = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    moved[1, 2:, MOLECULES == 1] += np.float32(500.0)
    moved[1, 1:, MOLECULES == 2] -= np.float32(300.0)
    assert judged(moved) == ([4], [])


@pytest.mark.parametrize("atom", [0, 3])
def test_a_torn_molecule_stops_its_replica(atom: int) -> None:
    moved = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    moved[1, 2:, atom] += np.float32(500.0)
    frames, said = judged(moved)
    assert frames == [2, 2]
    assert len(said) == 1
    assert "replica 1 blew up between steps 20 and 30" in said[0]


@pytest.mark.parametrize("place", [np.nan, np.inf, 2 * LARGEST_NM])
def test_a_lone_atom_that_is_nowhere_stops_its_replica(place: float) -> None:
    moved = np.zeros((2, 4, 5, 3), np.float32)
    moved[0, 3, 4, 1] = place
    frames, said = judged(moved)
    assert frames == [3, 1]
    assert len(said) == 1
    assert "atom 4" in said[0]
