"""Temperature and frame spacing travel from the training to what is generated, and a mismatch is refused."""

import numpy as np
import pytest

from mdgen.errors import MdgenError
from mdgen.generation.simulator import LatentSimulator
from mdgen.generation.tasks import Rollout
from tests.generation.toys import Atoms, GaussianProcess

START = np.zeros((1, 2, 3), np.float32)


def composed(encoder=None, propagator=None, decoder=None, spacing_ps=(2.0, 2.0)):
    """Parts that were trained at these temperatures."""
    encoder, decoder = (Atoms() if each is None else Atoms(temperature_K=each) for each in (encoder, decoder))
    metadata = {} if propagator is None else {"temperature_K": propagator}
    return LatentSimulator(encoder, GaussianProcess(5, spacing_ps, **metadata), decoder)


@pytest.mark.parametrize(
    ("trained", "asked", "expected"),
    [
        ((None, None, None), None, None),
        ((300.0, 300.0, 300.0), None, 300.0),
        ((300.0, 300.0, 300.0), 300.0, 300.0),
        ((None, 300.0, None), 300.001, 300.0),
        ((300.0, [280, 350], 300.0), None, 300.0),
        (([290, 400], [280, 350], None), 310.0, 310.0),
    ],
)
def test_what_is_generated_carries_its_temperature(trained, asked, expected, tmp_path):
    simulator = composed(*trained)
    store = simulator.generate_to_store(tmp_path / "run", Rollout(START, 7), {"more": 1}, temperature_K=asked)
    assert store.metadata == {"more": 1} | ({} if expected is None else {"temperature_K": expected})
    (context, *_) = simulator.propagator.contexts
    assert (None if context.temperature_K is None else float(context.temperature_K)) == expected
    if asked is None:
        assert simulator.temperature_K == expected


@pytest.mark.parametrize(
    ("trained", "sentence"),
    [
        (
            (300.0, 350.0, 300.0),
            "the propagator was trained at 350 K and the encoder at 300 K; compose parts that were",
        ),
        ((300.0, None, 310.0), "the decoder was trained at 310 K and the encoder at 300 K"),
        (([280, 290], 300.0, None), "the propagator was trained at 300 K and the encoder at 280 to 290 K"),
    ],
)
def test_parts_of_different_temperatures_are_refused(trained, sentence):
    with pytest.raises(MdgenError, match=sentence):
        composed(*trained)


@pytest.mark.parametrize(
    ("trained", "spacing_ps", "asked", "sentence"),
    [
        (300.0, (2.0, 2.0), {"temperature_K": 350.0}, "temperature_K=350 was asked for, .* trained at 300 K; ask for"),
        ([280, 350], (2.0, 2.0), {"temperature_K": 360.0}, "temperature_K=360 .* trained at 280 to 350 K"),
        ([280, 350], (2.0, 2.0), {}, "the parts were trained at 280 to 350 K; say at which temperature_K"),
        (None, (2.0, 2.0), {"temperature_K": -300.0}, "temperature_K is -300.0; it must be a positive number"),
        (300.0, (2.0, 2.0), {"temperature_K": float("nan")}, "temperature_K=nan"),
        (300.0, (2.0, 2.0), {"frame_spacing_ps": 1.0}, "frame_spacing_ps=1 .* propagator was trained at 2 ps"),
        (300.0, (2.0, 8.0), {"frame_spacing_ps": 9.0}, "frame_spacing_ps=9 .* propagator was trained at 2 to 8 ps"),
    ],
)
def test_conditions_that_no_part_was_trained_for_are_refused(trained, spacing_ps, asked, sentence, tmp_path):
    simulator = composed(propagator=trained, spacing_ps=spacing_ps)
    with pytest.raises(MdgenError, match=sentence) as error:
        simulator.generate_to_store(tmp_path / "run", Rollout(START, 7), **asked)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_a_temperature_that_parts_do_not_say_may_be_told(tmp_path):
    store = composed().generate_to_store(tmp_path / "run", Rollout(START, 7), temperature_K=310.0)
    assert store.temperatures_K == (310.0,)


def test_frame_spacing_is_the_propagators_and_reaches_time_and_store(tmp_path):
    assert composed().frame_spacing_ps == 2.0
    simulator = composed(spacing_ps=(2.0, 8.0))
    assert simulator.rollout(START, 3)[0].time.tolist() == [0, 2, 4]
    assert simulator.rollout(START, 3, frame_spacing_ps=5.0)[0].time.tolist() == [0, 5, 10]
    assert (
        simulator.generate_to_store(tmp_path / "run", Rollout(START, 7), frame_spacing_ps=8.0).frame_spacing_ps == 8.0
    )


def test_a_simulator_says_what_it_is():
    shown = str(composed(300.0, 300.0, 300.0))
    for word in ("Molecule(AR-AR, 2 atoms", "GaussianProcess, at most 5 frames at once, 2 ps apart", "300 K", "Atoms"):
        assert word in shown
    assert "2 to 8 ps apart" in str(composed(propagator=[280, 350], spacing_ps=(2.0, 8.0)))
    assert "280 to 350 K" in str(composed(propagator=[280, 350]))
    assert "not known" in str(composed())
