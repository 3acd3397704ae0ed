"""Clashes in decoded tokens are removed by small turns, and nothing else changes."""

from pathlib import Path

import pytest
import torch

from mdgen.geometry.dihedrals import bond_angles, bond_lengths
from mdgen.models.checkpoint import load_model
from mdgen.models.decoders.clash_removal import least_distances, overlap
from mdgen.models.decoders.se3_token_decoder import SE3TokenDecoder, staying
from mdgen.models.encoders.se3_token_encoder import SE3TokenEncoder
from mdgen.molecule.chirality import handedness, stereocentres
from mdgen.molecule.van_der_waals import nonbonded_pairs
from tests.models.parts import seeded
from tests.models.test_se3_tokens import built, context, deviations, side_by_side, turned

KINDS = ["key_frame", "chain"]
KNOWN = [1, 3]


def decoders(kind):
    encoder = SE3TokenEncoder(kind)
    return encoder, *(SE3TokenDecoder(encoder.latent, remove_clashes=each) for each in (False, True))


def crowded(kind, sequences=("WLALL",), n_frames=64):
    """Frames of torsions anywhere, some of which clash: encoder's latent, context, positions left and moved apart."""
    encoder, leaving, removing = decoders(kind)
    peptides = [built(sequence, False) for sequence in sequences]
    frames = [turned(*peptide, n_frames, seed=1).float() for peptide in peptides]
    rows, ctx = side_by_side([molecule for molecule, _ in peptides], frames)
    latent = encoder.encode(rows, ctx)
    return latent, ctx, *(each.decode(latent, ctx, seeded()) for each in (leaving, removing))


def clashes(molecule, positions):
    least = least_distances((molecule,), molecule.n_atoms, torch.device("cpu"))
    return overlap(positions[None], least)[0] > 0


@pytest.mark.parametrize(("kind", "most"), [("key_frame", 0.25), ("chain", 0.06)])
def test_most_clashes_are_gone_and_geometry_is_as_it_was(kind, most):
    molecule, _ = built("WLALL", False)
    _, _, left, apart = crowded(kind)
    left, apart = (each[0, :, : molecule.n_atoms] for each in (left, apart))
    assert clashes(molecule, left).float().mean() > 0.9  # torsions are anywhere: samples are far better
    assert clashes(molecule, apart).float().mean() < most
    triples = [(one, middle, other) for middle, (one, *rest) in enumerate(molecule.neighbours) for other in rest]
    near = torch.tensor(triples)
    assert (bond_lengths(apart, molecule.bonds) - bond_lengths(left, molecule.bonds)).abs().max() < 0.02
    assert (bond_angles(apart, near) - bond_angles(left, near)).square().mean().sqrt() < 0.05
    centres = stereocentres(molecule)
    assert torch.equal(handedness(apart, centres).sign(), handedness(left, centres).sign())


@pytest.mark.parametrize("kind", KINDS)
def test_frames_without_clashes_stay_and_others_move_little(kind):
    molecule, _ = built("WLALL", False)
    left, apart = (each[..., : molecule.n_atoms, :] for each in crowded(kind)[2:])
    clashing = clashes(molecule, left[0])
    assert 0.2 < clashing.float().mean() < 1
    assert torch.equal(left[0][~clashing], apart[0][~clashing])
    assert not torch.equal(left[0][clashing], apart[0][clashing])
    assert deviations(apart[0][clashing], left[0][clashing]).median() < 0.1


@pytest.mark.parametrize(("kind", "nm"), [("key_frame", 0.01), ("chain", 1e-4)])
def test_frames_depend_on_no_others(kind, nm):
    # Each step of a frame makes its rounding errors larger, most where the closing of bonds begins.
    molecule, _ = built("WLALL", False)
    removing = decoders(kind)[2]
    latent, ctx, _, together = crowded(kind, ("WLALL", "GAG"))
    alone = context(molecule, ctx.key_frames[0, 0, : molecule.n_atoms])
    made = removing.decode(latent[:1, 10:20, : molecule.topology.n_residues], alone, seeded())
    torch.testing.assert_close(made[0], together[0, 10:20, : molecule.n_atoms], atol=nm, rtol=0)
    assert not together[1, :, built("GAG", False)[0].n_atoms :].any()


