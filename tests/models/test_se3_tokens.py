"""SE(3) tokens: positions to channels and back to all atoms, for peptides of every residue, padded side by side."""

import functools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from mdgen.errors import MdgenError
from mdgen.geometry.dihedrals import bond_lengths, dihedral_angles
from mdgen.geometry.rotations import nearest_rotation, rotation_from_quaternion
from mdgen.interfaces import Context
from mdgen.md.systems.build import build_system
from mdgen.models.blocks.se3_tokens import (
    CHANNELS,
    COSINES,
    RIGID,
    SINES,
    channel_mask,
    frames_of,
    key_frames_of,
    rebase,
    with_key,
)
from mdgen.models.decoders.se3_token_decoder import SE3TokenDecoder
from mdgen.models.encoders.se3_token_encoder import SE3TokenEncoder
from mdgen.molecule.chirality import handedness, stereocentres
from mdgen.molecule.residues import residue_types
from mdgen.molecule.tokens import TORSION_SLOTS, token_layout
from mdgen.molecule.topology import Molecule
from mdgen.molecule.torsions import torsion_atoms, torsions
from mdgen.molecule.zmatrix import build_zmatrix
from tests.models.parts import seeded

ENCODER = SE3TokenEncoder()
OPEN, CLOSED = (SE3TokenDecoder(close_bonds=each, remove_clashes=False) for each in (False, True))
ALL_TWENTY = "ARNDCQEGHILKMFPSTWYV"


@functools.cache
def built(sequence, capped=True):
    """A peptide with hydrogens, extended: (molecule, positions in double precision)."""
    system = build_system(sequence=sequence, capped=capped, relax=False)
    return system.molecule, system.positions.double()


def context(molecule, key):
    return Context((molecule,), residue_types=residue_types(molecule)[None], key_frames=key[None, None])


def turned(molecule, positions, n_frames, seed=0, spread=1.0, angle_noise=0.0, bond_noise=0.0):
    """Frames with other torsions (phi, psi, chi, methyl) and noise in angles (rad) and bonds (nm)."""
    zmatrix, generator = build_zmatrix(molecule), seeded(seed)
    bonds, angles, dihedrals = (x.expand(n_frames, -1).clone() for x in zmatrix.to_internal(positions[None]))
    named = {tuple(q) for q in torsion_atoms(torsions(molecule, ("backbone", "side_chain", "methyl"))).tolist()}
    named |= {quad[::-1] for quad in named}
    free = torch.tensor([tuple(q) in named for q in zmatrix.dihedral_atoms.tolist()]) & torch.tensor(zmatrix.is_primary)
    dihedrals += spread * free * torch.randn(dihedrals.shape, generator=generator)
    angles += angle_noise * torch.randn(angles.shape, generator=generator)
    bonds += bond_noise * torch.randn(bonds.shape, generator=generator)
    return zmatrix.to_cartesian(bonds, angles, dihedrals)


def deviations(first, second):
    """Root mean square deviation of each frame after superposition."""
    first, second = (x.double() - x.double().mean(-2, keepdim=True) for x in (first, second))
    turn = nearest_rotation(second.mT @ first)
    return (first @ turn.mT - second).square().sum(-1).mean(-1).sqrt()


def sampled(molecule, key, n_frames, seed=0, motion=0.02):
    """Latents as a generative model makes them: residues moved, torsions anywhere."""
    ctx, generator = context(molecule, key), seeded(seed)
    mask = channel_mask(ctx)[:, None]
    latent = torch.zeros(1, n_frames, *mask.shape[2:], dtype=key.dtype)
    latent[..., :RIGID] = motion * torch.randn(latent[..., :RIGID].shape, generator=generator, dtype=key.dtype)
    latent[..., 0] = 1.0
    angle = torch.randn(*latent.shape[:3], TORSION_SLOTS, generator=generator, dtype=key.dtype) * 3
    latent[..., SINES], latent[..., COSINES] = angle.sin(), angle.cos()
    bends = latent[..., COSINES.stop :]
    bends.copy_(0.1 * torch.randn(bends.shape, generator=generator, dtype=key.dtype))
    return latent * mask, ctx


