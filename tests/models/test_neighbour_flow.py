import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.geometry.dihedrals import bond_lengths
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.batches import FrameBatch, TrainingData
from mdgen.models.decoders.internal import InternalRepresentation
from mdgen.models.decoders.neighbour_flow import NeighbourFlow
from mdgen.models.decoders.neighbours import Neighbours, tilted_weights
from mdgen.models.decoders.residue_network import ResidueNetwork
from mdgen.models.encoders.tica import TICA
from mdgen.models.interpolant.solvers import SOLVERS
from mdgen.molecule.features import TorsionDistanceFeatures
from tests.models.structures import alanine_dipeptide, frames

LATENT = LatentSpace("slow_modes", 1, 2)
MOLECULE = alanine_dipeptide()
POSITIONS = frames(600)
SMALL = {"width": 16, "heads": 2, "blocks": 1}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def distances(positions):
    return torch.cdist(positions, positions)


def encoder():
    """TICA with a spectrum of its own choice: only that it is smooth in the positions matters."""
    made = TICA(TorsionDistanceFeatures(MOLECULE), lag_ps=1.0, n_modes=2)
    features = made.features(POSITIONS)
    made.mean.copy_(features.mean(0))
    made.projection.copy_(torch.linalg.svd(features - features.mean(0), full_matrices=False)[2][:2].T)
    return made


def decoder(**options):
    """One with its library, whose network is as it was drawn: its outputs are zero."""
    own = encoder()
    latents = own.encode(POSITIONS, Context()).flatten(1).float()
    made = NeighbourFlow(own.latent, **SMALL, **options)
    data = TrainingData(FrameBatch(POSITIONS, latents), molecule=MOLECULE, encoder=own)
    made.finish(made.prepare(data, seeded()), seeded())
    return made, latents


def test_tilted_weights_have_their_mean_at_the_point_where_a_kernel_does_not():
    # frames whose density falls by e within a fifth of the range
    crowd = torch.distributions.Exponential(5.0).sample((4000, 2))
    points = 0.1 + 0.3 * torch.rand(50, 2, generator=seeded())
    near, numbers = Neighbours(4000, 2), None
    near.latents.copy_(crowd)
    lengths, numbers = near.nearest(points, 200)
    offsets = crowd[numbers] - points[:, None]

    def bias(weights):
        mean = torch.einsum("bn,bnc->bc", weights / weights.sum(-1, keepdim=True), offsets)
        return float((mean / lengths[:, -1:]).norm(dim=-1).mean())

    assert bias(torch.ones_like(lengths)) > 0.08
    assert bias(tilted_weights(offsets, lengths)) < 0.01


def test_a_point_outside_of_the_data_takes_the_frames_nearest_to_it():
    offsets = torch.rand(1, 50, 2, generator=seeded()) + 1.0
    lengths, order = offsets.norm(dim=-1).sort()
    weights = tilted_weights(offsets[:, order[0]], lengths)
    assert torch.isfinite(weights).all()
    assert float((weights * lengths).sum() / weights.sum()) < float(lengths.mean())


def test_the_nearest_are_those_of_all_distances_also_after_the_library_has_changed():
    near, points = Neighbours(300, 3), torch.randn(40, 3, generator=seeded())
    for seed in (1, 2):
        near.latents.copy_(torch.randn(300, 3, generator=seeded(seed)))
        found, numbers = near.nearest(points, 5)
        expected = torch.cdist(points, near.latents).topk(5, largest=False)
        torch.testing.assert_close(found, expected.values, atol=1e-5, rtol=0)
        assert torch.equal(numbers, expected.indices)


def test_the_far_are_outside_of_the_support():
    near = Neighbours(2000, 2)
    near.latents.copy_(torch.randn(2000, 2, generator=seeded()))
    assert float(near.outside(torch.randn(2000, 2, generator=seeded(1))).float().mean()) < 0.01
    assert bool(near.outside(torch.full((10, 2), 6.0)).all())


