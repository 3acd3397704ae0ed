"""Every encoder, propagator and decoder that there is, and how each is made and trained in a second."""

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from mdgen.data.trajectories import TrajectorySet
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.batches import PairBatch
from mdgen.models.decoders import coherence
from mdgen.models.decoders.cwgan import CWGAN
from mdgen.models.decoders.nearest_frame import NearestFrame
from mdgen.models.decoders.neighbour_flow import NeighbourFlow
from mdgen.models.decoders.se3_token_decoder import SE3TokenDecoder
from mdgen.models.encoders.se3_token_encoder import SE3TokenEncoder
from mdgen.models.encoders.srv import SRV
from mdgen.models.encoders.tica import TICA
from mdgen.models.propagators import filter_fitting
from mdgen.models.propagators.interpolant_propagator import InterpolantPropagator
from mdgen.models.propagators.latent_flow import LatentFlow
from mdgen.models.propagators.markov_state_model import MarkovStateModel
from mdgen.models.propagators.mdn import MDN
from mdgen.molecule.features import TorsionDistanceFeatures
from mdgen.training.pair_batches import pairs_of
from mdgen.training.settings import settings_for
from mdgen.training.train import train
from tests.models.structures import alanine_dipeptide, frames

sys.path.insert(0, str(Path(__file__).parents[1] / "plugins"))
from toy_parts.toy_decoder import LinearDecoder
from toy_parts.toy_encoder import ChainShape
from toy_parts.toy_propagator import OrnsteinUhlenbeck, WindowFiller

MOLECULE = alanine_dipeptide()
FEATURES = TorsionDistanceFeatures(MOLECULE, distances="none")
LAG_PS = 1.0
LATENT = LatentSpace("slow_modes", 1, 2, "an encoder")

ENCODERS: dict[str, Callable[[], Any]] = {
    "SRV": lambda: SRV(FEATURES, LAG_PS, n_modes=2, hidden=[8]),
    "TICA": lambda: TICA(FEATURES, LAG_PS, n_modes=2),
    "ChainShape": ChainShape,
    "SE3TokenEncoder": SE3TokenEncoder,
}
PROPAGATORS: dict[str, Callable[[LatentSpace], Any]] = {
    "MDN": lambda latent: MDN(latent, LAG_PS, n_components=4, hidden=[16]),
    "LatentFlow": lambda latent: LatentFlow(latent, LAG_PS, hidden=[16], n_steps=2),
    "MarkovStateModel": lambda latent: MarkovStateModel(latent, LAG_PS, n_states=10),
    "InterpolantPropagator": lambda latent: InterpolantPropagator(
        latent, [LAG_PS, LAG_PS], 6, width=16, heads=2, blocks=1
    ),
    "OrnsteinUhlenbeck": lambda latent: OrnsteinUhlenbeck(latent, LAG_PS),
    "WindowFiller": lambda latent: WindowFiller(latent, LAG_PS),
}
_GAN: dict[str, Any] = {"noise_channels": 4, "hidden": [16, 16], "ratio_steps": 3, "critic_steps": 2}
DECODERS: dict[str, Callable[[LatentSpace], Any]] = {
    "CWGAN internal": lambda latent: CWGAN(latent, "internal", **_GAN),
    "CWGAN cartesian": lambda latent: CWGAN(latent, "cartesian", **_GAN),
    "NearestFrame": lambda latent: NearestFrame(latent, MOLECULE, n_frames=300),
    "NearestFrame with memory": lambda latent: NearestFrame(latent, MOLECULE, n_frames=300, coherent_modes=3),
    "NeighbourFlow": lambda latent: NeighbourFlow(latent, n_library=300, width=16, heads=2, blocks=1),
    "NeighbourFlow with memory": lambda latent: NeighbourFlow(
        latent, n_library=300, width=16, heads=2, blocks=1, coherent_modes=3
    ),
    "LinearDecoder": lambda latent: LinearDecoder(latent, MOLECULE),
    "SE3TokenDecoder": lambda latent: SE3TokenDecoder(),
}
WITH_KEY_FRAMES = ("SE3TokenEncoder", "SE3TokenDecoder")
"""Parts that read the molecule and its key frame from the context, belong to no one molecule and learn nothing."""