@pytest.mark.parametrize("capped", [True, False], ids=["capped", "zwitterion"])
def test_every_residue_survives_encoding_and_decoding_exactly(capped):
    molecule, key = built(ALL_TWENTY, capped)
    latent, ctx = sampled(molecule, key, 6)
    positions = OPEN.decode(latent, ctx, seeded())
    again = ENCODER.encode(positions, ctx)
    torch.testing.assert_close(again[..., RIGID:], latent[..., RIGID:], atol=1e-8, rtol=0)
    decoded = OPEN.decode(again, ctx, seeded())
    assert deviations(decoded[0], positions[0]).max() < 1e-7
    assert deviations(OPEN.decode(ENCODER.encode(key[None, None], ctx), ctx, seeded())[0], key[None]).max() < 1e-7


def test_frames_that_keep_the_geometry_come_back_exactly_in_single_precision():
    molecule, key = built("AILKM")
    frames = turned(molecule, key, 20).float()
    ctx = context(molecule, frames[0])
    latent = ENCODER.encode(frames[None], ctx)
    for decoder in (OPEN, CLOSED):  # bonds that are closed already are left alone
        assert deviations(decoder.decode(latent, ctx, seeded())[0], frames).max() < 1e-5


def test_vibrating_frames_come_back_within_a_tenth_of_an_angstrom():
    molecule, key = built("WLALL", False)
    frames = turned(molecule, key, 200, angle_noise=0.04, bond_noise=0.002)
    ctx = context(molecule, key)
    heavy = [i for i, element in enumerate(molecule.elements) if element != "H"]
    back = CLOSED.decode(ENCODER.encode(frames[None], ctx), ctx, seeded())[0]
    assert deviations(back[:, heavy], frames[:, heavy]).mean() < 0.01


def test_a_rigid_motion_changes_nothing():
    molecule, key = built("AILKM")
    frames = turned(molecule, key, 10)
    ctx = context(molecule, key)
    motion = rotation_from_quaternion(torch.randn(10, 1, 4, generator=seeded(3), dtype=torch.float64))
    moved = (motion @ frames[..., None]).squeeze(-1) + torch.arange(10.0)[:, None, None]
    torch.testing.assert_close(ENCODER.encode(moved[None], ctx), ENCODER.encode(frames[None], ctx), atol=1e-9, rtol=0)
    quaternion = ENCODER.encode(moved[None], ctx)[..., :4]
    torch.testing.assert_close(quaternion.norm(dim=-1), torch.ones_like(quaternion[..., 0]))
    assert (quaternion[..., 0] >= 0).all()


