"""What every propagator must do."""

import copy

import pytest
import torch

from mdgen.data.conditions import both_ends, first_frame
from mdgen.errors import MdgenError
from mdgen.interfaces import Context, MarkovPropagator, Propagator
from mdgen.models.checkpoint import load_model, save_model
from mdgen.training.gathering import encode_trajectories
from mdgen.training.train import PROCEDURES, procedure_of
from tests.models.parts import (
    LAG_PS,
    PROPAGATORS,
    contexts,
    seeded,
    trained,
    trained_encoder,
    trained_propagator,
    trajectories,
)

WITH_DENSITY = ("MDN", "LatentFlow", "MarkovStateModel", "OrnsteinUhlenbeck")


@pytest.fixture(params=PROPAGATORS)
def propagator(request):
    return trained_propagator(request.param)


def sample(propagator, start, seed=0, context=None):
    n_frames = 5 if propagator.window == 1 else propagator.window
    return propagator.sample(first_frame(start, n_frames), context or Context(), seeded(seed))


def test_it_keeps_the_seam_and_offers_one_procedure(propagator):
    assert isinstance(propagator, Propagator)
    assert isinstance(propagator, MarkovPropagator) == (type(propagator).__name__ in WITH_DENSITY)
    windows = ("latent_windows", "trajectory_windows")
    assert propagator.learns_from in (("lagged_latents",) if propagator.window == 1 else windows)
    assert procedure_of(propagator) in PROCEDURES.values()
    assert propagator.latent == trained_encoder("TICA").latent
    assert propagator.frame_spacing_ps == (LAG_PS, LAG_PS)
    assert not propagator.training


def test_samples_begin_at_the_known_frame_and_are_finite(propagator):
    start = propagator.starts[:6]
    made = sample(propagator, start)
    assert made.shape == (6, 5 if propagator.window == 1 else propagator.window, 1, 2)
    assert torch.equal(made[:, 0], start)
    assert torch.isfinite(made).all()


def test_chance_comes_from_the_generator_alone(propagator):
    start = propagator.starts[:6]
    torch.rand(3)
    assert torch.equal(sample(propagator, start), sample(propagator, start))
    assert not torch.equal(sample(propagator, start), sample(propagator, start, seed=1))


def test_rows_of_one_start_differ_and_do_not_steer_one_another(propagator):
    start = propagator.starts[:1].expand(4, -1, -1)
    made = sample(propagator, start)
    assert len(made[:, 1:].flatten(1).unique(dim=0)) > 1
    other = start.clone()
    other[3] = propagator.starts[5]
    torch.testing.assert_close(sample(propagator, other)[:3, 1], made[:3, 1])


def test_any_context_will_do(propagator):
    for context in contexts(6).values():
        assert torch.equal(
            sample(propagator, propagator.starts[:6], context=context), sample(propagator, propagator.starts[:6])
        )


def test_conditions_it_cannot_meet_are_refused(propagator):
    with pytest.raises(MdgenError, match="channels"):
        propagator.sample(first_frame(torch.zeros(2, 1, 3), 3), Context(), seeded())
    start = propagator.starts[:2]
    if propagator.window == 1:
        if not isinstance(propagator, MarkovPropagator):
            with pytest.raises(MdgenError, match="forward only"):
                propagator.sample(both_ends(start, start, 3), Context(), seeded())
        with pytest.raises(MdgenError, match="ps apart"):
            propagator.sample(first_frame(start, 3), Context(frame_spacing_ps=torch.tensor([3.0, 3.0])), seeded())
    else:
        with pytest.raises(MdgenError, match="windows of"):
            propagator.sample(first_frame(start, propagator.window + 1), Context(), seeded())


def test_it_makes_paths_between_known_frames_where_it_has_a_density_or_windows(propagator):
    if propagator.window == 1 and not isinstance(propagator, MarkovPropagator):
        pytest.skip("no density")
    first, last = propagator.starts[:3], propagator.starts[3:6]
    condition = both_ends(first, last, propagator.window if propagator.window > 1 else 5)
    made = propagator.sample(condition, Context(), seeded())
    assert torch.equal(made[:, 0], first)
    assert torch.equal(made[:, -1], last)
    assert torch.isfinite(made).all()
    assert torch.equal(propagator.sample(condition, Context(), seeded()), made)


def test_a_step_has_the_density_that_it_says(propagator):
    if not isinstance(propagator, MarkovPropagator):
        pytest.skip("no density")
    propagator = copy.deepcopy(propagator)
    propagator.reject_outside = False  # the density is that before any rejection
    now = propagator.starts[:1].expand(2000, -1, -1)
    later = propagator.step(now, seeded())
    assert later.shape == now.shape
    scores = propagator.log_prob(later, now).detach()
    assert scores.shape == (2000,)
    # What it draws is likelier under its own density than what another start draws.
    other = propagator.step(propagator.starts[torch.arange(2000) % 64], seeded())
    assert scores.mean() > propagator.log_prob(other, now).detach().mean()


def test_starts_are_frames_of_the_data(propagator):
    known = torch.cat(encode_trajectories(trajectories(), trained_encoder("TICA")))
    # Rounding depends on the processor and on how many frames are encoded at once.
    assert torch.cdist(propagator.starts.flatten(1), known.flatten(1)).amin(1).max() < 1e-3


def test_a_file_gives_it_back(propagator, tmp_path):
    save_model(tmp_path / "propagator.safetensors", propagator)
    again = load_model(tmp_path / "propagator.safetensors")
    assert type(again) is type(propagator)
    assert again.latent == propagator.latent
    assert again.frame_spacing_ps == propagator.frame_spacing_ps
    start = propagator.starts[:3]
    assert torch.equal(sample(again, start), sample(propagator, start))


def test_training_is_reproducible_and_needs_an_encoder(request, propagator):
    name = next(key for key in PROPAGATORS if trained_propagator(key) is propagator)
    torch.rand(3)
    again = trained(PROPAGATORS[name](propagator.latent), trained_encoder("TICA"))
    for key, value in again.state_dict().items():
        assert torch.equal(value, propagator.state_dict()[key]), key
    with pytest.raises(MdgenError, match="give the encoder"):
        trained(PROPAGATORS[name](propagator.latent))
