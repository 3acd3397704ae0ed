import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.geometry.dihedrals import bond_lengths, dihedral_angles
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.batches import FrameBatch, RandomRows, TrainingData
from mdgen.models.checkpoint import load_model, save_model
from mdgen.models.decoders.cartesian import CartesianRepresentation
from mdgen.models.decoders.contacts import Contacts
from mdgen.models.decoders.critic import Critic
from mdgen.models.decoders.cwgan import CWGAN, rarity
from mdgen.models.decoders.internal import InternalRepresentation
from mdgen.models.decoders.nearest_frame import NearestFrame
from mdgen.molecule.topology import Molecule
from mdgen.molecule.zmatrix import build_zmatrix
from tests.models.structures import alanine_dipeptide, frames

LATENT = LatentSpace("slow_modes", 1, 2)
MOLECULE = alanine_dipeptide()
POSITIONS = frames(600)
REPRESENTATIONS = (InternalRepresentation, CartesianRepresentation)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=REPRESENTATIONS)
def representation(request):
    return request.param.fitted(MOLECULE, POSITIONS)


def decoder_for(representation, **options):
    decoder = CWGAN(LATENT, representation, noise_channels=4, hidden=[16, 16], **options)
    decoder.initialise(seeded())
    decoder.fit_scale(torch.randn(100, 2, generator=seeded()))
    return decoder


def distances(positions):
    return torch.cdist(positions, positions)


def chirality(positions):
    """Sign of the volume at the alpha carbon: N, C, CB around CA."""
    index = {(a.residue.name, a.name): a.index for a in MOLECULE.topology.atoms}
    centre, *around = (positions[:, index["ALA", name]] for name in ("CA", "N", "C", "CB"))
    first, second, third = (atom - centre for atom in around)
    return (torch.linalg.cross(first, second) * third).sum(-1).sign()


def test_representing_and_building_is_a_round_trip_up_to_a_rigid_motion(representation):
    back = representation.build(representation.represent(POSITIONS))
    torch.testing.assert_close(distances(back), distances(POSITIONS), atol=2e-5, rtol=0)
    assert torch.equal(chirality(back), chirality(POSITIONS))


def test_an_amine_that_turns_over_has_its_second_hydrogen_free():
    """Its offset from the first has two narrow peaks, which no principal direction can hold apart."""
    names = ["N", "H", "H", "CA", "CB", "HA", "C"]
    molecule = Molecule.particles(names, [(0, 1), (0, 2), (0, 3), (3, 4), (3, 5), (3, 6)])
    zmatrix = build_zmatrix(molecule)
    n, generator = 400, seeded()
    jitter = [0.02 * torch.randn(n, each, generator=generator) for each in (6, 5, 4)]
    dihedrals = 6.0 * torch.rand(n, 4, generator=generator)
    offset = torch.as_tensor(~zmatrix.is_primary)
    side = torch.randint(0, 2, (n, 1), generator=generator)
    around_nitrogen = torch.as_tensor(zmatrix.rows[3:, 2] == 0)
    flipped = torch.deg2rad(torch.where(side == 1, 130.0, 230.0)) + jitter[2]
    fixed = torch.deg2rad(torch.tensor(120.0)) + jitter[2]
    dihedrals = torch.where(offset, torch.where(around_nitrogen, flipped, fixed), dihedrals)
    positions = zmatrix.to_cartesian(0.12 + 0.02 * jitter[0], torch.deg2rad(torch.tensor(111.0)) + jitter[1], dihedrals)
    representation = InternalRepresentation.fitted(molecule, positions)
    free = torch.zeros(4, dtype=torch.bool)
    free[representation.free_torsions] = True
    assert free[offset & around_nitrogen].all()
    assert not free[offset & ~around_nitrogen].any()
    back = representation.build(representation.represent(positions))
    torch.testing.assert_close(distances(back), distances(positions), atol=2e-5, rtol=0)
    positions[7] *= torch.tensor([1.0, 1.0, -1.0])  # one frame of the wrong hand frees no stereocentre
    assert InternalRepresentation.fitted(molecule, positions).free_torsions == representation.free_torsions


def test_values_do_not_change_with_a_rigid_motion(representation):
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=seeded()))
    rotation = rotation * torch.linalg.det(rotation)
    moved = POSITIONS @ rotation.T + 3.0
    torch.testing.assert_close(representation.represent(moved), representation.represent(POSITIONS), atol=2e-2, rtol=0)