def test_directions_by_residue_are_white_within_residues_and_build_the_same_structures():
    representation = InternalRepresentation.fitted(MOLECULE, POSITIONS, by_residue=True)
    values, n_free = representation.represent(POSITIONS), representation.n_free
    torch.testing.assert_close(distances(representation.build(values)), distances(POSITIONS), atol=2e-5, rtol=0)
    owner = representation.residues
    assert set(owner.tolist()) == {0, 1, 2}
    for residue in range(3):
        own = values[:, 2 * n_free :][:, owner[2 * n_free :] == residue].double()
        torch.testing.assert_close(torch.cov(own.T), torch.eye(own.shape[1]).double(), atol=2e-2, rtol=0)
    # no direction moves coordinates of two residues
    moved = representation.whitening.abs() > 1e-6 * representation.whitening.abs().amax(0)
    rows = [set(column.nonzero()[:, 0].tolist()) for column in moved.T]
    for place, residue in enumerate(owner[2 * n_free :].tolist()):
        others = [rows[j] for j, other in enumerate(owner[2 * n_free :].tolist()) if other != residue]
        assert not rows[place] & set().union(*others)


def test_residues_reach_one_another_by_attention_alone():
    residues, times, conditions = [0, 1, 1, 0, 2, 1], torch.rand(4), torch.randn(4, 2, generator=seeded())
    values = torch.randn(4, 6, generator=seeded(1))
    other = values.clone()
    other[:, 2] += 1.0
    for blocks, reached in ((0, [1, 2, 5]), (1, [0, 1, 2, 3, 4, 5])):
        network = ResidueNetwork(residues, 2, 16, 2, blocks)
        network.draw(seeded())
        assert not network(values, times, conditions).any()
        for weight in network.parameters():
            weight.data.normal_(generator=seeded(2))
        changed = network(values, times, conditions) != network(other, times, conditions)
        assert changed.any(0).nonzero()[:, 0].tolist() == reached


def test_the_flow_of_gaussian_data_without_any_network_output_is_exact():
    """For data N(0, d^2) the velocity needs no network: what is noised in part keeps its distribution."""
    made, _ = decoder(noise=0.7)
    scale = made._scale
    data, noise = torch.randn(2, 8_000, len(scale), generator=seeded())
    point = 0.3 * scale * data + 0.7 * noise
    times = [0.3 + 0.7 * step / 20 for step in range(21)]
    conditions = torch.zeros(len(point), 2)
    end = SOLVERS["midpoint"](lambda x, t: made._velocity(x, t, conditions), point, times)
    torch.testing.assert_close(end.std(0), scale, atol=0.0, rtol=0.03)


def test_without_noise_and_corrections_frames_of_the_library_come_back():
    made, latents = decoder(noise=1e-4, corrections=0, redraws=0, n_neighbours=1)
    decoded = made.decode(latents[None, :100, None], Context(), seeded())[0]
    torch.testing.assert_close(distances(decoded), distances(POSITIONS[:100]), atol=2e-3, rtol=0)
    torch.testing.assert_close(distances(made.library_structures()), distances(POSITIONS), atol=2e-3, rtol=0)


def test_corrections_bring_structures_to_their_latents_and_leave_bonds_alone():
    errors = []
    for corrections in (0, 1, 4):
        made, latents = decoder(corrections=corrections, redraws=0)
        made.contacts.edges.zero_()  # nothing overlaps
        decoded = made.decode(latents[None, :, None], Context(), seeded())[0]
        again = made.encoder.encode(decoded, Context()).flatten(1)
        errors.append(float((again - latents).square().mean().sqrt()))
    assert errors[1] < 0.6 * errors[0]
    assert errors[2] < 0.3 * errors[0]
    spread = bond_lengths(POSITIONS, MOLECULE.bonds).std(0)
    found = bond_lengths(decoded, MOLECULE.bonds)
    assert ((found - bond_lengths(POSITIONS, MOLECULE.bonds).mean(0)).abs() < 6 * spread).all()


def test_gradients_by_values_are_those_through_the_building():
    made, _ = decoder()
    representation = made.representation
    values = (made.library[:7].float() + 0.3 * torch.randn(7, representation.n_values, generator=seeded())).double()
    values, representation = values.requires_grad_(), representation.double()
    positions = representation.build(values)
    by_position = torch.randn(7, 2, *positions.shape[1:], generator=seeded(1), dtype=torch.float64)
    found = representation.gradient(values.detach(), positions.detach(), by_position)
    for function in range(2):
        (expected,) = torch.autograd.grad(positions, values, by_position[:, function], retain_graph=True)
        torch.testing.assert_close(found[:, function], expected)


