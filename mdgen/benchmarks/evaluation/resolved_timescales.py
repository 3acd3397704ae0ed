"""True values of a Markov model's timescales: those of the known chain in the states of the model.

An implied timescale is one of the dynamics as the states show it, at the lag. Where the reference saw too little of a
process for states of its own, no interval can speak of it, and the model's second timescale is the chain's third. So
the true values follow from the chain's law and from the share of each of its states that lies in each state of the
model: `C = S^T diag(pi) T^lag S`.
"""

import numpy as np
import torch

from mdgen.benchmarks.evaluation.known_chain import KnownChain
from mdgen.data.trajectories import TrajectorySet
from mdgen.evaluation.baselines.rows import split
from mdgen.evaluation.settings import Settings
from mdgen.evaluation.statistics.markov import leading_eigenvalues, timescales
from mdgen.evaluation.statistics.observables import Observables
from mdgen.evaluation.statistics.slow_coordinates import add_slow_coordinates
from mdgen.geometry.dihedrals import dihedral_angles
from mdgen.molecule.torsions import torsion_atoms

FRAMES_A_STATE = 500
"""Frames from which the shares of a state of the chain are known."""


def timescales_in_states(chain: KnownChain, reference: TrajectorySet, settings: Settings) -> dict[str, float]:
    """`timescale_ps/K` of the chain in the states that an evaluation makes of a reference; empty where it makes none.

    Args:
        chain: law of the reference.
        reference: trajectories that the evaluation was given.
        settings: resolved settings of the evaluation, the lag among them.
    """
    named = list(chain.columns)
    atoms = torsion_atoms([torsion for _, torsion in chain.columns.values()])
    positions = (torch.from_numpy(np.asarray(reference.positions(i))) for i in range(len(reference)))
    angles = np.concatenate([dihedral_angles(each, atoms).numpy() for each in positions])
    data = Observables(tuple(reference.lengths), chain.frame_spacing_ps, {"torsions": angles})

    number = len(chain.states)
    path = np.repeat(np.arange(number), FRAMES_A_STATE)
    sampled = chain.torsions_along(path, np.random.default_rng(settings.seed))
    columns = np.stack([sampled[name] for name in named], axis=1)
    wrapped = ((columns + np.pi) % (2 * np.pi) - np.pi).astype(np.float32)
    probe = Observables((len(path),), chain.frame_spacing_ps, {"torsions": wrapped})

    target, oracle = split(data)
    slow_ones = [i for i, name in enumerate(named) if chain.columns[name][1].kind != "methyl"]
    slow = add_slow_coordinates([target, oracle, probe], slow_ones, settings, (target, oracle))
    if slow.states is None or settings.lag_ps is None:
        return {}
    share = np.zeros((number, slow.states.number))
    np.add.at(share, (path, slow.data[2]["states"]), 1 / FRAMES_A_STATE)
    lag = round(settings.lag_ps / chain.frame_spacing_ps)
    flux = chain.stationary[:, None] * np.linalg.matrix_power(chain.transition_matrix, lag)
    values = leading_eigenvalues((share.T @ flux @ share)[None], settings.n_timescales)[0]
    times = timescales(values, settings.lag_ps)
    return {f"timescale_ps/{mode}": float(time) for mode, time in enumerate(times, start=1) if time > 0}
