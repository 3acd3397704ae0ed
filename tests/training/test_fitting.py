import functools
import itertools
import signal
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mdgen.errors import MdgenError
from mdgen.interfaces import LatentSpace, Loss
from mdgen.models.batches import DecoderBatch, PairBatch
from mdgen.models.decoders.cwgan import CWGAN
from mdgen.models.decoders.internal import InternalRepresentation
from mdgen.models.propagators.mdn import MDN
from mdgen.training.adversarial import AdversarialTraining
from mdgen.training.average import MovingAverage
from mdgen.training.decoder import RandomFrames
from mdgen.training.fitting import FitSettings, fit
from mdgen.training.gradient import GradientTraining
from mdgen.training.pair_batches import PairBatches, distinct_pairs, pairs_of, whole
from tests.models.structures import alanine_dipeptide, frames

ADAM = functools.partial(torch.optim.Adam, lr=1e-3)
LATENT = LatentSpace("slow_modes", 1, 2, 10.0)


class StopsIn:
    """Batches that end in Ctrl-C in a given epoch."""

    def __init__(self, batches, epoch):
        self.batches, self.left = batches, epoch

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        self.left -= 1
        for number, batch in enumerate(self.batches):
            if self.left < 0 and number == 1:
                raise KeyboardInterrupt
            yield batch


def gradient_training():
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(500, 2, generator=generator)
    model = MDN(LATENT, n_components=3, hidden=[8])
    model.initialise(generator)
    model.fit_scale(table, generator)
    module = GradientTraining(model, ADAM, {"order": generator}, n_steps=30)
    pairs = pairs_of([table], 1)
    return module, PairBatches(pairs, 100, generator), whole(pairs)


def adversarial_training():
    generator = torch.Generator().manual_seed(0)
    positions = frames(200)
    model = CWGAN(LATENT, InternalRepresentation.fitted(alanine_dipeptide(), positions), 3, hidden=[8, 8])
    model.initialise(generator)
    batch = DecoderBatch(model.representation.represent(positions), torch.randn(200, 2, generator=generator))
    model.fit_scale(batch.latents)
    module = AdversarialTraining(model, ADAM, {"noise": generator}, critic_steps=2, n_steps=30)
    return module, RandomFrames(batch, torch.ones(200), 24, 5, generator), None


def state(module):
    average = getattr(module, "average", None)
    return {
        **module.state_dict(),
        **({} if average is None else {f"average.{k}": v for k, v in average.values.items()}),
    }


