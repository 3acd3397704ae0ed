"""Rigid frames form a group, follow their atoms, and place an atom at its dihedral."""

import torch

from mdgen.geometry.dihedrals import dihedral_angles
from mdgen.geometry.frames import Frames, frames_about_bonds, frames_from_atoms, leaned_towards, turned_about_z
from mdgen.geometry.rotations import rotation_from_quaternion


def points(*shape, seed=0):
    return torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def motions(n, seed=0):
    drawn = torch.randn(n, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return Frames(rotation_from_quaternion(drawn[:, :4]), drawn[:, 4:])


def test_motions_compose_and_invert():
    first, second, x = motions(10, 1), motions(10, 2), points(10)
    torch.testing.assert_close(first.compose(second).apply(x), first.apply(second.apply(x)))
    torch.testing.assert_close(first.inverse().apply(first.apply(x)), x)
    assert first[2:5].shape == (3,)


def test_frames_move_with_their_atoms():
    atoms, motion = points(4, 10), motions(1, 3)
    moved = motion.apply(atoms)
    for make in (
        lambda a: frames_from_atoms(*a[:3]),
        lambda a: frames_about_bonds(*a[:3]),
        lambda a: leaned_towards(frames_from_atoms(*a[:3]), a[3]),
    ):
        frames, after = make(atoms), make(moved)
        identity = torch.eye(3, dtype=torch.float64).expand(10, 3, 3)
        torch.testing.assert_close(frames.rotations @ frames.rotations.mT, identity)
        torch.testing.assert_close(torch.linalg.det(frames.rotations), torch.ones(10, dtype=torch.float64))
        whole = motion.compose(frames)
        torch.testing.assert_close(after.rotations, whole.rotations)
        torch.testing.assert_close(after.origins, whole.origins)


def test_a_wider_angle_moves_both_outer_atoms_alike():
    first, last = (torch.tensor(each, dtype=torch.float64) for each in ([-0.7, 0.3, 0.0], [0.8, 0.3, 0.0]))
    centre = torch.zeros(3, dtype=torch.float64)
    local = frames_from_atoms(first, centre, last).inverse()
    torch.testing.assert_close(
        *(torch.atan2(each[1].abs(), each[0]) for each in (local.apply(first), local.apply(last)))
    )


def test_a_fourth_atom_turns_the_frame_half_as_far_as_it_deviates_and_mirror_images_alike():
    ideal = torch.tensor([[1, -(2**0.5), 0], [1, 2**0.5, 0], [-1, 0, 2**0.5]], dtype=torch.float64) / 3**0.5
    zero = torch.zeros(3, dtype=torch.float64)
    for mirror in (1.0, -1.0):
        n, c, cb = ideal * torch.tensor([1.0, 1.0, mirror], dtype=torch.float64)
        frame = frames_from_atoms(n, zero, c)
        torch.testing.assert_close(leaned_towards(frame, cb).rotations, frame.rotations)
        lean = leaned_towards(frame, cb + torch.tensor([0, 0.01, 0], dtype=torch.float64)).rotations
        assert 0.002 < float((lean - frame.rotations).abs().max()) < 0.005


def test_a_turn_places_the_next_atom_at_its_dihedral():
    a, b, c = points(3, 50)
    angle = torch.linspace(-3.1, 3.1, 50, dtype=torch.float64)
    frames = turned_about_z(frames_about_bonds(a, b, c), angle.sin(), angle.cos())
    placed = frames.apply(torch.tensor([0.9, 0.0, 0.4], dtype=torch.float64).expand(50, 3))
    table = torch.arange(4)[None]
    torch.testing.assert_close(dihedral_angles(torch.stack([a, b, c, placed], -2), table)[:, 0], angle)
