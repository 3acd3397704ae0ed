"""Parts whose law is known exactly: a stationary Gaussian process, on atoms that are their own latent."""

import mdtraj
import torch

from mdgen.errors import MdgenError
from mdgen.interfaces import Condition, LatentSpace
from mdgen.molecule.topology import Molecule

DECAY = 0.7
"""Correlation of neighbouring frames."""

N_ATOMS = 2
CORRELATIONS = torch.tensor([[1.0, 0.6], [0.6, 1.0]])
"""Of the two atoms in one frame, in each direction."""


def argon() -> Molecule:
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for index in range(N_ATOMS):
        topology.add_atom("AR", mdtraj.element.argon, topology.add_residue("AR", chain, resSeq=index + 1))
    return Molecule.from_mdtraj(topology)


MOLECULE = argon()
LATENT = LatentSpace("atoms", N_ATOMS, 3, "", MOLECULE.fingerprint)


def covariance(n_frames: int, decay: float = DECAY) -> torch.Tensor:
    """Of one direction over (frame, atom), flattened."""
    times = torch.arange(n_frames)
    return torch.kron(decay ** (times[:, None] - times).abs(), CORRELATIONS).double()


def law(condition: Condition, decay: float = DECAY) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean (row, unknown) and covariance of the unknown values given the known, rows being trajectories by directions.

    The third is which of (frame, atom) are unknown; every row must know the same.
    """
    known = condition.known.movedim(-1, 1).flatten(0, 1).flatten(1)
    assert (known == known[0]).all()
    values = condition.values.movedim(-1, 1).flatten(0, 1).flatten(1).double()
    whole, have, lack = covariance(condition.values.shape[1], decay), known[0], ~known[0]
    gain = torch.linalg.solve(whole[have][:, have], whole[have][:, lack]).T
    return values[:, have] @ gain.T, whole[lack][:, lack] - gain @ whole[have][:, lack], lack


class Atoms:
    """Encoder and decoder: the latent is the positions."""

    latent = LATENT
    molecule = MOLECULE

    def __init__(self, **metadata):
        self.metadata = metadata
        self.contexts = []

    def encode(self, positions, context):
        self.contexts.append(context)
        return positions

    def decode(self, latent, context, generator):
        self.contexts.append(context)
        return latent


class GaussianProcess:
    """Propagator of up to `window` frames, drawn from the exact law given whatever is known."""

    latent = LATENT

    def __init__(self, window: int, spacing_ps=(2.0, 2.0), **metadata):
        self.window, self.frame_spacing_ps, self.metadata = window, spacing_ps, metadata
        self.conditions, self.contexts = [], []

    def sample(self, condition, context, generator):
        assert condition.values.shape[1] <= self.window
        assert (condition.values[~condition.known] == 0).all()
        self.conditions.append(condition)
        self.contexts.append(context)
        mean, spread, lack = law(condition, self.decay(context))
        if not lack.any():
            return condition.values
        factor = torch.linalg.cholesky(spread)
        rows = condition.values.movedim(-1, 1).clone()
        drawn = mean + torch.randn(mean.shape, generator=generator, dtype=torch.double) @ factor.T
        flat = rows.flatten(0, 1).flatten(1)
        flat[:, lack] = drawn.float()
        return flat.view(rows.shape).movedim(1, -1)

    def decay(self, context) -> float:
        """Correlation of neighbouring frames."""
        return DECAY


class RefiningProcess(GaussianProcess):
    """The same process at many spacings, whose frames are known to make more between known ones."""

    upsamples = True

    def decay(self, context) -> float:
        """That of frames `context.frame_spacing_ps` apart, where `DECAY` is over the least."""
        return DECAY ** (float(context.frame_spacing_ps[0]) / self.frame_spacing_ps[0])


class RandomWalk:
    """Markov propagator of whole numbers, exactly the same on every machine."""

    latent = LATENT
    window = 1
    frame_spacing_ps = (2.0, 2.0)
    starts = torch.arange(24.0).view(4, N_ATOMS, 3)

    def sample(self, condition, context, generator):
        if condition.known[:, 1:].any():
            raise MdgenError("forward only")
        steps = torch.randint(-3, 4, condition.values.shape, generator=generator).float()
        steps[:, 0] = condition.values[:, 0]
        return steps.cumsum(1)
