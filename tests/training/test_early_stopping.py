"""Training does not stop before the slow modes are found."""

import math
from dataclasses import replace

import torch

from mdgen.models.batches import TrainingData
from mdgen.models.encoders.srv import SRV
from mdgen.training.modules import GradientTraining
from mdgen.training.pair_batches import pairs_of
from mdgen.training.settings import TrainingSettings, settings_for
from mdgen.training.train import descend

EXIT, ENTRY = 0.02, 0.003
TIMESCALE = -1 / math.log(1 - EXIT - ENTRY)


def rare_state(n_frames: int, seed: int) -> torch.Tensor:
    """A rare state that only the size of a feature tells, not its sign, beside one that is slowish and ten of noise."""
    generator = torch.Generator().manual_seed(seed)
    rare, states, slowish = False, [], [torch.zeros(())]
    draws, kicks = torch.rand(n_frames, generator=generator), torch.randn(n_frames, generator=generator)
    for draw, kick in zip(draws, kicks, strict=True):
        rare = bool(draw >= EXIT) if rare else bool(draw < ENTRY)
        states.append(rare)
        slowish.append(0.8 * slowish[-1] + 0.6 * kick)
    sign = torch.where(torch.rand(n_frames, generator=generator) < 0.5, 1.0, -1.0)
    size = torch.where(torch.tensor(states), 2.0, 1.0)
    noise = torch.randn(n_frames, 10, generator=generator)
    features = torch.stack([sign * (size + 0.1 * noise[:, 0]), torch.stack(slowish[1:])], 1)
    return torch.cat([features, noise], 1)


def trained(settings: TrainingSettings) -> tuple[SRV, int]:
    """The encoder after a training on frames that make one batch an epoch, and its epochs."""
    data = TrainingData(*(pairs_of([rare_state(n, seed)], 1) for n, seed in ((6000, 2), (4000, 0), (2000, 1))))
    encoder, generator = SRV(12, 1.0, n_modes=1, hidden=[30, 30]), torch.Generator().manual_seed(0)
    history = descend(GradientTraining(encoder, settings, generator), encoder.prepare(data, generator))
    encoder.finish(data, generator)
    return encoder, len(history)


def test_few_batches_an_epoch_do_not_end_the_training_before_the_slow_mode_is_found() -> None:
    settings = settings_for(SRV)
    encoder, epochs = trained(settings)
    assert epochs >= settings.patience_steps
    assert float(encoder.timescales_ps[0]) > 0.6 * TIMESCALE
    # By epochs alone, as of large data, it would have stopped with a faster mode.
    hasty, fewer = trained(replace(settings, patience_steps=0))
    assert fewer < 100
    assert float(hasty.timescales_ps[0]) < 0.5 * TIMESCALE


def test_many_batches_an_epoch_leave_the_patience_as_it_is() -> None:
    settings = TrainingSettings(patience=10, patience_steps=200)
    assert settings.patience_of(50) == 10
    assert settings.patience_of(3) == 67