def test_the_key_frame_is_the_identity():
    molecule, key = built("AILKM")
    latent = ENCODER.encode(key[None], context(molecule, key))[0]
    identity = torch.tensor([1.0, 0, 0, 0, 0, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(latent[:, :RIGID], identity.expand(len(latent), -1), atol=1e-9, rtol=0)


@pytest.mark.parametrize("mirrored", [False, True])
def test_chirality_is_that_of_the_key_frame(mirrored):
    molecule, key = built(ALL_TWENTY)
    key = key * torch.tensor([1.0, 1.0, -1.0 if mirrored else 1.0])
    centres = stereocentres(molecule)
    assert len(centres) == 21  # CA of all but glycine, CB of threonine and isoleucine
    latent, ctx = sampled(molecule, key, 20)
    made = handedness(CLOSED.decode(latent, ctx, seeded())[0], centres)
    assert (made.sign() == handedness(key[None], centres).sign()).all()


def test_the_ring_of_proline_closes_whatever_is_sampled():
    molecule, key = built("GPG")
    own = {atom.name: atom.index for atom in molecule.topology.residue(2).atoms}
    pairs = ("N", "CD"), ("CD", "CG"), ("CG", "CB"), ("CB", "CA"), ("CA", "N")
    ring = torch.tensor([[own[a], own[b]] for a, b in pairs])
    latent, ctx = sampled(molecule, key, 1)
    natural = ENCODER.encode(key[None, None], ctx)
    noise = torch.randn(1, 50, *latent.shape[2:], generator=seeded(1), dtype=torch.float64)
    noise *= torch.where(torch.arange(CHANNELS) < COSINES.stop, 0.3, 0.1)  # bond angles by 6 degrees
    made = CLOSED.decode(natural + noise * (natural != 0), ctx, seeded())[0]
    expected = bond_lengths(key[None], ring).expand(50, -1)
    torch.testing.assert_close(bond_lengths(made, ring), expected, atol=1e-6, rtol=0)


def test_bonds_between_residues_close():
    molecule, key = built("APLW")
    noise = sampled(molecule, key, 200, motion=0.01)[0][..., 1:RIGID]
    ctx = context(molecule, key)
    latent = ENCODER.encode(key[None, None], ctx).expand(-1, 200, -1, -1).clone()
    latent[..., 1:4] += 2 * noise[..., :3]  # about 2 degrees about each axis
    latent[..., 4:RIGID] += noise[..., 3:]
    links = torch.tensor(token_layout(molecule).links)
    made = {decoder: decoder.decode(latent, ctx, seeded())[0] for decoder in (OPEN, CLOSED)}
    for pair, bound in (([1, 2], 0.006), ([0, 2], 0.011), ([1, 3], 0.011)):  # the bond, and across its angles
        wanted = bond_lengths(key[None], links[:, pair])
        off = {decoder: (bond_lengths(x, links[:, pair]) - wanted).abs() for decoder, x in made.items()}
        assert off[OPEN].mean() > 0.01
        assert off[CLOSED].quantile(0.99) < bound
    assert deviations(made[CLOSED], made[OPEN]).mean() < 0.02


@pytest.mark.parametrize(("turn", "shift", "bound"), [(0.04, 0.02, 0.01), (0.1, 0.05, 0.025)])
def test_no_noise_makes_the_closing_of_bonds_diverge(turn, shift, bound):
    molecule, key = built("AAPAA")
    frames = turned(molecule, key, 1000, angle_noise=0.04, bond_noise=0.002).float()
    ctx = context(molecule, key.float())
    latent = ENCODER.encode(frames[None], ctx)
    noise = torch.randn(latent[..., 1:RIGID].shape, generator=seeded(1))
    latent[..., 1:RIGID] += noise * torch.tensor([turn] * 3 + [shift] * 3)  # half the angle, and nm
    links = torch.tensor(token_layout(molecule).links)
    wanted = bond_lengths(key[None].float(), links[:, 1:3])
    off = {d: (bond_lengths(d.decode(latent, ctx, seeded())[0], links[:, 1:3]) - wanted).abs() for d in (OPEN, CLOSED)}
    assert off[OPEN].max() > 0.1
    assert off[CLOSED].max() < bound
    assert off[CLOSED].quantile(0.99) < 0.007


def contradicting(molecule, key, n_frames=200):
    """Latents of peptides whose frames were turned without their torsions, and the context."""
    frames = turned(molecule, key, n_frames)
    ctx = context(molecule, key)
    latent = ENCODER.encode(frames[None], ctx)
    noise = torch.randn(latent[..., 1:RIGID].shape, generator=seeded(1), dtype=key.dtype)
    latent[..., 1:RIGID] += noise * torch.tensor([0.2] * 3 + [0.01] * 3)  # about 25 degrees, and nm
    return frames, latent, ctx


def bends_of_planes(molecule, positions):
    """Angles in degrees between what is opposite in a peptide plane: (frame, plane), those of C before those of N."""
    layout = token_layout(molecule)
    torsions_ = torch.tensor(layout.torsion_atoms).flatten(0, 1)[torch.tensor(layout.plane_torsion)]
    there = torch.tensor(layout.plane_atoms[..., 0] >= 0)
    both = [dihedral_angles(positions, torch.as_tensor(each)[there]) for each in (torsions_, layout.plane_atoms)]
    bend = both[1] - both[0] + math.pi
    return torch.rad2deg(torch.atan2(bend.sin(), bend.cos()))


def test_torsions_decide_where_frames_contradict_them():
    molecule, key = built("APLW")
    frames, latent, ctx = contradicting(molecule, key)
    made = {
        name: SE3TokenDecoder(backbone=name, remove_clashes=False).decode(latent, ctx, seeded())[0]
        for name in ("torsions", "frames")
    }
    assert bends_of_planes(molecule, OPEN.decode(latent, ctx, seeded())[0]).abs().quantile(0.9) > 40
    layout = token_layout(molecule)
    backbone = torch.tensor(layout.plane_atoms[layout.plane_turns])
    off = {}
    for name, positions in made.items():
        bends = bends_of_planes(molecule, positions)
        assert bends.abs().amax(0).sort().values[: -1 if name == "frames" else None].max() < 33.5  # but proline's CD
        difference = dihedral_angles(positions, backbone) - dihedral_angles(frames, backbone)
        off[name] = torch.rad2deg(torch.atan2(difference.sin(), difference.cos())).abs()
    assert off["torsions"].max() < 38  # the built peptide is bent by some degrees itself
    assert off["frames"].max() > 80
    links = torch.tensor(layout.links)
    for pair in ([1, 2], [0, 2], [1, 3], [0, 3]):  # turning the chain leaves bonds, angles and omega as they were
        first, second = (bond_lengths(positions, links[:, pair]) for positions in made.values())
        torch.testing.assert_close(first, second, atol=1e-9, rtol=0)


def bridged(*sequences):
    """Chains without caps whose cysteines are joined by disulphides, in the order in which they come."""
    chains = [built(sequence, False)[0].topology for sequence in sequences]
    topology = functools.reduce(lambda before, after: before.join(after), chains)
    sulphurs = [atom for atom in topology.atoms if atom.name == "SG"]
    hydrogens = {atom.index for atom in topology.atoms if atom.name == "HG"}
    for first, second in zip(sulphurs[::2], sulphurs[1::2], strict=True):
        topology.add_bond(first, second)
    return Molecule.from_mdtraj(topology.subset([i for i in range(topology.n_atoms) if i not in hydrogens]))


@pytest.mark.parametrize(
    ("chains", "turns"),
    [
        (["ACGCA"], [[False, True, False, False, True]]),
        (["ACCA"], [[False, True, False, True]]),  # beside one another
        (["AACAA", "AACAA"], [[False, False, False, True, True]] * 2),  # what is before the bridge holds the rest
    ],
)
def test_a_chain_that_another_bond_holds_is_not_turned(chains, turns):
    layout = token_layout(bridged(*chains))
    assert layout.plane_turns.any(1).tolist() == [each for some in turns for each in some]
    assert np.flatnonzero(layout.starts_chain).tolist() == [sum(map(len, chains[:i])) for i in range(len(chains))]


def test_the_ring_of_proline_stays_whole_where_the_chain_is_not_turned():
    molecule, key = built("APPA")
    _, latent, ctx = contradicting(molecule, key)
    made = [
        each.decode(latent, ctx, seeded())[0]
        for each in (SE3TokenDecoder(backbone="frames", remove_clashes=False), OPEN)
    ]
    names = {(residue.name, atom.name): atom.index for residue in molecule.topology.residues for atom in residue.atoms}
    ring = torch.tensor([names["PRO", name] for name in ("CB", "CG", "CD")])
    first, second = (bond_lengths(positions, torch.combinations(ring)) for positions in made)
    torch.testing.assert_close(first, second, atol=1e-9, rtol=0)


def test_gradients_are_finite_from_positions_to_positions():
    molecule, key = built("APG")
    ctx = context(molecule, key)
    upside_down = key * torch.tensor([1.0, -1.0, -1.0])
    frames = torch.stack([key, upside_down, turned(molecule, key, 1)[0]])[None].requires_grad_()
    latent = ENCODER.encode(frames, ctx)
    CLOSED.decode(latent, ctx, seeded()).square().sum().backward()
    assert torch.isfinite(frames.grad).all()
    assert (frames.grad != 0).any()
    half_turn = latent.detach().clone()
    half_turn[..., :4] = torch.tensor([0.0, 1.0, 0.0, 0.0])
    half_turn.requires_grad_()
    CLOSED.decode(half_turn, ctx, seeded()).sum().backward()
    assert torch.isfinite(half_turn.grad).all()


def test_another_key_frame_and_back():
    molecule, key = built("AILKM")
    frames = turned(molecule, key, 12, spread=0.5)
    ctx = context(molecule, key)
    latent, old = ENCODER.encode(frames[None], ctx), key_frames_of(ctx)
    rebased, new = rebase(latent, old, latent[:, 7])
    expected = ENCODER.encode(frames[None], context(molecule, frames[7]))
    torch.testing.assert_close(rebased, expected, atol=1e-7, rtol=0)
    torch.testing.assert_close(with_key(rebased, new, old), latent, atol=1e-7, rtol=0)
    assert frames_of(rebased, new).shape == (1, 12, 7)


def side_by_side(molecules, frames):
    """Frames of several molecules as rows of a batch, with padding beyond the largest, and their context."""
    n_atoms = max(molecule.n_atoms for molecule in molecules) + 2
    types = pad_sequence([residue_types(molecule) for molecule in molecules], batch_first=True)
    padded = torch.stack([torch.nn.functional.pad(x, (0, 0, 0, n_atoms - x.shape[1])) for x in frames])
    ctx = Context(
        tuple(molecules),
        residue_types=types,
        token_mask=torch.arange(types.shape[1]) < torch.tensor([[m.topology.n_residues] for m in molecules]),
        atom_mask=torch.arange(n_atoms) < torch.tensor([[molecule.n_atoms] for molecule in molecules]),
        key_frames=padded[:, :1],
    )
    return padded, ctx


def test_molecules_of_different_layouts_side_by_side_are_as_each_alone():
    peptides = [built("A"), built("GPG"), built("WL", False)]
    frames = [turned(molecule, key, 4, angle_noise=0.03) for molecule, key in peptides]
    padded, ctx = side_by_side([molecule for molecule, _ in peptides], frames)
    latent = ENCODER.encode(padded, ctx)
    made = CLOSED.decode(latent, ctx, seeded())
    assert torch.isfinite(latent).all()
    assert torch.equal(channel_mask(ctx), channel_mask(replace(ctx, token_mask=None)))
    assert (latent[~channel_mask(ctx)[:, None].expand_as(latent)] == 0).all()
    for row, (molecule, _) in enumerate(peptides):
        alone = context(molecule, frames[row][0])
        tokens, atoms = molecule.topology.n_residues, molecule.n_atoms
        own = ENCODER.encode(frames[row][None], alone)
        torch.testing.assert_close(latent[row : row + 1, :, :tokens], own)
        torch.testing.assert_close(made[row : row + 1, :, :atoms], CLOSED.decode(own, alone, seeded()))
        assert (made[row, :, atoms:] == 0).all()


def test_a_disulphide_has_no_rotor_and_links_its_residues():
    molecule, _ = built("ACGC")
    topology = molecule.topology.copy()
    sulphurs = [atom for atom in topology.atoms if atom.name == "SG"]
    kept = [atom.index for atom in topology.atoms if atom.name != "HG"]
    topology.add_bond(*sulphurs)
    bridged = Molecule.from_mdtraj(topology.subset(kept))
    layout = token_layout(bridged)
    assert layout.torsion_mask[2].sum() == layout.torsion_mask[4].sum() == 3
    assert (layout.link_colour == -1).sum() == 1
    assert layout.link_tokens[layout.link_colour == -1].tolist() == [[2, 4]]


def test_what_does_not_fit_is_refused():
    molecule, key = built("AILKM")
    ctx = context(molecule, key)
    with pytest.raises(MdgenError, match="give a context with molecules"):
        ENCODER.encode(key[None], Context())
    with pytest.raises(MdgenError, match="give a context with key_frames"):
        ENCODER.encode(key[None], Context((molecule,)))
    with pytest.raises(MdgenError, match="key frames have"):
        ENCODER.encode(key[None, :-1], context(molecule, key[:-1]))
    with pytest.raises(MdgenError, match="positions of 1 rows"):
        ENCODER.encode(key[None, :-1], ctx)
    with pytest.raises(MdgenError, match="backbone=helix: expected torsions or frames"):
        SE3TokenDecoder(backbone="helix")
    with pytest.raises(MdgenError, match="the latent has"):
        CLOSED.decode(torch.zeros(1, 2, 3, CHANNELS, dtype=torch.float64), ctx, seeded())
    torn = key.clone()
    torn[40:] += 1.0
    with pytest.raises(MdgenError, match="gap"):
        CLOSED.decode(torch.zeros(1, 1, 7, CHANNELS, dtype=torch.float64), context(molecule, torn), seeded())