def test_atoms_in_one_place_are_pushed_apart():
    molecule, key = built("WLALL", False)
    least = least_distances((molecule,), molecule.n_atoms, torch.device("cpu"))
    first, second = nonbonded_pairs(molecule)[0]
    positions = key.float()[None, None].clone()
    positions[0, 0, second] = positions[0, 0, first]
    positions.requires_grad_()
    (slope,) = torch.autograd.grad(overlap(positions, least).sum(), positions)
    assert slope.isfinite().all()
    assert float((slope[0, 0, first] * slope[0, 0, second]).sum()) < -0.1


def test_gradients_are_finite_and_frames_that_are_none_harm_no_other():
    latent, ctx, _, made = crowded("chain")
    latent = latent.clone().requires_grad_()
    removing = decoders("chain")[2]
    (slope,) = torch.autograd.grad(removing.decode(latent, ctx, seeded()).square().sum(), latent)
    assert slope.isfinite().all()
    assert (slope.abs().sum((0, 2, 3)) > 0).all()
    latent = latent.detach().clone()
    latent[:, 3, 1] = 0  # torsions and links without a direction
    torch.testing.assert_close(removing.decode(latent, ctx, seeded())[:, 4:], made[:, 4:], atol=1e-4, rtol=0)


def test_inference_mode_decodes_as_well():
    latent, ctx, _, made = crowded("chain")
    with torch.inference_mode():
        inside = decoders("chain")[2].decode(latent.clone(), ctx, seeded())
    torch.testing.assert_close(inside, made, atol=1e-4, rtol=0)


def test_distances_are_those_of_atoms_more_than_three_bonds_apart():
    molecule, _ = built("SG", False)
    named = {(atom.residue.index, atom.name): atom.index for atom in molecule.topology.atoms}
    least = least_distances((molecule,), molecule.n_atoms, torch.device("cpu"))[0]

    def distance(first, second):
        return float(least[min(first, second), max(first, second)])

    hydrogen, oxygen = named[0, "HG"], named[1, "OXT"]
    assert distance(hydrogen, oxygen) == pytest.approx(0.159)  # a hydrogen bond
    assert distance(named[0, "OG"], oxygen) == pytest.approx(0.261)
    assert distance(named[0, "CB"], named[0, "C"]) == 0  # two bonds
    assert distance(named[0, "OG"], named[0, "C"]) == 0  # three bonds
    assert not least.tril().any()


def test_residues_that_are_known_stay():
    molecule, _ = built("WLALL", False)
    latent, ctx, _, _ = crowded("key_frame")
    residues = torch.tensor([atom.residue.index for atom in molecule.topology.atoms])

    def change(decoders_):
        left, apart = (each.decode(latent, ctx, seeded())[0, :, : molecule.n_atoms] for each in decoders_)
        difference = (torch.cdist(apart, apart) - torch.cdist(left, left)).square().mean(0).sqrt()
        return (
            left,
            apart,
            {(i, j): float(difference[residues == i][:, residues == j].mean()) for i in KNOWN for j in KNOWN},
        )

    left, apart, held = change([staying(each, KNOWN) for each in decoders("key_frame")[1:]])
    free = change([staying(each, []) for each in decoders("key_frame")[1:]])[2]
    assert float(clashes(molecule, apart).float().mean()) < 0.8 * float(clashes(molecule, left).float().mean())
    # bonds close by moving both residues, so that they stay nearly
    assert all(held[pair] < 0.75 * free[pair] for pair in held)


@pytest.mark.parametrize("name", ["tetrapeptides", "tetrapeptides_inpainting", "alanine_dipeptide_tokens"])
def test_weights_of_before_it_existed_decode_with_it(name):
    decoder = load_model(Path(__file__).parents[2] / "data/pretrained" / name / "decoder.safetensors")
    assert decoder.remove_clashes
