"""A padded batch says what is real, and nothing that is real changes by padding."""

import numpy as np
import pytest
import torch

from mdgen.data.collation import TrajectoryBatch, add_context, pad_windows
from mdgen.data.collection import TrajectoryCollection
from mdgen.data.trajectories import TrajectorySet
from mdgen.data.windows import Window, WindowDataset
from mdgen.molecule.residues import residue_types

from .conftest import argon, walk


def collate(windows: list[Window], dataset: WindowDataset) -> TrajectoryBatch:
    return add_context(*pad_windows(windows), dataset)


def collection(*sizes: int, temperatures: tuple[float | None, ...] | None = None) -> TrajectoryCollection:
    given = temperatures or tuple(300.0 + 10 * k for k in range(len(sizes)))
    return TrajectoryCollection(
        [
            TrajectorySet.from_arrays(argon(n), 0.2, [walk(9, k, n), walk(12, k + 50, n)], temperature_K=t)
            for k, (n, t) in enumerate(zip(sizes, given, strict=True))
        ]
    )


@pytest.mark.parametrize("seed", range(5))
def test_sums_over_real_atoms_are_those_without_padding(seed: int) -> None:
    dataset = WindowDataset(collection(3, 12, 7), 4, 0.4)
    chosen = np.random.default_rng(seed).integers(0, len(dataset), size=6).tolist()
    windows = [dataset[i] for i in chosen]
    batch = collate(windows, dataset)
    context = batch.context
    assert len(batch) == 6
    assert batch.positions.shape[2] == max(window.positions.shape[1] for window in windows)
    assert (batch.positions.transpose(1, 2)[~context.atom_mask] == 0).all()
    for row, window in enumerate(windows):
        of_set = dataset.collection[window.number]
        kept = batch.positions[row][:, context.atom_mask[row]]
        np.testing.assert_array_equal(kept, window.positions)
        np.testing.assert_array_equal(batch.context.key_frames[row, 0, context.atom_mask[row]], window.positions[0])
        assert context.rows(torch.tensor([row])).molecules == (of_set.molecule,)
        types = residue_types(of_set.molecule)
        assert context.residue_types[row][context.token_mask[row]].tolist() == types.tolist()
        assert context.token_mask[row].sum() == len(types)
        assert context.temperature_K[row] == of_set.temperature_K
    # padding stands at the end
    for mask in (context.atom_mask, context.token_mask):
        assert (mask.int().diff(dim=1) <= 0).all()
    assert context.frame_spacing_ps.tolist() == pytest.approx([0.4] * 6)


def test_one_molecule_stands_once() -> None:
    dataset = WindowDataset(collection(3, 3), 4)
    batch = collate([dataset[0], dataset[len(dataset) - 1]], dataset)
    assert batch.context.molecules == (argon(3),)
    assert batch.context.temperature_K.tolist() == [300.0, 310.0]
    assert batch.context.atom_mask.all()


def test_a_temperature_that_is_missing_is_missing_in_every_batch() -> None:
    dataset = WindowDataset(collection(3, 3, temperatures=(300.0, None)), 4)
    assert collate([dataset[0]], dataset).context.temperature_K is None


def test_a_batch_moves_and_divides_as_a_whole() -> None:
    dataset = WindowDataset(collection(3, 5), 2)
    batch = collate([dataset[0], dataset[len(dataset) - 1]], dataset)
    second = batch.rows(torch.tensor([1]))
    assert second.context.molecules == (argon(5),)
    assert torch.equal(second.positions[0], batch.positions[1])
    assert second.context.temperature_K.tolist() == [310.0]
    moved = batch.to("meta")
    assert moved.positions.device == moved.context.atom_mask.device == moved.context.key_frames.device
    assert moved.positions.device.type == "meta"
