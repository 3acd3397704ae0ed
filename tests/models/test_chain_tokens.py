"""Tokens relative to the chain: the link of each residue to the one before, in internal coordinates."""

import math

import pytest
import torch

from mdgen.data.collation import context_of
from mdgen.data.conditions import first_frame
from mdgen.errors import MdgenError
from mdgen.generation.simulator import LatentSimulator
from mdgen.geometry.dihedrals import bond_angles, bond_lengths
from mdgen.geometry.rotations import rotation_from_quaternion
from mdgen.interfaces import LatentSpace
from mdgen.models.blocks.chain_links import OMEGA, require_one_chain
from mdgen.models.blocks.se3_tokens import COSINES, RIGID, SINES, channel_mask
from mdgen.models.decoders.se3_token_decoder import SE3TokenDecoder
from mdgen.models.encoders.se3_token_encoder import SE3TokenEncoder
from mdgen.models.propagators.interpolant_propagator import InterpolantPropagator
from mdgen.molecule.chirality import handedness, stereocentres
from mdgen.molecule.tokens import token_layout
from mdgen.molecule.topology import Molecule
from mdgen.molecule.torsions import torsion_atoms, torsions
from tests.models.parts import MOLECULE, seeded, trajectories
from tests.models.test_se3_tokens import ALL_TWENTY, built, context, deviations, turned

ENCODER = SE3TokenEncoder("chain")
OPEN, CLOSED = (SE3TokenDecoder(ENCODER.latent, close_bonds=each, remove_clashes=False) for each in (False, True))


def sampled(molecule, key, n_frames, spread):
    """Latents of torsions anywhere, of links with noise, and of bond angles with some."""
    ctx = context(molecule, key)
    natural = ENCODER.encode(key[None, None], ctx)
    noise = torch.randn(1, n_frames, *natural.shape[2:], generator=seeded(1), dtype=natural.dtype)
    noise[..., : SINES.start] *= spread
    noise[..., COSINES.stop :] *= 0.05
    noise[..., 2] *= 0.1  # a length in nm
    return natural + noise * channel_mask(ctx, "chain_tokens")[:, None], ctx


@pytest.mark.parametrize("capped", [True, False], ids=["capped", "zwitterion"])
def test_every_residue_comes_back_exactly_and_latents_do(capped):
    molecule, key = built(ALL_TWENTY, capped)
    latent, ctx = sampled(molecule, key, 6, 0.05)
    positions = OPEN.decode(latent, ctx, seeded())
    again = ENCODER.encode(positions, ctx)
    unit = torch.hypot(latent[..., 3:4], latent[..., 4:5]).clamp_min(1e-12)
    has_link = channel_mask(ctx, "chain_tokens")[:, None, :, :RIGID]
    links = torch.cat([latent[..., :3], latent[..., OMEGA] / unit, latent[..., OMEGA.stop : RIGID]], -1) * has_link
    torch.testing.assert_close(again[..., :RIGID], links, atol=1e-7, rtol=0)
    assert deviations(OPEN.decode(again, ctx, seeded())[0], positions[0]).max() < 1e-7


def test_vibrating_frames_come_back_as_near_as_from_a_key_frame():
    molecule, key = built("WLALL", False)
    frames, ctx = turned(molecule, key, 200, angle_noise=0.04, bond_noise=0.002), context(molecule, key)
    back = CLOSED.decode(ENCODER.encode(frames[None], ctx), ctx, seeded())[0]
    of_frames, from_frames = SE3TokenEncoder(), SE3TokenDecoder(remove_clashes=False)
    other = from_frames.decode(of_frames.encode(frames[None], ctx), ctx, seeded())[0]
    assert deviations(back, frames).mean() < 1.1 * deviations(other, frames).mean()


def test_a_rigid_motion_changes_nothing_and_no_key_frame_is_needed():
    molecule, key = built("AILKM")
    frames = turned(molecule, key, 10)
    motion = rotation_from_quaternion(torch.randn(10, 1, 4, generator=seeded(3), dtype=torch.float64))
    moved = (motion @ frames[..., None]).squeeze(-1) + torch.arange(10.0)[:, None, None]
    latent = ENCODER.encode(frames[None], context(molecule, key))
    torch.testing.assert_close(ENCODER.encode(moved[None], context(molecule, key)), latent, atol=1e-9, rtol=0)
    torch.testing.assert_close(ENCODER.encode(frames[None], context(molecule, frames[3])), latent, atol=1e-9, rtol=0)


def test_links_tell_nothing_that_torsions_tell():
    """Turning phi and psi leaves links as they are; omega is a link's."""
    molecule, key = built("AAA")
    latent = ENCODER.encode(key[None, None], context(molecule, key))
    frames = turned(molecule, key, 20)
    of_frames = ENCODER.encode(frames[None], context(molecule, key))
    torch.testing.assert_close(of_frames[..., :RIGID], latent[..., :RIGID].expand(1, 20, -1, -1), atol=1e-6, rtol=0)
    omegas = torsion_atoms(torsions(molecule, ("omega",)))
    assert len(omegas) == int((of_frames[0, 0, :, OMEGA.start] != 0).sum())


