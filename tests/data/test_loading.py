"""An epoch holds every window once, in an order that resumes anywhere and that neither workers nor ranks change."""

import itertools
import json
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from mdgen.data.collation import TrajectoryBatch
from mdgen.data.collection import TrajectoryCollection
from mdgen.data.loading import WindowLoader
from mdgen.data.store import TrajectoryStore
from mdgen.data.trajectories import open_trajectories, write_trajectory
from mdgen.data.windows import WindowDataset
from mdgen.errors import MdgenError

from .conftest import argon, walk

COUNTS, SIZES = [40, 7, 0, 31, 25], [20, 100, 7, 22, 90]


class Counted(WindowDataset):
    """All that the order of a data set depends on."""

    counts, n_atoms = tuple(COUNTS), tuple(SIZES)  # type: ignore[assignment]

    def __init__(self) -> None:
        self.frames = 1

    def __len__(self) -> int:
        return sum(COUNTS)


def sampler(**settings: object) -> WindowLoader:
    return WindowLoader(Counted(), **{"batch_size": 4, **settings})  # type: ignore[arg-type]


def batches_of(loader: WindowLoader) -> list[list[int]]:
    return [batch.tolist() for batch in loader.batches()]


def size_of(index: int) -> int:
    return SIZES[int(np.searchsorted(np.cumsum(COUNTS), index, side="right"))]


@pytest.mark.parametrize(
    "settings", [{}, {"atoms_per_batch": 300}, {"batch_size": None, "atoms_per_batch": 300, "padding": 0.2}]
)
@pytest.mark.parametrize("shuffle", [True, False])
def test_every_index_once_an_epoch(settings: dict, shuffle: bool) -> None:
    batches = batches_of(sampler(shuffle=shuffle, **settings))
    assert sorted(itertools.chain(*batches)) == list(range(sum(COUNTS)))
    assert len(batches) == len(sampler(**settings))


@pytest.mark.parametrize("padding", [None, 0.0, 0.2])
def test_batches_keep_to_their_budget(padding: float | None) -> None:
    batches = batches_of(sampler(batch_size=None, atoms_per_batch=410, padding=padding))
    sizes = [[size_of(index) for index in batch] for batch in batches]
    assert all(len(each) * max(each) <= 410 for each in sizes)
    if padding is not None:
        assert all(max(each) <= min(each) * (1 + padding) for each in sizes)
        assert max(map(len, sizes)) >= 410 // 22  # small molecules come in large batches
    with pytest.raises(MdgenError, match="size 100 does not fit a batch of 99"):
        sampler(atoms_per_batch=99)


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        made = sampler(seed=seed)
        made.set_epoch(epoch)
        torch.rand(epoch)
        return batches_of(made)

    assert order(3, 4) == order(3, 4)
    different = [order(*pair) for pair in ((0, 0), (0, 1), (1, 0), (1, 1))]
    assert all(one != other for one, other in itertools.combinations(different, 2))


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("drop_last", [False, True])
def test_ranks_share_an_epoch(ranks: int, drop_last: bool) -> None:
    def of_rank(rank: int, of: int) -> list[tuple[int, ...]]:
        made = sampler(rank=rank, ranks=of, drop_last=drop_last, padding=0.2)
        return [tuple(batch) for batch in batches_of(made)]

    whole, parts = of_rank(0, 1), [of_rank(rank, ranks) for rank in range(ranks)]
    assert len({len(part) for part in parts}) == 1
    dealt = list(itertools.chain(*parts))
    assert set(dealt) <= set(whole)
    if drop_last:
        assert len(set(dealt)) == len(dealt) > len(whole) - ranks
        assert {len(batch) for batch in dealt} == {4}
    else:
        assert set(dealt) == set(whole)
        assert len(dealt) - len(whole) < ranks  # only to fill the last round
    if len(whole) % ranks == 0:
        assert len(set(dealt)) == len(dealt)


def test_ranks_are_those_of_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = sampler()
    for name, value in (("is_initialized", True), ("get_world_size", 2), ("get_rank", 1)):
        monkeypatch.setattr(torch.distributed, name, lambda value=value: value)
    assert batches_of(sampler()) == batches_of(alone) == batches_of(sampler(rank=1, ranks=2))
    assert batches_of(sampler()) != batches_of(sampler(rank=0, ranks=1))


def test_a_batch_needs_a_limit() -> None:
    for settings, match in [
        ({"batch_size": None}, "needs a limit"),
        ({"batch_size": 0}, "at least 1"),
        ({"batch_size": 1000, "drop_last": True}, "fill no batch"),
    ]:
        with pytest.raises(MdgenError, match=match):
            sampler(**settings)