def test_stiff_directions_are_white():
    representation = InternalRepresentation.fitted(MOLECULE, POSITIONS)
    stiff = representation.represent(POSITIONS)[:, 2 * representation.n_free :].double()
    torch.testing.assert_close(stiff.mean(0), torch.zeros(stiff.shape[1]).double(), atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.cov(stiff.T), torch.eye(stiff.shape[1]).double(), atol=2e-2, rtol=0)
    # phi, psi and three methyl groups turn; the two peptide bonds do not
    assert representation.n_free == 5
    assert representation.n_values == 2 * 5 + 60 - 5


def test_a_constrained_bond_is_reproduced_exactly():
    zmatrix = InternalRepresentation.fitted(MOLECULE, POSITIONS).zmatrix
    bonds, angles, dihedrals = zmatrix.to_internal(POSITIONS)
    bonds[:, 3] = 0.101
    constrained = zmatrix.to_cartesian(bonds, angles, dihedrals)
    representation = InternalRepresentation.fitted(MOLECULE, constrained)
    assert representation.n_stiff == 54
    noise = torch.cat([torch.ones(50, 5), torch.zeros(50, 5), torch.randn(50, 54, generator=seeded())], -1)
    built = bond_lengths(representation.build(noise), zmatrix.bond_atoms)
    torch.testing.assert_close(built[:, 3], torch.full((50,), 0.101), atol=1e-5, rtol=0)


def test_first_guess_has_the_torsions_of_the_data_one_by_one():
    representation = InternalRepresentation.fitted(MOLECULE, POSITIONS)
    guess = representation.build(representation.first_guess(4000, seeded()))
    quads = representation.zmatrix.dihedral_atoms[representation.free_torsions]
    for drawn, real in zip(dihedral_angles(guess, quads).T, dihedral_angles(POSITIONS, quads).T, strict=True):
        for k in (1, 2, 3):
            assert abs((k * drawn).cos().mean() - (k * real).cos().mean()) < 0.06
            assert abs((k * drawn).sin().mean() - (k * real).sin().mean()) < 0.06


def test_critic_sees_harmonics_on_the_circle():
    representation = InternalRepresentation.fitted(MOLECULE, POSITIONS)
    values = representation.represent(POSITIONS[:20])
    seen = representation.critic_values(values)
    assert seen.shape == (20, representation.n_critic_values)
    angle = torch.atan2(values[:, 5:10], values[:, :5])
    torch.testing.assert_close(seen[:, 20:25], (3 * angle).cos(), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen[:, 25:30], (3 * angle).sin(), atol=1e-4, rtol=0)


def test_bonds_and_chirality_hold_even_before_training():
    decoder = decoder_for(InternalRepresentation.fitted(MOLECULE, POSITIONS))
    decoded = decoder.decode(torch.randn(3, 50, 1, 2, generator=seeded()), Context(), seeded())
    assert decoded.shape == (3, 50, 22, 3)
    decoded = decoded.flatten(0, 1)
    bonds = bond_lengths(decoded, MOLECULE.bonds)
    assert (bonds - bond_lengths(POSITIONS, MOLECULE.bonds).mean(0)).abs().max() < 0.03
    assert (chirality(decoded) == chirality(POSITIONS)[0]).all()


