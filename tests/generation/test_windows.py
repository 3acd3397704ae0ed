"""Chained windows give the law of one window, and what is known exactly."""

import numpy as np
import pytest
import torch

from mdgen.data.conditions import both_ends, every_kth, first_frame, tokens
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.generation import stream
from mdgen.generation.simulator import LatentSimulator
from mdgen.generation.stream import STRETCH_BYTES, most_doublings
from mdgen.generation.tasks import Rollout
from mdgen.generation.windows import Windows
from mdgen.interfaces import Condition
from tests.generation.toys import DECAY, LATENT, Atoms, GaussianProcess, RandomWalk, RefiningProcess, law

N = 13
KNOWN = torch.randn(1, N, LATENT.tokens, LATENT.channels, generator=torch.Generator().manual_seed(0))


def four_conditions(rows: int = 1) -> dict[str, Condition]:
    known = KNOWN.expand(rows, -1, -1, -1)
    return {
        "rollout": first_frame(known[:, 0], N),
        "interpolate": both_ends(known[:, 0], known[:, 1], N),
        "upsample": every_kth(known[:, :5], 3),
        "inpaint": tokens(known, [1]),
    }


def sample(condition, window, seed=1):
    process = GaussianProcess(window)
    simulator = LatentSimulator(Atoms(), process, Atoms())
    return simulator.sample(condition, torch.Generator().manual_seed(seed)), process


LONG_ENOUGH = [(task, window) for task in ("rollout", "upsample", "inpaint") for window in (4, 7, N, 40)]


@pytest.mark.parametrize(("task", "window"), [*LONG_ENOUGH, ("interpolate", N), ("interpolate", 40)])
def test_every_condition_is_met_exactly_and_every_window_gives_the_exact_law(task, window):
    condition = four_conditions(20_000)[task]
    made, _ = sample(condition, window)
    assert made.shape == condition.values.shape
    assert torch.equal(made[condition.known], condition.values[condition.known])
    mean, spread, lack = law(condition)
    drawn = made.movedim(-1, 1).flatten(0, 1).flatten(1)[:, lack].double() - mean
    # 60,000 rows: a mean is known to 0.004, a covariance to 0.006 and less.
    assert float(drawn.mean(0).abs().max()) < 0.02
    assert float((torch.cov(drawn.T) - spread).abs().max()) < 0.03


def test_the_junction_is_there_once_and_joins_as_any_two_frames():
    made, process = sample(four_conditions(20_000)["rollout"], 4)
    assert [condition.values.shape[1] for condition in process.conditions] == [4, 4, 4, 4]
    for number, condition in enumerate(process.conditions):
        first = condition.known[:, 0]
        assert first.all()
        assert not condition.known[:, 1:].any()
        assert torch.equal(condition.values[:, 0], made[:, 3 * number])
    now, following = made[:, :-1].double(), made[:, 1:].double()
    innovations = (following - DECAY * now).square().mean((0, 2, 3))
    torch.testing.assert_close(innovations, torch.full_like(innovations, 1 - DECAY**2), atol=0.015, rtol=0)


@pytest.mark.parametrize(
    ("known", "window", "stops"),
    [
        ([0], 5, [5, 9, 13]),
        ([0], 13, [13]),
        ([0], 100, [13]),
        ([], 5, [5, 9, 13]),
        ([0, 12], 13, [13]),
        ([0, 3, 6, 9, 12], 8, [7, 13]),
        ([0, 3, 6, 9, 12], 4, [4, 7, 10, 13]),
        ([0, 4], 6, [5, 10, 13]),
        (list(range(13)), 5, [5, 9, 13]),
    ],
)
def test_a_window_ends_on_the_last_known_frame_within_reach(known, window, stops):
    frames = np.isin(np.arange(13), known)
    windows, done, found = Windows(frames, window), 0, []
    while done < 13:
        done = windows.next_stop(done)
        found.append(done)
    assert found == stops
    assert windows.block_stop(0, 1) == stops[0]
    assert windows.block_stop(0, 13) == 13
    # A part that ends with a window has the windows of the whole.
    assert [Windows(frames[:stop], window).next_stop(0) for stop in stops] == [stops[0]] * len(stops)


REFUSED = [
    ("interpolate", GaussianProcess(7), "frames 0 and 12 are 12 frames apart .* at most 7 frames at once.* 6 apart"),
    ("upsample", GaussianProcess(3), "frames 0 and 3 are 3 frames apart .* GaussianProcess makes at most 3 frames"),
    ("interpolate", RandomWalk(), "RandomWalk makes each frame from the one before"),
    ("upsample", RandomWalk(), "simulates forward from a known first frame only"),
    ("inpaint", RandomWalk(), "need a propagator that makes several frames at once"),
]


