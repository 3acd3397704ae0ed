"""Residue design: nothing of the designed residues is used, and what flanks tell of them is learnt."""

import functools

import pytest
import torch

from mdgen.data.collation import add_context, context_of, pad_windows
from mdgen.data.collection import TrajectoryCollection
from mdgen.data.conditions import first_frame
from mdgen.data.loading import WindowLoader, WindowLoaders
from mdgen.data.trajectories import TrajectorySet
from mdgen.data.windows import WindowDataset
from mdgen.errors import MdgenError
from mdgen.geometry.rotations import rotation_from_quaternion
from mdgen.models.batches import TrainingData
from mdgen.models.encoders.se3_token_encoder import SE3TokenEncoder
from mdgen.models.interpolant.partly_known import draw_designed, draw_told
from mdgen.models.propagators.interpolant_propagator import InterpolantPropagator
from mdgen.molecule.residues import RESIDUE_TYPES, residue_types
from tests.models.parts import seeded
from tests.models.test_se3_tokens import built

ENCODER = SE3TokenEncoder()
FRAMES, INNER = 4, "GSV"
N_WINDOWS, STEPS = 60, 110
DESIGNED = torch.tensor([False, True, False])


@functools.cache
def molecule(letter):
    made, positions = built(f"A{letter}A", False)
    return made, positions.float()


@functools.cache
def windows(letter, n=N_WINDOWS, seed=0):
    """Windows in which the last residue lies farther out, the later a letter stands in `INNER`; all else is noise."""
    made, positions = molecule(letter)
    last = torch.tensor([atom.residue.index == 2 for atom in made.topology.atoms])
    noise = 0.005 * torch.randn(n, FRAMES, *positions.shape, generator=seeded(seed))
    return positions + noise + torch.where(last[:, None], 0.15 * INNER.index(letter), 0.0)


def part_for(tasks=("design",), **options):
    sizes = {"width": 32, "heads": 2, "blocks": 1, "key_frame_blocks": 1, "shorter_share": 0.0, "n_evaluations": 20}
    return InterpolantPropagator(ENCODER.latent, [1.0, 1.0], FRAMES, tasks=tasks, **sizes, **options)


@functools.cache
def loaders():
    sets = [TrajectorySet.from_arrays(molecule(each)[0], 1.0, list(windows(each).numpy())) for each in INNER]
    dataset = WindowDataset(TrajectoryCollection(sets), FRAMES)
    return WindowLoaders(WindowLoader(dataset, 40, seed=1))


def prepared(**options):
    part = part_for(**options)
    part.prepare(TrainingData(loaders().training, encoder=ENCODER), seeded())
    return part


@functools.cache
def learnt():
    part, generator = prepared(), seeded(1)
    adam = torch.optim.Adam(part.parameters(), lr=5e-3)
    dataset = loaders().training.dataset
    for _ in range(STEPS):
        rows = torch.randint(N_WINDOWS, (len(INNER), 16), generator=generator)
        rows = (rows + N_WINDOWS * torch.arange(len(INNER))[:, None]).flatten()  # all letters, always in one order
        batch = add_context(*pad_windows(dataset.__getitems__(rows.numpy())), dataset)
        part.loss(batch, generator).total.backward()
        adam.step()
        adam.zero_grad()
    return part


def designs(part, positions, made, by="flow", **options):
    context = context_of(made, len(positions), None, 1.0, positions[:, :1])
    return part.design(positions, context, DESIGNED, seeded(3), by, **options)


@pytest.mark.parametrize("by", ["flow", "rejection"])
def test_residues_that_their_flanks_tell_are_found(by):
    right = []
    for letter in INNER:
        made = molecule(letter)[0]
        found = designs(learnt(), windows(letter, 30, seed=7), made, by)
        right.append((found.types == residue_types(made)).all(1))
        assert found.scores.mean() > 1.0
    assert torch.cat(right).float().mean() > 0.9


@pytest.mark.parametrize("by", ["flow", "rejection"])
def test_nothing_of_a_designed_residue_is_used(by):
    made, other = molecule("V")[0], molecule("L")[0]
    positions = windows("V", 8, seed=5)
    flank = [{(a.residue.index, a.name): a.index for a in each.topology.atoms} for each in (made, other)]
    elsewhere = torch.randn(8, FRAMES, other.n_atoms, 3, generator=seeded(9))
    for (residue, name), index in flank[1].items():
        if residue != 1:
            elsewhere[:, :, index] = positions[:, :, flank[0][residue, name]]
    here, there = designs(learnt(), positions, made, by), designs(learnt(), elsewhere, other, by)
    assert torch.equal(here.types, there.types)
    assert torch.equal(here.scores, there.scores)