@pytest.fixture
def dataset(tmp_path: Path) -> WindowDataset:
    with TrajectoryStore.create(tmp_path / "store", argon(3), 0.2, 2, {"temperature_K": 300}) as store:
        store.append(np.stack([walk(20, 1, 3), walk(20, 2, 3)]))
    write_trajectory(tmp_path / "five.xtc", walk(30, 3, 5), argon(5), 0.2)
    sets = [
        open_trajectories(tmp_path / "store"),
        open_trajectories(tmp_path / "five.xtc", argon(5), temperature_K=310.0),
    ]
    return WindowDataset(TrajectoryCollection(sets), 4, 0.4)


def same(one: list, other: list) -> bool:
    return len(one) == len(other) and all(
        torch.equal(a.positions, b.positions) and torch.equal(a.context.temperature_K, b.context.temperature_K)
        for a, b in zip(one, other, strict=True)
    )


def test_workers_change_nothing(dataset: WindowDataset) -> None:
    dataset[len(dataset) - 1]  # opens the file before the workers start
    alone, helped = (WindowLoader(dataset, 5, seed=7, num_workers=n) for n in (0, 2))
    before = torch.get_rng_state()
    for _ in range(2):
        assert same(list(alone), list(helped))
    assert torch.equal(torch.get_rng_state(), before)
    assert alone.state_dict() == helped.state_dict()


@pytest.mark.parametrize("n_workers", [0, 1])
@pytest.mark.parametrize("stop", [0, 1, 6, -1])
def test_an_epoch_resumes_where_it_stopped(dataset: WindowDataset, stop: int, n_workers: int) -> None:
    whole = WindowLoader(dataset, 5, seed=7)
    epochs = [list(whole), list(whole)]
    assert not same(*epochs)
    stopped = WindowLoader(dataset, 5, seed=7, num_workers=n_workers)
    stop = stop % (len(stopped) + 1)
    first = list(itertools.islice(stopped, stop))
    resumed = WindowLoader(dataset, 5, seed=7, num_workers=n_workers)
    resumed.load_state_dict(json.loads(json.dumps(stopped.state_dict())))
    rest = [batch for _ in range(2) for batch in resumed]
    expected = epochs[0] + epochs[1]
    assert same((first + rest)[: len(expected)], expected)
    assert len(resumed) == len(whole)


def test_a_loop_that_breaks_begins_the_epoch_again(dataset: WindowDataset) -> None:
    loader = WindowLoader(dataset, 5)
    first = [next(iter(loader)) for _ in range(2)]
    assert same(first[:1], first[1:])
    loader.set_epoch(3)
    assert not same(first[:1], [next(iter(loader))])


def test_another_order_is_not_resumed(dataset: WindowDataset) -> None:
    state = WindowLoader(dataset, 5, seed=7).state_dict()
    for other in (
        WindowLoader(dataset, 5, seed=8),
        WindowLoader(dataset, 6, seed=7),
        WindowLoader(dataset, 5, seed=7, rank=0, ranks=2),
        WindowLoader(WindowDataset(dataset.collection, 3), 5, seed=7),
    ):
        with pytest.raises(MdgenError, match="cannot be resumed"):
            other.load_state_dict(state)


def test_budgets_count_frames(dataset: WindowDataset) -> None:
    for batch in WindowLoader(dataset, atoms_per_batch=61):
        assert batch.positions[..., 0].numel() <= 61
    assert max(len(batch) for batch in WindowLoader(dataset, tokens_per_batch=40, padding=0.0)) == 40 // (4 * 3)
    with pytest.raises(MdgenError, match="one budget"):
        WindowLoader(dataset, atoms_per_batch=61, tokens_per_batch=40)


class Recorded(lightning.LightningModule):
    """Notes the batches that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[float] = []

    def training_step(self, batch: TrajectoryBatch, index: int) -> torch.Tensor:
        self.seen.append(float(batch.positions.double().sum()))
        return self.weight * batch.positions.mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


@pytest.mark.parametrize("stop", [3, 11, 14])
def test_lightning_resumes_in_the_middle_of_an_epoch(dataset: WindowDataset, tmp_path: Path, stop: int) -> None:
    n_batches = len(WindowLoader(dataset, 5))
    assert 3 < n_batches <= 14

    def seen(resume: Path | None = None) -> list[float]:
        off = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        kept = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=stop, save_top_k=-1)
        trainer = lightning.Trainer(max_epochs=2, default_root_dir=tmp_path, callbacks=kept, **off)
        module = Recorded()
        trainer.fit(module, WindowLoader(dataset, 5, seed=7), ckpt_path=resume, weights_only=False)
        return module.seen

    whole = seen()
    assert len(whole) == 2 * n_batches
    assert len(set(whole[:n_batches])) == n_batches
    assert whole[:n_batches] != whole[n_batches:]
    assert seen(tmp_path / f"step={stop}.ckpt") == whole[stop:]