@pytest.mark.parametrize(("task", "propagator", "sentence"), REFUSED)
def test_a_condition_out_of_reach_is_refused(task, propagator, sentence):
    simulator = LatentSimulator(Atoms(), propagator, Atoms())
    with pytest.raises(MdgenError, match=sentence) as error:
        simulator.sample(four_conditions()[task], torch.Generator())
    assert "\n" not in str(error.value)


def test_a_known_frame_that_follows_unknown_ones_out_of_reach_is_refused_too():
    condition = four_conditions()["rollout"]
    late = torch.zeros_like(condition.known)
    late[:, 9] = True
    with pytest.raises(MdgenError, match="frames 0 and 9 are 9 frames apart"):
        sample(Condition(KNOWN, late), 9)
    made, _ = sample(Condition(KNOWN, late), 10)
    assert torch.equal(made[:, 9], KNOWN[:, 9])


def test_a_condition_of_another_latent_is_refused():
    condition = Condition(torch.zeros(1, 4, 2, 5), torch.ones(1, 4, 2, 5, dtype=torch.bool))
    with pytest.raises(MdgenError, match=r"shape \(1, 4, 2, 5\); give .* with 2 tokens of 3 channels"):
        sample(condition, 9)


def test_a_propagator_that_misses_a_known_value_or_a_frame_does_no_harm_unseen(monkeypatch):
    process = GaussianProcess(7)
    simulator = LatentSimulator(Atoms(), process, Atoms())
    condition = four_conditions()["upsample"]
    monkeypatch.setattr(process, "sample", lambda condition, context, generator: torch.full((1, 7, 2, 3), 5.0))
    made = simulator.sample(condition, torch.Generator())
    assert torch.equal(made, torch.where(condition.known, condition.values, 5.0))
    monkeypatch.setattr(process, "sample", lambda condition, context, generator: torch.zeros(1, 6, 2, 3))
    with pytest.raises(MdgenError, match=r"returned a latent of shape \(1, 6, 2, 3\) for a condition of shape \(1, 7"):
        simulator.sample(condition, torch.Generator())


def test_a_block_of_a_markov_propagator_ends_on_the_next_known_frame():
    windows = Windows(np.isin(np.arange(13), [0, 4, 8]), None)
    assert [windows.block_stop(done, 2) for done in (0, 3, 5, 8, 9, 12)] == [5, 5, 9, 10, 11, 13]


def test_a_long_rollout_of_many_trajectories_is_looked_through_at_once():
    condition = first_frame(torch.zeros(1000, 1, 3), 10**6)  # 12 GB if written out
    assert Windows.of(condition, RandomWalk()).block_stop(5, 100) == 105
    assert Windows.of(condition, GaussianProcess(50)).block_stop(0, 99) == 99


COARSE_TO_FINE = {
    "rollout": (first_frame(KNOWN[:, 0], N), [8, 4, 2, 1]),
    "interpolate": (both_ends(KNOWN[:, 0], KNOWN[:, 1], N), [4, 2, 1]),
    "upsample": (every_kth(KNOWN[:, :3], 6), [2, 1]),
    "upsample by two": (every_kth(KNOWN[:, :7], 2), [1]),  # nothing is left to make at twice the spacing
    "upsample by four": (every_kth(KNOWN[:, :4], 4), [2, 1]),
    "odd upsample": (every_kth(KNOWN[:, :5], 3), [1]),
    "inpaint": (tokens(KNOWN, [1]), [1]),
}


def refined(condition, window, widest_ps=9.0):
    process = RefiningProcess(window, spacing_ps=(1.0, widest_ps))
    made = LatentSimulator(Atoms(), process, Atoms()).sample(condition, torch.Generator().manual_seed(1))
    assert torch.equal(made[condition.known], condition.values[condition.known])
    return made, process


def assert_law(condition, made):
    mean, spread, lack = law(condition)
    drawn = made.movedim(-1, 1).flatten(0, 1).flatten(1)[:, lack].double() - mean
    # 60,000 rows: a mean is known to 0.004, a covariance to 0.006 and less.
    assert float(drawn.mean(0).abs().max()) < 0.02
    assert float((torch.cov(drawn.T) - spread).abs().max()) < 0.03


@pytest.mark.parametrize("task", COARSE_TO_FINE)
@pytest.mark.parametrize("window", [4, 5, 8])
def test_coarse_frames_are_made_first_and_the_law_is_that_of_all_at_once(task, window):
    one, spacings = COARSE_TO_FINE[task]
    condition = Condition(*(each.expand(20_000, -1, -1, -1) for each in (one.values, one.known)))
    made, process = refined(condition, window)
    asked = [float(context.frame_spacing_ps[0]) for context in process.contexts]
    assert list(dict.fromkeys(asked)) == spacings
    if task in ("rollout", "interpolate"):
        for spacing, each in zip(asked, process.conditions, strict=True):
            assert bool(each.known[:, ::2].all()) == (spacing < max(spacings))
    assert_law(condition, made)


