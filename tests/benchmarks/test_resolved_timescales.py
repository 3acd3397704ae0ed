"""The true timescales that intervals are held to: those of the chain, as far as the states of a model show them."""

import dataclasses

import numpy as np

from mdgen.benchmarks.evaluation.known_chain import KnownChain
from mdgen.benchmarks.evaluation.resolved_timescales import timescales_in_states
from mdgen.evaluation.settings import Settings

CHAIN = KnownChain("ace_ala_nme")
SETTINGS = Settings(lag_ps=5.0, tica_lag_ps=5.0, n_states=40)


def test_where_the_states_resolve_every_well_the_timescales_are_those_of_the_chain() -> None:
    reference = CHAIN.trajectories(CHAIN.draw(4, 2_500, np.random.default_rng(0)))
    found = timescales_in_states(CHAIN, reference, SETTINGS)
    # Discretising only shortens them: the variational principle.
    for mode, (exact, share) in enumerate(zip(CHAIN.timescales_ps, (0.97, 0.8), strict=False), start=1):
        assert share * exact < found[f"timescale_ps/{mode}"] < exact * (1 + 1e-6)


def test_a_well_that_the_reference_never_visits_is_no_state_of_its_own() -> None:
    """Without the slow basin the second process of the chain is the slowest that is left to see."""
    rare = dataclasses.replace(CHAIN, offsets={"alphaL ALA2": 12.0})
    reference = rare.trajectories(rare.draw(4, 2_500, np.random.default_rng(1)))
    found = timescales_in_states(CHAIN, reference, SETTINGS)
    assert found["timescale_ps/1"] < 0.5 * CHAIN.timescales_ps[0]
