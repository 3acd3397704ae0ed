"""The network of velocities: size, symmetry, masks, and its parts against plain sums."""

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.models.blocks import number_format
from mdgen.models.blocks.invariant_point_attention import InvariantPointAttention
from mdgen.models.blocks.rotary import rotate, turns
from mdgen.models.blocks.se3_tokens import COSINES, SINES, TORSION_HARMONICS
from mdgen.models.blocks.time_mixer import OscillatorMixer
from mdgen.models.interpolant.known_parts import TASKS, draw_known
from mdgen.models.interpolant.velocity_network import TIME_MIXERS, TokenContext, VelocityNetwork
from mdgen.molecule.tokens import TORSION_SLOTS

CHANNELS, SIZE = 9, {"width": 16, "heads": 2, "blocks": 2, "key_frame_blocks": 2}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def randomised(module, seed=0):
    """All weights drawn, also those that start at zero."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(0.0, 0.3, generator=seeded(seed + parameter.numel()))
    return module


def rotations(*shape, seed=0):
    q, r = torch.linalg.qr(torch.randn(*shape, 3, 3, generator=seeded(seed)))
    q = q * torch.sign(torch.diagonal(r, dim1=-2, dim2=-1))[..., None, :]
    return q * torch.linalg.det(q)[..., None, None]


def inputs(batch=2, frames=5, tokens=3):
    g = seeded(1)
    values, noisy = torch.randn(2, batch, frames, tokens, CHANNELS, generator=g)
    known = draw_known((batch, frames, tokens), ["upsample"], g)[..., None].expand_as(values)
    told = TokenContext(
        torch.arange(tokens).expand(batch, -1) + 1,
        torch.ones(batch, tokens, dtype=torch.bool),
        torch.ones(batch, tokens, CHANNELS, dtype=torch.bool),
        rotations(batch, tokens),
        torch.randn(batch, tokens, 3, generator=g),
    )
    return values, noisy, known, told


def velocity(network, values, noisy, known, told):
    n = len(values)
    conditioning = network.condition(values, known, torch.linspace(0, 1, n), torch.linspace(1, 0, n), told)
    return network(torch.where(known, 0.0, noisy), torch.linspace(0.2, 0.6, n), conditioning)


def test_the_largest_size_has_the_paper_s_number_of_parameters():
    with torch.device("meta"):
        network = VelocityNetwork(21, 0, 384, 16, 5, 5)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count == pytest.approx(34_152_521, rel=0.02)


@pytest.mark.parametrize("mixer", TIME_MIXERS)
def test_velocities_do_not_depend_on_where_the_molecule_is(mixer):
    network = randomised(VelocityNetwork(CHANNELS, 0, **SIZE, time_mixer=mixer))
    values, noisy, known, told = inputs()
    turn, shift = rotations(2, 1, seed=5), torch.tensor([3.0, -2.0, 1.0])
    moved = TokenContext(
        told.residue_types,
        told.mask,
        told.channel_mask,
        turn @ told.rotations,
        (turn @ told.origins[..., None])[..., 0] + shift,
    )
    here, there = (velocity(network, values, noisy, known, each) for each in (told, moved))
    torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-3)
    bent = TokenContext(told.residue_types, told.mask, told.channel_mask, told.rotations, 2 * told.origins)
    assert (velocity(network, values, noisy, known, bent) - here).abs().max() > 1e-2


@pytest.mark.parametrize("mixer", TIME_MIXERS)
def test_padding_and_other_rows_change_nothing(mixer):
    network = randomised(VelocityNetwork(CHANNELS, 0, **SIZE, time_mixer=mixer))
    values, noisy, known, told = inputs()
    alone = velocity(network, values, noisy, known, told)

    def padded(value, fill=7.0):
        extra = torch.full((*value.shape[: value.ndim - 2], 2, value.shape[-1]), fill).to(value.dtype)
        return torch.cat([value, extra], -2)

    types, mask = (torch.nn.functional.pad(each, (0, 2)) for each in (told.residue_types, told.mask))
    frames = torch.cat([told.rotations, rotations(2, 2)], 1), padded(told.origins)
    longer = TokenContext(types, mask, padded(told.channel_mask, 0.0), *frames)
    both = velocity(network, padded(values), padded(noisy), padded(known), longer)[:, :, :3]
    torch.testing.assert_close(both, alone, rtol=1e-4, atol=1e-4)
    changed = noisy.clone()
    changed[1] += 1
    torch.testing.assert_close(velocity(network, values, changed, known, told)[0], alone[0])


def test_what_is_known_counts():
    network = randomised(VelocityNetwork(CHANNELS, 0, **SIZE))
    values, noisy, known, told = inputs()
    here = velocity(network, values, noisy, known, told)
    assert not torch.allclose(velocity(network, torch.where(known, values + 5, values), noisy, known, told), here)
    assert not torch.allclose(velocity(network, values, noisy, torch.zeros_like(known), told), here)


def test_a_new_network_has_no_velocity_and_all_of_it_learns():
    network = VelocityNetwork(CHANNELS, 0, **SIZE)
    network.draw(seeded())
    assert not velocity(network, *inputs()).any()
    network = randomised(network)
    velocity(network, *inputs()).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_blocks_computed_twice_give_the_same_gradients():
    gradients = []
    for checkpointed in (False, True):
        network = randomised(VelocityNetwork(CHANNELS, 0, **SIZE, checkpoint_blocks=checkpointed))
        velocity(network, *inputs()).square().mean().backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_it_runs_in_bfloat16():
    network = randomised(VelocityNetwork(CHANNELS, 0, **SIZE))
    exact = velocity(network, *inputs())
    with torch.autocast("cpu", torch.bfloat16):
        rough = velocity(network, *inputs())
    assert rough.dtype == torch.float32
    assert (rough - exact).norm() < 0.1 * exact.norm()


def test_point_attention_sees_geometry_alone():
    layer = randomised(InvariantPointAttention(8, heads=2, head_width=4))
    _, _, _, told = inputs()
    x = torch.randn(2, 3, 8, generator=seeded())
    turn = rotations(2, 1, seed=3)
    here = layer(x, told.rotations, told.origins, told.mask)
    there = layer(x, turn @ told.rotations, (turn @ told.origins[..., None])[..., 0] - 4.0, told.mask)
    torch.testing.assert_close(here, there, rtol=1e-3, atol=1e-3)


def test_rotary_scores_depend_on_distances_alone():
    turn = turns(12, 8, torch.device("cpu"))
    query, key = torch.randn(2, 8, generator=seeded())
    scores = rotate(query.expand(12, 8), turn) @ rotate(key.expand(12, 8), turn).T
    torch.testing.assert_close(scores.diagonal(3), scores[0, 3].expand(9), rtol=1e-5, atol=1e-5)
    assert scores[0, 3] != scores[3, 0]


@pytest.mark.parametrize("n_frames", [1, 7, 16])
def test_the_oscillators_are_the_convolution_that_they_say(n_frames):
    mixer = randomised(OscillatorMixer(4, n_modes=3))
    frame = torch.arange(n_frames)
    rate, amplitude = torch.complex(-mixer.log_rate.exp(), mixer.frequency), torch.view_as_complex(mixer.amplitude)
    plain = (amplitude[..., None] * torch.exp(rate[..., None] * frame)).sum(2).real
    torch.testing.assert_close(mixer.filters(n_frames), plain.transpose(1, 2), rtol=1e-4, atol=1e-4)
    x = torch.randn(2, n_frames, 4, generator=seeded())
    signal, gate = mixer.inputs(x).chunk(2, -1)
    mixed = mixer.skip * signal
    for now in range(n_frames):
        for then in range(n_frames):
            lag = now - then
            mixed[:, now] += plain[0 if lag >= 0 else 1, :, abs(lag)] * signal[:, then]
    expected = mixer.outputs(mixed * torch.nn.functional.silu(gate))
    torch.testing.assert_close(mixer(x), expected, rtol=1e-3, atol=1e-3)


def test_tasks_say_what_is_known():
    found = {task: draw_known((200, 9, 4), [task], seeded()) for task in TASKS}
    frames = {task: known.all(2).float().mean(0).tolist() for task, known in found.items()}
    first = found["rollout"].all(2).long()
    assert (first.diff(dim=1) <= 0).all()  # frames from the first on
    assert set(first.sum(1).tolist()) == {1, 2, 3, 4}
    assert (first.sum(1) == 1).float().mean() > 0.7
    assert frames["interpolate"] == [1.0] + [0.0] * 7 + [1.0]
    assert not found["unconditional"].any()
    gaps = {int(row.all(1).nonzero()[:2].diff(dim=0)) for row in found["upsample"]}
    assert gaps == set(range(2, 9))
    every_other = found["upsample"].all(2)[:, 2].float().mean()
    assert 0.4 < every_other < 0.8  # half of all, and where the logarithmic draw rounds to two
    assert torch.equal(found["inpaint"], found["inpaint"][:, :1].expand(-1, 9, -1))
    assert 0.4 < found["inpaint"].float().mean() < 0.6
    mixed = draw_known((1000, 9, 4), ["rollout", "unconditional"], seeded())
    assert 0.4 < mixed[:, 0, 0].float().mean() < 0.6


def test_sizes_that_make_no_network_are_refused():
    with pytest.raises(MdgenError, match="even number"):
        VelocityNetwork(CHANNELS, 0, width=15, heads=5, blocks=1, key_frame_blocks=1)
    with pytest.raises(MdgenError, match="time_mixer=lstm"):
        VelocityNetwork(CHANNELS, 0, **SIZE, time_mixer="lstm")


def test_the_number_format_is_the_faster_one_and_can_be_chosen(monkeypatch):
    cpu = torch.device("cpu")
    for brain, expected in ((0.1, torch.bfloat16), (0.9, torch.float32), (100.0, torch.float32)):
        number_format.fastest_format.cache_clear()
        seconds = {torch.float32: 1.0, torch.bfloat16: brain}
        monkeypatch.setattr(number_format, "_seconds", lambda dtype, device, size, s=seconds: s[dtype])
        assert number_format.chosen_format("auto", cpu) == expected
        assert number_format.chosen_format("float32", cpu) == torch.float32
    number_format.fastest_format.cache_clear()
    with pytest.raises(MdgenError, match="number_format=half"):
        number_format.chosen_format("half", cpu)


def test_each_torsion_has_a_head_that_is_told_its_own_harmonics():
    torsions = TORSION_SLOTS
    network = randomised(VelocityNetwork(COSINES.stop + 1, 0, 16, 2, 1, 0, torsions=torsions))
    g = seeded(4)
    noisy = torch.randn(2, 5, 3, COSINES.stop + 1, generator=g)
    told = TokenContext(
        torch.ones(2, 3, dtype=torch.long),
        torch.ones(2, 3, dtype=torch.bool),
        torch.ones(2, 3, COSINES.stop + 1, dtype=torch.bool),
        rotations(2, 3),
        torch.zeros(2, 3, 3),
    )
    conditioning = network.condition(
        noisy, torch.zeros_like(noisy, dtype=torch.bool), *torch.rand(2, 2, generator=g), told
    )
    harmonics = torch.randn(2, 5, 3, torsions, TORSION_HARMONICS, generator=g)
    before = network(noisy, torch.full((2,), 0.5), conditioning, harmonics)
    changed = harmonics.clone()
    changed[0, 2, 1, 4] += 1
    moved = network(noisy, torch.full((2,), 0.5), conditioning, changed) != before
    expected = torch.zeros_like(moved)
    expected[0, 2, 1, [SINES.start + 4, COSINES.start + 4]] = True
    assert torch.equal(moved, expected)