@pytest.mark.parametrize("spread", [0.03, 1.0])
def test_bonds_are_those_of_peptides_whatever_is_sampled(spread):
    molecule, key = built("APLW")
    latent, ctx = sampled(molecule, key, 200, spread)
    made = CLOSED.decode(latent, ctx, seeded())[0]
    centres = stereocentres(molecule)
    assert (handedness(made, centres).sign() == handedness(key[None], centres).sign()).all()
    links = token_layout(molecule).links
    assert (bond_lengths(made, links[:, 1:3]) - 0.1335).abs().max() < 0.0121
    for triple in (links[:, :3], links[:, 1:]):
        assert (bond_angles(made, triple) - math.radians(120)).abs().max() < math.radians(15.1)


def test_gradients_are_finite_from_positions_to_positions():
    molecule, key = built("GPW")
    positions = turned(molecule, key, 3)[None].requires_grad_()
    ctx = context(molecule, key)
    CLOSED.decode(ENCODER.encode(positions, ctx), ctx, seeded()).square().sum().backward()
    assert positions.grad.isfinite().all()


def test_what_the_chain_does_not_hold_together_is_refused():
    molecule, key = built("AG")
    two = Molecule.from_mdtraj(molecule.topology.join(molecule.topology, keep_resSeq=False))
    both = torch.cat([key, key + 2.0])
    with pytest.raises(MdgenError, match=r"nothing joins ACE\d+ to the residue before it.*relative_to=key_frame"):
        ENCODER.encode(both[None, None], context(two, both))
    bonded, _ = built("ACGC")
    topology = bonded.topology.copy()
    topology.add_bond(*[atom for atom in topology.atoms if atom.name == "SG"])
    bridged = Molecule.from_mdtraj(topology.subset([atom.index for atom in topology.atoms if atom.name != "HG"]))
    with pytest.raises(MdgenError, match=r"between CYS3-SG .* and CYS5-SG .* closes a ring.*relative_to=key_frame"):
        require_one_chain(token_layout(bridged))
    with pytest.raises(MdgenError, match="relative_to=helix: expected key_frame or chain"):
        SE3TokenEncoder("helix")
    with pytest.raises(MdgenError, match="decode latents of encoder=se3_tokens"):
        SE3TokenDecoder(LatentSpace("slow_modes", 1, 2))


def test_a_propagator_makes_structures_and_keeps_statistics_by_place():
    propagator = InterpolantPropagator(ENCODER.latent, [0.5, 0.5], 5, width=16, heads=2, blocks=1)
    positions = torch.as_tensor(trajectories().positions(0, 0, 9)).clone()[None]
    ctx = context_of(MOLECULE, 1, None, 0.5, positions[:, :1])
    latent = ENCODER.encode(positions, ctx)
    made = propagator.sample(first_frame(latent[:, 0], 5), ctx, seeded())
    assert torch.equal(made[:, 0], latent[:, 0])
    linked = channel_mask(ctx, "chain_tokens")[0, :, 0]
    lengths = torch.hypot(made[..., OMEGA.start], made[..., OMEGA.start + 1])[:, :, linked]
    torch.testing.assert_close(lengths, torch.ones_like(lengths))
    assert not propagator.network.key_frame_blocks
    told = propagator.geometry.token_context(ctx, propagator.geometry.key_of(ctx))
    kinds = propagator.geometry.kinds(told)[0]
    assert (kinds % 3).tolist() == [1, *[0] * (len(kinds) - 2), 2]
    assert torch.equal(kinds // 3, told.residue_types[0])


def test_a_simulator_of_them_rolls_out_and_meets_its_ends_but_does_not_inpaint():
    propagator = InterpolantPropagator(ENCODER.latent, [0.5, 0.5], 5, width=16, heads=2, blocks=1)
    start = trajectories().positions(0, 0, 2).copy()
    simulator = LatentSimulator(ENCODER, propagator, CLOSED, molecule=MOLECULE)
    made = simulator.interpolate(start[:1], start[1:], n_frames=5, frame_spacing_ps=0.5, seed=0)[0]
    for place, given in ((0, start[0]), (4, start[1])):
        assert deviations(torch.tensor(made.xyz[place])[None], torch.tensor(given)[None]).max() < 1e-4
    known = trajectories().positions(0, 0, 5).copy()[None]
    with pytest.raises(MdgenError, match=r"known residues would not stay where they are.*tetrapeptides_inpainting"):
        simulator.inpaint(known, [0], frame_spacing_ps=0.5)