@pytest.mark.parametrize("make", [gradient_training, adversarial_training])
def test_interrupted_training_resumes_to_the_same_weights(make, tmp_path):
    settings = FitSettings(max_epochs=6, checkpoint_interval_s=0.0)
    straight, batches, validation = make()
    expected = fit("part", straight, batches, validation, settings, None)
    stopped, batches, validation = make()
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit("part", stopped, StopsIn(batches, 3), validation, settings, tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler
    resumed, batches, validation = make()
    history = fit("part", resumed, batches, validation, settings, tmp_path)
    assert history == expected
    for name, value in state(straight).items():
        torch.testing.assert_close(state(resumed)[name], value, rtol=0, atol=0, equal_nan=True)
    assert [file.name for file in tmp_path.iterdir()] == ["part.ckpt"]


def test_a_file_that_is_no_checkpoint_of_this_training_is_named(tmp_path):
    (tmp_path / "part.ckpt").write_bytes(b"not a checkpoint")
    module, batches, validation = gradient_training()
    with pytest.raises(MdgenError, match=r"part.ckpt is not a checkpoint of this training"):
        fit("part", module, batches, validation, FitSettings(2), tmp_path)


class Descending(nn.Module):
    """Its loss is least after three steps of one, and rises again."""

    def __init__(self):
        super().__init__()
        self.at = nn.Parameter(torch.zeros(()))

    def loss(self, batch):
        return Loss((self.at.detach() - 3.0).square() - self.at + self.at.detach())


def test_the_best_weights_are_kept_and_training_stops_when_it_no_longer_improves():
    model = Descending()
    sgd = functools.partial(torch.optim.SGD, lr=1.0)
    module = GradientTraining(model, sgd, {}, gradient_clip=0.0)
    batches = whole(PairBatch(torch.zeros(2, 1), torch.tensor([0]), torch.tensor([1])))
    history = fit("part", module, batches, batches, FitSettings(max_epochs=50, patience=4), None)
    assert len(history) == 7  # best after the third, then four more
    assert model.at.item() == pytest.approx(3.0)


class Diverging(Descending):
    """Its loss is not a number from some batch on: training batches are counted alone."""

    def __init__(self, after, stage):
        super().__init__()
        self.left, self.stage = after, stage

    def loss(self, batch):
        training = torch.is_grad_enabled()
        self.left -= training
        broken = self.left < 0 and training == (self.stage == "train")
        return Loss(super().loss(batch).total * (float("nan") if broken else 1.0))


@pytest.mark.parametrize(("stage", "validated"), [("train", True), ("train", False), ("validation", True)])
def test_a_training_that_diverges_says_so_and_leaves_nothing_to_resume(stage, validated, tmp_path):
    sgd = functools.partial(torch.optim.SGD, lr=1e-3)
    module = GradientTraining(Diverging(3, stage), sgd, {}, gradient_clip=0.0)
    batches = whole(PairBatch(torch.zeros(2, 1), torch.tensor([0]), torch.tensor([1])))
    settings = FitSettings(6, checkpoint_interval_s=0.0)
    with pytest.raises(MdgenError, match=r"training of the part diverged .* smaller learning rate"):
        fit("part", module, batches, batches if validated else None, settings, tmp_path)
    assert not list(tmp_path.iterdir())


def test_weights_that_were_never_judged_are_not_given_out():
    module, batches, validation = gradient_training()
    settings = FitSettings(max_epochs=2, check_validation_every=5)
    with pytest.raises(MdgenError, match="without one finite validation loss"):
        fit("part", module, batches, validation, settings, None)


def test_an_interrupted_training_loses_a_few_seconds_at_most(tmp_path, monkeypatch):
    """With a clock that goes on five seconds whenever it is read, every epoch is kept."""
    ticks = itertools.count(step=5.0)
    monkeypatch.setattr("mdgen.training.callbacks.time", SimpleNamespace(monotonic=lambda: next(ticks)))
    module, batches, validation = gradient_training()
    with pytest.raises(KeyboardInterrupt):
        fit("part", module, StopsIn(batches, 2), validation, FitSettings(max_epochs=6), tmp_path)
    assert torch.load(tmp_path / "part.ckpt", weights_only=True)["epoch"] == 1


def test_training_is_quiet(capfd, tmp_path):
    module, batches, validation = gradient_training()
    fit("part", module, batches, validation, FitSettings(2), tmp_path)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_moving_average_is_that_of_its_definition():
    layer = nn.Linear(2, 1)
    average = MovingAverage(layer, decay=0.5)
    expected = layer.weight.detach().clone()
    for step in range(1, 5):
        with torch.no_grad():
            layer.weight += 1.0
        average.update(layer)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * layer.weight.detach()
    torch.testing.assert_close(average.averaged(layer).weight.detach(), expected)
    again = MovingAverage(layer, decay=0.5)
    again.load_state_dict(average.state_dict())
    assert torch.equal(again.averaged(layer).weight, average.averaged(layer).weight)


def test_a_pass_over_the_batches_sees_every_pair_once_in_another_order():
    table = torch.arange(50.0)[:, None]
    batches = PairBatches(pairs_of([table[:20], table[20:]], 3), 10, torch.Generator().manual_seed(0))
    passes = []
    for _ in range(2):
        seen = torch.cat([torch.cat([b.frames[b.now], b.frames[b.later]], 1) for b in batches])
        passes.append(seen)
        assert torch.equal(seen[:, 1] - seen[:, 0], torch.full((len(seen),), 3.0))
        first = sorted(seen[:, 0].tolist())
        assert first == [*range(17), *range(20, 47)]  # no pair joins the two trajectories
    assert not torch.equal(*passes)


def test_distinct_pairs_count_every_pair():
    states = torch.randint(4, (300,), generator=torch.Generator().manual_seed(0))
    pairs = distinct_pairs(states, torch.arange(4.0)[:, None], 2)
    assert pairs.weights.sum() == 298
    counted = sum(int(states[i] == 1 and states[i + 2] == 3) for i in range(298))
    found = pairs.weights[(pairs.now == 1) & (pairs.later == 3)]
    assert found.sum() == counted