@pytest.mark.parametrize("hidden", [[7], [7, 6], [7, 6, 5]])
def test_written_out_input_gradient_is_that_of_autograd_twice(hidden):
    torch.manual_seed(0)
    critic = Critic(4, 2, hidden).double()
    values = torch.randn(9, 4, generator=seeded(), dtype=torch.float64, requires_grad=True)
    conditions = torch.randn(9, 2, generator=seeded(1), dtype=torch.float64)
    expected = torch.autograd.grad(critic(values, conditions).sum(), values, create_graph=True)[0]
    found = critic.input_gradient(values, conditions)
    torch.testing.assert_close(found, expected)
    weights = [layer.weight for layer in critic.layers]
    for a, b in zip(
        torch.autograd.grad(found.square().sum(), weights),
        torch.autograd.grad(expected.square().sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


def test_losses_reach_their_own_network_only(representation):
    decoder = decoder_for(representation)
    batch = FrameBatch(representation.represent(POSITIONS[:32]), torch.randn(32, 2, generator=seeded()))
    decoder.critic_loss(batch, seeded()).total.backward()
    assert all(part.grad is None for part in decoder.generator.parameters())
    assert all(part.grad is not None for part in decoder.critic.layers.parameters())
    decoder.generator_loss(batch, seeded()).total.backward()
    assert all(part.grad is not None for part in decoder.generator.parameters())


def test_consistency_falls_under_descent():
    class FirstDistance:
        latent = LATENT

        def encode(self, positions, context):
            return 10 * (distances(positions)[:, 0, [8, 20]])[:, None]

    representation = InternalRepresentation.fitted(MOLECULE, POSITIONS)
    decoder, encoder = decoder_for(representation), FirstDistance()
    latents = encoder.encode(POSITIONS, Context()).flatten(1)
    decoder.prepare(TrainingData(FrameBatch(POSITIONS, latents), encoder=encoder), seeded())
    decoder.consistency_weight = 10.0
    batch = FrameBatch(representation.represent(POSITIONS), latents)
    optimizer = torch.optim.Adam(decoder.generator.parameters(), lr=3e-3)
    deviations = []
    for _ in range(60):
        loss = decoder.generator_loss(batch, seeded())
        deviations.append(loss.terms["consistency"].item())
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
    assert deviations[-1] < 0.7 * deviations[0]


def test_rejection_brings_near_pairs_to_their_share_in_the_data():
    decoder = decoder_for(InternalRepresentation.fitted(MOLECULE, POSITIONS))
    index = {(a.residue.name, a.name): a.index for a in MOLECULE.topology.atoms}
    pair = torch.tensor([[index["ACE", "O"], index["ALA", "O"]]])
    # Data without most of the frames that have this pair near: the decoder makes them, and should not.
    distance = bond_lengths(POSITIONS, pair)[:, 0]
    near = distance < distance.quantile(0.3)
    near[near.nonzero()[:6, 0]] = False
    data = POSITIONS[~near]
    decoder.fit_rejection(FrameBatch(data.repeat(5, 1, 1), torch.zeros(5 * len(data), 2)), seeded())
    limit = decoder.contacts.edges[:, -1][(decoder.contacts._pairs == pair).all(1)]
    shares, refused = [], []
    for redraws in (0, 20):
        decoder.redraws = redraws
        decoded = decoder.decode(torch.zeros(20, 100, 1, 2), Context(), seeded(1)).flatten(0, 1)
        refused.append(float(decoder.contacts.rejected(decoded, seeded(2)).float().mean()))
        shares.append(float((bond_lengths(decoded, pair)[:, 0] < limit).float().mean()))
    expected = float((bond_lengths(data, pair)[:, 0] < limit).float().mean())
    assert refused[0] > 0.02
    assert shares[0] > 3 * expected
    assert shares[1] < expected + 0.2 * (shares[0] - expected)


def test_contacts_of_data_against_itself_reject_nothing():
    contacts = Contacts(MOLECULE)
    contacts.fit_edges(POSITIONS)
    contacts.fit(POSITIONS, POSITIONS)
    assert not contacts.rejected(POSITIONS, seeded()).any()


def test_nearest_frame_gives_back_training_frames_exactly():
    decoder = NearestFrame(LATENT, MOLECULE, n_frames=600)
    latents = torch.randn(600, 2, generator=seeded())
    decoder.fit(TrainingData(FrameBatch(POSITIONS, latents)), seeded())
    decoded = decoder.decode(latents[None, :50, None], Context(), seeded())
    assert torch.equal(decoded[0], POSITIONS[:50])


def test_nearest_frame_keeps_each_of_few_frames_once_and_is_loaded_as_it_was(tmp_path):
    decoder, latents = NearestFrame(LATENT, MOLECULE, n_neighbours=4), torch.randn(600, 2, generator=seeded())
    decoder.fit(TrainingData(FrameBatch(POSITIONS, latents)), seeded())
    assert len(decoder.neighbours.latents.unique(dim=0)) == len(decoder.positions) == 600
    assert not decoder.neighbours.outside(latents).any()
    save_model(tmp_path / "decoder.safetensors", decoder)
    again = load_model(tmp_path / "decoder.safetensors")
    assert torch.equal(again.positions, decoder.positions)


def test_mistakes_are_named(representation):
    with pytest.raises(MdgenError, match="noise_channels is 0"):
        CWGAN(LATENT, representation, noise_channels=0)
    with pytest.raises(MdgenError, match="n_neighbours is 7"):
        NearestFrame(LATENT, MOLECULE, n_frames=5, n_neighbours=7)
    with pytest.raises(MdgenError, match="1 frames are too few"):
        InternalRepresentation.fitted(MOLECULE, POSITIONS[:1])


def test_full_balance_draws_rare_latents_as_often_as_common_ones():
    latents = torch.cat([torch.zeros(990, 1), torch.ones(10, 1)])
    drawn = RandomRows(rarity(latents)).draw(5000, seeded())
    assert float(latents[drawn].mean()) == pytest.approx(0.5, abs=0.03)
