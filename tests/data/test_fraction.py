"""Fractions share no frame and miss none."""

import itertools

import mdtraj
import numpy as np
import pytest

from mdgen.data.splits import take_fraction
from mdgen.data.trajectories import TrajectorySet
from mdgen.errors import MdgenError
from mdgen.molecule.topology import Molecule


def numbered(lengths: list[int]) -> TrajectorySet:
    topology = mdtraj.Topology()
    topology.add_atom("AR", mdtraj.element.argon, topology.add_residue("AR", topology.add_chain()))
    ends = np.cumsum([0, *lengths])
    arrays = [np.arange(a, b, dtype=np.float32)[:, None, None].repeat(3, 2) for a, b in itertools.pairwise(ends)]
    return TrajectorySet.from_arrays(Molecule.from_mdtraj(topology), 1.0, arrays)


def frames(trajectories: TrajectorySet) -> list[int]:
    return [int(x) for i in range(len(trajectories)) for x in trajectories.positions(i)[:, 0, 0]]


def test_fractions_side_by_side_make_the_whole() -> None:
    whole = numbered([7, 1, 20, 3])
    parts = [frames(take_fraction(whole, a, b)) for a, b in ((0, 0.3), (0.3, 0.65), (0.65, 1))]
    assert list(itertools.chain(*parts)) == list(range(31))
    assert [len(part) for part in parts] == [9, 11, 11]


def test_equal_trajectories_are_not_cut() -> None:
    whole = numbered([5] * 8)
    assert take_fraction(whole, 0.25, 0.75).lengths == (5, 5, 5, 5)
    assert take_fraction(whole, 0, 1) is whole


def test_a_boundary_near_the_end_of_a_trajectory_leaves_no_sliver() -> None:
    whole = numbered([999, 1000, 1000, 1000])
    assert take_fraction(whole, 0, 0.5).lengths == (999, 1000)
    assert take_fraction(whole, 0.5, 1).lengths == (1000, 1000)


def test_a_slice_is_read_with_its_stride() -> None:
    part = take_fraction(numbered([100]), 0.1, 0.5)
    assert part.positions(0, 1, 9, 3)[:, 0, 0].tolist() == [11, 14, 17]
    assert [len(block) for block in part.blocks(0, 15)] == [15, 15, 10]
    assert "frames 10 to 50" in part.names[0]


@pytest.mark.parametrize(("start", "stop"), [(0.5, 0.5), (0.6, 0.5), (-0.1, 1), (0, 1.5)])
def test_shares_that_make_no_sense_are_refused(start: float, stop: float) -> None:
    with pytest.raises(MdgenError, match="makes no sense"):
        take_fraction(numbered([10]), start, stop)


def test_an_empty_fraction_is_refused() -> None:
    with pytest.raises(MdgenError, match="is empty"):
        take_fraction(numbered([3]), 0.0, 0.1)
