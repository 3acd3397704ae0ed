"""Windows are exactly those that counting by hand finds, each within one trajectory and at the spacing asked for."""

import logging

import numpy as np
import pytest

from mdgen.data.collation import add_context, pad_windows
from mdgen.data.collection import TrajectoryCollection
from mdgen.data.sources import ArraySource
from mdgen.data.trajectories import TrajectorySet
from mdgen.data.windows import WindowDataset
from mdgen.errors import MdgenError

from .conftest import argon


def labelled(number: int, lengths: list[int], spacing_ps: float, n_atoms: int = 1) -> TrajectorySet:
    """Frames that say which set, trajectory and time they are."""
    arrays = [
        np.array([[number, t, f] for f in range(n)], np.float32).reshape(n, 1, 3).repeat(n_atoms, 1)
        for t, n in enumerate(lengths)
    ]
    return TrajectorySet.from_arrays(argon(n_atoms), spacing_ps, arrays)


@pytest.mark.parametrize("seed", range(12))
def test_windows_are_those_found_by_hand(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(seed)
    spacings = rng.choice([0.2, 0.4, 0.6], size=3).tolist()
    lengths = [rng.integers(1, 60, size=int(rng.integers(1, 4))).tolist() for _ in spacings]
    lengths[0].append(200)
    frames, every, hop = int(rng.integers(1, 6)), 1.2 * int(rng.integers(1, 3)), 1.2 * int(rng.integers(1, 3))
    sets = [
        labelled(number, each, spacing) for number, (each, spacing) in enumerate(zip(lengths, spacings, strict=True))
    ]
    with caplog.at_level(logging.ERROR):
        dataset = WindowDataset(TrajectoryCollection(sets), frames, every, hop)
    expected = []
    for number, spacing in enumerate(spacings):
        stride = round(every / spacing)
        for trajectory, length in enumerate(lengths[number]):
            for start in range(0, length, round(hop / spacing)):
                times = [start + stride * k for k in range(frames)]
                if times[-1] < length:
                    expected.append([(number, trajectory, time) for time in times])
    found = [[tuple(int(x) for x in frame[0]) for frame in dataset[i].positions] for i in range(len(dataset))]
    assert found == expected
    assert sum(dataset.counts) == len(dataset)
    for i in (0, len(dataset) - 1):
        window = dataset[i]
        assert [window.number, window.trajectory, window.start] == window.positions[0, 0].astype(int).tolist()


def test_windows_of_several_spacings_stand_side_by_side() -> None:
    sets = [labelled(0, [30, 5], 0.2), labelled(1, [12], 0.4)]
    dataset = WindowDataset(TrajectoryCollection(sets), 4, [0.4, 0.8])
    found = [dataset[i] for i in range(len(dataset))]
    for window in found:
        times = window.positions[:, 0, 2] * sets[window.number].frame_spacing_ps
        np.testing.assert_allclose(np.diff(times), dataset.spacings_ps[window.spacing], rtol=1e-5)
    # Frames less the span of a window, at each spacing in turn; the second trajectory is too short for either.
    assert [(w.number, w.spacing) for w in found] == [(0, 0)] * 24 + [(0, 1)] * 18 + [(1, 0)] * 9 + [(1, 1)] * 6
    assert dataset.counts == (42, 15)
    batch = add_context(*pad_windows([found[0], found[-1]]), dataset)
    assert batch.context.frame_spacing_ps.tolist() == pytest.approx([0.4, 0.8])
    with pytest.raises(MdgenError, match="name at least one"):
        WindowDataset(TrajectoryCollection(sets), 4, [])


class Counted(ArraySource):
    """Counts the frames that are read of it."""

    read_frames = 0

    def read(self, start: int, stop: int, stride: int) -> np.ndarray:
        frames = super().read(start, stop, stride)
        self.read_frames += len(frames)
        return frames


def test_nothing_is_read_before_it_is_asked_for() -> None:
    source = Counted("counted", np.zeros((50, 3, 3), np.float32))
    dataset = WindowDataset(TrajectorySet(argon(), 0.2, [source]), 4, 0.4)
    assert (len(dataset), source.read_frames) == (44, 0)
    assert dataset[7].positions.shape == (4, 3, 3)
    assert source.read_frames == 4


def test_mistakes_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    fine, coarse = labelled(0, [20, 3], 0.2), labelled(1, [20], 0.3)
    both = TrajectoryCollection([fine, coarse])
    for arguments, match in [
        ((fine, 0), "at least 1"),
        (
            (fine, 4, 0.3),
            r"a window spacing of 0\.3 ps is no multiple of .* 0\.2 ps; choose 0\.2 or 0\.4",
        ),
        ((fine, 4, 0.2, 0.5), "a hop of 0.5 ps is no multiple"),
        (
            (fine, 12, 0.4),
            r"window of 12 frames 0\.4 ps apart; the longest lasts 3\.8 ps",
        ),
        ((both, 4), r"0\.2 ps apart and those of array 0 0\.3 ps; name the spacing of the windows"),
    ]:
        with pytest.raises(MdgenError, match=match):
            WindowDataset(*arguments)
    assert len(WindowDataset(both, 2, 0.6)) == 17 + 18
    assert "1 of 3 trajectories are too short" in caplog.text
    with pytest.raises(IndexError):
        WindowDataset(fine, 2)[99]
