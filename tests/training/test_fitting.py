import functools
import itertools
import logging
import signal
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mdgen.errors import MdgenError
from mdgen.interfaces import LatentSpace, Loss
from mdgen.models.batches import FrameBatch, PairBatch, TrainingData
from mdgen.models.decoders.cwgan import CWGAN
from mdgen.models.decoders.internal import InternalRepresentation
from mdgen.models.propagators.mdn import MDN
from mdgen.training.fitting import fit
from mdgen.training.minibatches import Passes, RandomDraws, Whole
from mdgen.training.modules import AdversarialTraining, GradientTraining, averaged
from mdgen.training.pair_batches import distinct_pairs, pairs_of
from mdgen.training.settings import TrainerSettings, TrainingSettings
from tests.models.structures import alanine_dipeptide, frames

ADAM = functools.partial(torch.optim.Adam, lr=1e-3)
LATENT = LatentSpace("slow_modes", 1, 2)
EVERY_EPOCH = TrainerSettings(checkpoint_interval_s=0.0)


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


def gradient_training(average_decay=0.0, max_epochs=6):
    generator = torch.Generator().manual_seed(0)
    table = torch.randn(500, 2, generator=generator)
    model = MDN(LATENT, 1.0, n_components=3, hidden=[8])
    pairs = pairs_of([table], 1)
    model.prepare(TrainingData(pairs), generator)
    settings = TrainingSettings(ADAM, max_epochs=max_epochs, average_decay=average_decay)
    return GradientTraining(model, settings, generator), Passes(pairs, 100, generator), Whole(pairs)


def averaged_training():
    return gradient_training(average_decay=0.9)


def adversarial_training():
    generator = torch.Generator().manual_seed(0)
    positions = frames(200)
    model = CWGAN(LATENT, InternalRepresentation.fitted(alanine_dipeptide(), positions), 3, [8, 8], critic_steps=2)
    data = TrainingData(FrameBatch(positions, torch.randn(200, 2, generator=generator)))
    training = model.prepare(data, generator).training
    settings = TrainingSettings(ADAM, max_epochs=6, average_decay=0.999)
    return AdversarialTraining(model, settings, generator), RandomDraws(training, 24, 5, generator), None


@pytest.mark.parametrize("make", [gradient_training, averaged_training, adversarial_training])
def test_interrupted_training_resumes_to_the_same_weights(make, tmp_path):
    straight, batches, validation = make()
    expected = fit("part", straight, batches, validation)
    stopped, batches, validation = make()
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit("part", stopped, StopsIn(batches, 3), validation, machine=EVERY_EPOCH, folder=tmp_path)
    assert signal.getsignal(signal.SIGINT) is handler
    resumed, batches, validation = make()
    history = fit("part", resumed, batches, validation, machine=EVERY_EPOCH, folder=tmp_path)
    assert history == expected
    for name, value in straight.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], value, rtol=0, atol=0, equal_nan=True)
    assert [file.name for file in tmp_path.iterdir()] == ["part.ckpt"]


def test_a_file_that_is_no_checkpoint_of_this_training_is_named(tmp_path):
    (tmp_path / "part.ckpt").write_bytes(b"not a checkpoint")
    module, batches, validation = gradient_training()
    with pytest.raises(MdgenError, match=r"part.ckpt is not a checkpoint of this training"):
        fit("part", module, batches, validation, folder=tmp_path)


class Descending(nn.Module):
    """Its loss is least after three steps of one, and rises again."""

    def __init__(self):
        super().__init__()
        self.at = nn.Parameter(torch.zeros(()))

    def loss(self, batch, generator):
        return Loss((self.at.detach() - 3.0).square() - self.at + self.at.detach())


def test_the_best_weights_are_kept_and_training_stops_when_it_no_longer_improves():
    model = Descending()
    sgd = functools.partial(torch.optim.SGD, lr=1.0)
    settings = TrainingSettings(sgd, max_epochs=50, patience=4, gradient_clip=0.0, cosine=False)
    module = GradientTraining(model, settings, torch.Generator())
    batches = Whole(PairBatch(torch.zeros(2, 1), torch.tensor([0]), torch.tensor([1])))
    history = fit("part", module, batches, batches)
    assert len(history) == 7  # best after the third, then four more
    assert model.at.item() == pytest.approx(3.0)


class Diverging(Descending):
    """Its loss is not a number from some batch on: training batches are counted alone."""

    def __init__(self, after, stage):
        super().__init__()
        self.left, self.stage = after, stage

    def loss(self, batch, generator):
        training = torch.is_grad_enabled()
        self.left -= training
        broken = self.left < 0 and training == (self.stage == "train")
        return Loss(super().loss(batch, generator).total * (float("nan") if broken else 1.0))