@pytest.mark.parametrize("window", [3, 4, 5])
def test_refined_windows_join_as_any_two_frames(window):
    known = KNOWN[:, 0].expand(20_000, -1, -1)
    made, process = refined(first_frame(known, N), window, widest_ps=2.0)
    starts = sum(float(context.frame_spacing_ps[0]) == 2.0 for context in process.contexts)
    assert starts == {3: 3, 4: 3, 5: 2}[window]  # stretches of 5, 5 and 9 frames
    assert_law(first_frame(known, N), made)


def test_every_level_is_sampled_at_once():
    _, process = refined(first_frame(KNOWN[:, 0], 33), 5)
    assert [len(each.values) for each in process.conditions] == [1, 2, 4, 8]
    assert [each.values.shape[1] for each in process.conditions] == [5, 5, 5, 5]


def test_what_is_known_is_not_written_into():
    condition = first_frame(KNOWN[:, 0], 33)
    _, process = refined(condition, 5)
    assert not process.conditions[0].known[:, 1:].any()
    assert not condition.known[:, 1:].any()


def test_a_window_of_two_frames_is_not_refined():
    made, process = refined(first_frame(KNOWN[:, 0], N), 2)
    assert made.shape[1] == N
    assert {float(context.frame_spacing_ps[0]) for context in process.contexts} == {1.0}


def test_filling_in_reaches_further_than_a_window():
    ends = both_ends(KNOWN[:, 0], KNOWN[:, 1], N)
    simulator = LatentSimulator(Atoms(), RefiningProcess(4, spacing_ps=(1.0, 9.0)), Atoms())
    assert simulator.sample(ends, torch.Generator()).shape == ends.values.shape
    with pytest.raises(
        MdgenError, match=r"frames 0 and 11 are 11 .* makes at most 4 .* a multiple of 2, 4 or 8 frames"
    ):
        simulator.sample(both_ends(KNOWN[:, 0], KNOWN[:, 1], N - 1), torch.Generator())
    simulator.propagator.upsamples = False
    with pytest.raises(MdgenError, match=r"frames 0 and 12 are 12 frames apart .* makes at most 4 frames .* 3 apart$"):
        simulator.sample(ends, torch.Generator())


@pytest.mark.parametrize(("n_frames", "known", "spacing", "doublings"), [
    (100, [0], 1.0, 3), (100, [0], 1.2, 2), (100, [0], 5.0, 0), (100, [0, 96], 1.0, 3), (100, [0, 98], 1.0, 1),
    (100, [0, 99], 1.0, 0), (100, [], 1.0, 3), (100, [4, 12], 1.0, 2),
])  # fmt: skip
def test_frames_are_left_out_as_often_as_known_ones_and_the_training_allow(n_frames, known, spacing, doublings):
    mask = torch.zeros(1, n_frames, 2, 3, dtype=torch.bool)
    mask[:, known] = True
    condition, process = Condition(torch.zeros(mask.shape), mask), RefiningProcess(100, (1.0, 9.0))
    windows = Windows.of(condition, process, spacing)
    assert (windows.doublings, windows.longest) == (doublings, 99 * 2**doublings + 1)
    assert Windows.of(condition, process, spacing, 1).doublings == min(1, doublings)


def test_a_window_with_all_that_is_filled_in_fits_into_memory():
    assert most_doublings(64, 22, 48) == 6
    n, atoms, window = 1000, 22, 100
    most = most_doublings(n, atoms, window)
    assert 12 * n * atoms * (window << most) <= STRETCH_BYTES < 12 * n * atoms * (window << (most + 1))
    assert most_doublings(10**6, 10**4, 100) == 0


def test_blocks_of_a_refined_rollout_are_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(stream, "BLOCK_BYTES", 12 * 2 * 2 * 20)  # 20 frames
    simulator = LatentSimulator(Atoms(), RefiningProcess(4, spacing_ps=(1.0, 9.0)), Atoms())
    task = Rollout(KNOWN[0, :2], 60)
    whole = np.stack([each.xyz for each in simulator.generate(task, 2, seed=3)])
    assert whole.shape == (2, 60, 2, 3)
    assert len({float(context.frame_spacing_ps[0]) for context in simulator.propagator.contexts}) == 4
    store = simulator.generate_to_store(tmp_path / "store", task, n_trajectories=2, seed=3)
    np.testing.assert_array_equal(store.positions(0), whole[0])
    # Interrupted after its first block, and resumed.
    append = TrajectoryStore.append
    calls = []

    def once(self, positions):
        if calls:
            raise KeyboardInterrupt
        calls.append(len(positions))
        append(self, positions)

    monkeypatch.setattr(TrajectoryStore, "append", once)
    with pytest.raises(KeyboardInterrupt):
        simulator.generate_to_store(tmp_path / "again", task, n_trajectories=2, seed=3)
    monkeypatch.setattr(TrajectoryStore, "append", append)
    resumed = simulator.generate_to_store(tmp_path / "again", task, n_trajectories=2, seed=3)
    np.testing.assert_array_equal(resumed.positions(1), whole[1])