@functools.cache
def trajectories() -> TrajectorySet:
    """Five short trajectories of alanine dipeptide."""
    return TrajectorySet.from_arrays(MOLECULE, 0.5, [frames(300, seed).numpy() for seed in range(5)])


def trained(part: Any, encoder: Any = None, **settings: Any) -> Any:
    """The part after a short training, with one round of a rejection filter's fit."""
    short = {"n_steps": 10, "batch_size": 32} if part.learns_from == "frames" else {"max_epochs": 2}
    # memory of frames that have none is made of what looks like some
    with patch.object(filter_fitting, "FILTER_ROUNDS", 1), patch.object(coherence, "LEAST_CORRELATION", 0.0):
        train(part, trajectories(), settings_for(part, **{**short, **settings}), encoder)
    return part


@functools.cache
def trained_encoder(name: str) -> Any:
    """An encoder, trained once."""
    return trained(ENCODERS[name]())


@functools.cache
def trained_propagator(name: str) -> Any:
    """A propagator for TICA's latent, trained once."""
    return trained(PROPAGATORS[name](trained_encoder("TICA").latent), trained_encoder("TICA"))


@functools.cache
def trained_decoder(name: str) -> Any:
    """A decoder for TICA's latent, trained once; of tokens, as it is made."""
    if name in WITH_KEY_FRAMES:
        return DECODERS[name](LATENT).eval()
    return trained(DECODERS[name](trained_encoder("TICA").latent), trained_encoder("TICA"))


def least_context(name: str, n: int) -> Context:
    """The context with no more than a part must have."""
    if name not in WITH_KEY_FRAMES:
        return Context()
    return Context((MOLECULE,), key_frames=frames(1, seed=4)[None].expand(n, -1, -1, -1))


def contexts(n: int) -> dict[str, Context]:
    """A context that says nothing, and one that says all."""
    full = Context(
        (MOLECULE,),
        torch.full((n,), 300.0),
        torch.full((n,), LAG_PS),
        torch.zeros(n, 1, dtype=torch.int64),
        torch.ones(n, 1, dtype=torch.bool),
        torch.ones(n, MOLECULE.n_atoms, dtype=torch.bool),
        torch.zeros(n, 1, MOLECULE.n_atoms, 3),
    )
    return {"empty": Context(), "full": full}


def seeded(seed: int = 0) -> torch.Generator:
    """A random stream."""
    return torch.Generator().manual_seed(seed)


EXIT, ENTRY = 0.02, 0.002
"""Chances a frame to leave the rare well of `two_wells`, and to enter it."""


def two_wells(n_frames: int = 50_000, exit_chance: float = EXIT, entry_chance: float = ENTRY) -> torch.Tensor:
    """A narrow common well and a rare far one, with an empty gap between them; jumps at known rates."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(n_frames, generator=generator)
    rare, states = False, []
    for draw in draws.tolist():
        rare = draw >= exit_chance if rare else draw < entry_chance
        states.append(rare)
    state = torch.tensor(states)
    noise = torch.randn(n_frames, generator=generator)
    return torch.where(state, 6.5 + 0.2 * noise, -0.15 + 0.03 * noise)[:, None]


def leaky(latents: torch.Tensor, equalising: bool) -> MDN:
    """A mixture hardly trained, which knows roughly where the wells are and jumps as it likes."""
    generator = torch.Generator().manual_seed(1)
    model = MDN(LatentSpace("slow_modes", 1, 1), 1.0, 8, [16, 16], density_equalising=equalising)
    model.initialise(generator)
    model.fit_scale(latents, generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    pairs = pairs_of([latents], 1)
    for _ in range(100):
        rows = torch.randint(len(pairs.now), (1000,), generator=generator)
        optimizer.zero_grad()
        model.loss(PairBatch(pairs.frames, pairs.now[rows], pairs.later[rows])).total.backward()
        optimizer.step()
    return model