@pytest.mark.parametrize(("stage", "validated"), [("train", True), ("train", False), ("validation", True)])
def test_a_training_that_diverges_says_so_and_leaves_nothing_to_resume(stage, validated, tmp_path):
    sgd = functools.partial(torch.optim.SGD, lr=1e-3)
    settings = TrainingSettings(sgd, max_epochs=6, gradient_clip=0.0)
    module = GradientTraining(Diverging(3, stage), settings, torch.Generator())
    batches = Whole(PairBatch(torch.zeros(2, 1), torch.tensor([0]), torch.tensor([1])))
    with pytest.raises(MdgenError, match=r"training of the part diverged .* smaller learning rate"):
        fit("part", module, batches, batches if validated else None, machine=EVERY_EPOCH, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_weights_that_were_never_judged_are_not_given_out():
    sgd = functools.partial(torch.optim.SGD, lr=1e-3)
    module = GradientTraining(Diverging(0, "validation"), TrainingSettings(sgd, max_epochs=1), torch.Generator())
    batches = Whole(PairBatch(torch.zeros(2, 1), torch.tensor([0]), torch.tensor([1])))
    with pytest.raises(MdgenError, match="diverged"):
        fit("part", module, batches, batches)


@pytest.mark.parametrize("wrong", [{"accelerator": "tpu"}, {"accelerator": "abacus"}, {"strategy": "hope"}])
def test_a_machine_that_is_not_there_is_named(wrong):
    module, batches, validation = gradient_training()
    with pytest.raises(MdgenError, match="no training with accelerator="):
        fit("part", module, batches, validation, machine=TrainerSettings(**wrong))
    with pytest.raises(MdgenError, match="precision=64-true: expected one of 32-true"):
        TrainerSettings(precision="64-true")


def test_an_interrupted_training_loses_a_few_seconds_at_most(tmp_path, monkeypatch):
    """With a clock that goes on five seconds whenever it is read, every epoch is kept."""
    ticks = itertools.count(step=5.0)
    monkeypatch.setattr("mdgen.training.callbacks.time", SimpleNamespace(monotonic=lambda: next(ticks)))
    module, batches, validation = gradient_training()
    with pytest.raises(KeyboardInterrupt):
        fit("part", module, StopsIn(batches, 2), validation, folder=tmp_path)
    assert torch.load(tmp_path / "part.ckpt", weights_only=True)["epoch"] == 1


def test_training_is_quiet(capfd, tmp_path, monkeypatch):
    # A command that ran before in this process shows what the package itself logs, such as progress.
    monkeypatch.setattr(logging.getLogger("mdgen"), "handlers", [])
    module, batches, validation = gradient_training(max_epochs=2)
    fit("part", module, batches, validation, folder=tmp_path)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


def test_moving_average_is_that_of_its_definition():
    layer = nn.Linear(2, 1)
    average = averaged(layer, decay=0.5)
    expected = layer.weight.detach().clone()
    for step in range(1, 5):
        with torch.no_grad():
            layer.weight += 1.0
        average.update_parameters(layer)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * layer.weight.detach()
    torch.testing.assert_close(average.module.weight.detach(), expected)


def test_a_pass_over_the_batches_sees_every_pair_once_in_another_order():
    table = torch.arange(50.0)[:, None]
    batches = Passes(pairs_of([table[:20], table[20:]], 3), 10, torch.Generator().manual_seed(0))
    passes = []
    for _ in range(2):
        seen = torch.cat([torch.cat([b.frames[b.now], b.frames[b.later]], 1) for b in batches])
        passes.append(seen)
        assert torch.equal(seen[:, 1] - seen[:, 0], torch.full((len(seen),), 3.0))
        first = sorted(seen[:, 0].tolist())
        assert first == [*range(17), *range(20, 47)]  # no pair joins the two trajectories
    assert not torch.equal(*passes)


@pytest.mark.parametrize("n_processes", [2, 3])
def test_processes_share_every_batch_between_them(n_processes, monkeypatch):
    pairs = pairs_of([torch.arange(50.0)[:, None]], 1)
    seen, lengths = [], set()
    for rank in range(n_processes):
        monkeypatch.setattr("mdgen.training.minibatches.processes", lambda rank=rank: (rank, n_processes))
        batches = Passes(pairs, 5, torch.Generator().manual_seed(0))
        made = [batch.frames[batch.now][:, 0].tolist() for batch in batches]
        assert len(made) == len(batches)
        lengths.add(len(made))
        seen += itertools.chain.from_iterable(made)
        draws = RandomDraws(pairs, 5, 1, torch.Generator().manual_seed(0))
        assert [len(batch) for batch in draws] == [5]
    assert sorted(seen) == list(range(49))
    assert lengths == {49 // (5 * n_processes)}


def test_weights_of_drawn_pairs_count_once():
    pairs = PairBatch(torch.arange(3.0)[:, None], torch.tensor([0, 1]), torch.tensor([1, 2]), torch.tensor([9.0, 1.0]))
    (batch,) = RandomDraws(pairs, 4000, 1, torch.Generator().manual_seed(0))
    often = (batch.frames[batch.now][:, 0] == 0).float()
    assert float((batch.share(torch.float32) * often).sum()) == pytest.approx(0.9, abs=0.02)


def test_distinct_pairs_count_every_pair():
    states = torch.randint(4, (300,), generator=torch.Generator().manual_seed(0))
    pairs = distinct_pairs(states, torch.arange(4.0)[:, None], 2)
    assert pairs.weights.sum() == 298
    counted = sum(int(states[i] == 1 and states[i + 2] == 3) for i in range(298))
    found = pairs.weights[(pairs.now == 1) & (pairs.later == 3)]
    assert found.sum() == counted