def test_designs_do_not_depend_on_where_the_molecule_is():
    made, positions = molecule("S")[0], windows("S", 8, seed=5)
    turns = rotation_from_quaternion(torch.randn(8, FRAMES, 1, 4, generator=seeded(2)))
    moved = (turns @ positions[..., None]).squeeze(-1) + torch.randn(8, FRAMES, 1, 3, generator=seeded(4))
    here, there = (designs(learnt(), each, made) for each in (positions, moved))
    assert torch.equal(here.types, there.types)
    torch.testing.assert_close(here.scores, there.scores, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("by", ["flow", "rejection"])
def test_a_network_that_has_learnt_nothing_designs_by_the_frequencies(by):
    part = prepared()
    made = molecule("G")[0]
    found = designs(part, windows("G", 1).expand(1000, -1, -1, -1), made, by)
    drawn = torch.bincount(found.types[:, 1], minlength=len(RESIDUE_TYPES))[1:21] / 1000
    expected = torch.full((20,), 0.5)
    expected[residue_types(made)[1] - 1] = 1.5
    for letter in INNER:
        expected[residue_types(molecule(letter)[0])[1] - 1] = 1.5
    expected /= expected.sum()
    torch.testing.assert_close(found.frequencies[1], expected)
    spread = (expected * (1 - expected) / 1000).sqrt()
    assert ((drawn - expected).abs() < 4 * spread).all()
    assert (found.scores == 0).all()


def test_one_network_designs_and_does_another_task():
    part = prepared(tasks=("rollout", "design"))
    batch = next(iter(loaders().training))
    named = {tuple(part.loss(batch, seeded(seed)).terms) for seed in range(8)}
    assert named == {(), ("motions", "types")}
    made, positions = molecule("G")[0], windows("G", 2)
    context = context_of(made, 2, None, 1.0, positions[:, :1])
    latent = ENCODER.encode(positions, context)
    assert part.sample(first_frame(latent[:, 0], FRAMES), context, seeded()).isfinite().all()
    with pytest.raises(MdgenError, match="nothing but design"):
        learnt().sample(first_frame(latent[:, 0], FRAMES), context, seeded())


def test_a_network_without_the_task_is_as_it_was():
    part = part_for(tasks=("rollout",))
    assert not any("designer" in name for name in part.state_dict())
    with pytest.raises(MdgenError, match="not trained to design residues; train it with design among its tasks"):
        designs(part, windows("G", 2), molecule("G")[0])


def test_training_designs_inner_stretches_and_tells_some_types():
    made = molecule("G")[0]
    context = context_of(made, 4000)
    drawn = draw_designed(context, seeded())
    assert not drawn.all(1).any()
    assert 0.7 < (drawn == DESIGNED).all(1).float().mean() < 0.9
    told = draw_told(context, drawn, seeded(1))
    assert 0.1 < (told[drawn] > 0).float().mean() < 0.15
    assert 0.2 < (told[~drawn] > 0).float().mean() < 0.3


MISTAKES = [
    ({"by": "guess"}, DESIGNED, FRAMES, "by=guess: expected one of flow, rejection"),
    ({}, torch.tensor([True, True, True]), FRAMES, "needs a residue that is known and one that is not"),
    ({}, DESIGNED, 1, "takes 2 to 4 frames at once, and was given 1"),
]


@pytest.mark.parametrize(("options", "designed", "frames", "sentence"), MISTAKES)
def test_mistakes(options, designed, frames, sentence):
    positions = windows("G", 2)[:, :frames]
    context = context_of(molecule("G")[0], 2, None, 1.0, positions[:, :1])
    with pytest.raises(MdgenError, match=sentence):
        learnt().design(positions, context, designed, seeded(), **options)


def test_tokens_along_the_chain_are_refused():
    with pytest.raises(MdgenError, match="relative_to=key_frame"):
        InterpolantPropagator(SE3TokenEncoder("chain").latent, [1.0, 1.0], FRAMES, tasks=["design"])