def test_overlaps_are_followed_back_from_those_that_there_are():
    made, _ = decoder()
    made.contacts.edges += 0.02
    x = POSITIONS[:50].clone().requires_grad_()
    lacking = (made.contacts.edges[:, 2] - bond_lengths(x, made.contacts._pairs)).clamp(min=0).sum(-1)
    overlap = made.contacts.overlap(x)
    assert int((overlap > 0).sum()) > 0
    torch.testing.assert_close(overlap, lacking)
    torch.testing.assert_close(*(torch.autograd.grad(each.sum(), x)[0] for each in (overlap, lacking)))


@pytest.mark.parametrize("begun", [False, True])
def test_structures_of_many_blocks_each_have_their_own_latent(monkeypatch, begun):
    """Half of all draws are refused, and drawn again together."""
    made, latents = decoder(redraws=6, corrections=4)
    made.contacts.edges.zero_()
    monkeypatch.setattr("mdgen.models.decoders.neighbour_flow.BLOCK", 128)
    drawn = []

    def refused(positions, generator):
        drawn.append(len(positions))
        return torch.rand(len(positions), generator=generator) < 0.5

    monkeypatch.setattr(made.contacts, "rejected", refused)
    chosen = torch.arange(len(latents))[None] if begun else None
    decoded = made.decode_chosen(latents[None, :, None], chosen, Context(), seeded())[0]
    assert drawn[0] == len(latents)
    assert 200 < drawn[1] < 400
    again = made.encoder.encode(decoded, Context()).flatten(1)
    assert float((again - latents).square().mean().sqrt()) < 0.3 * float(latents.std())


def test_the_loss_falls_where_the_latent_says_which_structure_it_is():
    made, latents = decoder()
    rows = torch.tensor([0, 300]).repeat(64)
    batch = FrameBatch(made.representation.represent(POSITIONS)[rows], latents[rows])
    optimizer = torch.optim.Adam(made.network.parameters(), lr=5e-3)
    losses = []
    for step in range(100):
        loss = made.loss(batch, seeded(step)).total
        losses.append(float(loss.detach()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.6 * losses[0]


def test_corrections_take_atoms_apart():
    shares = []
    for corrections in (0, 2):
        made, latents = decoder(corrections=corrections, redraws=0)
        # data in which one distance in five is too short, and a flow that does not know
        made.contacts.edges += 0.02
        decoded = made.decode(latents[None, :, None], Context(), seeded())[0]
        shares.append(float(made.contacts.overlap(decoded).mean()))
    assert shares[1] < 0.5 * shares[0]


def test_a_share_of_the_corrections_leaves_the_rest_of_the_way():
    errors = {}
    for share, corrections in ((1.0, 0), (0.5, 3), (1.0, 3)):
        made, latents = decoder(corrections=corrections, correction_share=share, redraws=0)
        made.contacts.edges.zero_()  # nothing overlaps
        asked = latents[:200]
        decoded = made.decode(asked[None, :, None], Context(), seeded())[0]
        errors[share, corrections] = made.encoder.encode(decoded, Context()).flatten(1) - asked
    size = errors[1.0, 0].norm(dim=-1)
    assert float(((errors[0.5, 3] - 0.5 * errors[1.0, 0]).norm(dim=-1) / size).median()) < 0.02
    assert float((errors[1.0, 3].norm(dim=-1) / size).median()) < 0.02


def test_more_steps_are_taken_where_atoms_are_nearer_than_ever(monkeypatch):
    shares = []
    for more in (False, True):
        made, latents = decoder(corrections=2, redraws=0)
        made.contacts.edges += 0.01  # as if no training frame had been as close
        unseen = made.contacts.unseen
        if not more:
            monkeypatch.setattr(made.contacts, "unseen", lambda built: torch.zeros(len(built), dtype=torch.bool))
        decoded = made.decode(latents[None, :, None], Context(), seeded())[0]
        shares.append(float(unseen(decoded).float().mean()))
    assert shares[0] > 0
    assert shares[1] < 0.5 * shares[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"noise": 1.0}, "noise is 1.0"),
        ({"n_library": 5, "n_neighbours": 6}, "n_neighbours is 6"),
        ({"width": 20, "heads": 4}, "a width of 20"),
        ({"heads": 0}, "heads is 0"),
        ({"n_evaluations": 0}, "n_evaluations is 0"),
        ({"torsion_scale": 0.0}, "torsion_scale is 0"),
        ({"correction_share": 0.0}, "correction_share is 0"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(MdgenError, match=message):
        NeighbourFlow(LATENT, **options)
