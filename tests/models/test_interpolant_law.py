"""A propagator of windows learns a law with a known answer: two independent Ornstein-Uhlenbeck processes."""

import functools

import numpy as np
import pytest
import torch

from mdgen.data.conditions import both_ends, first_frame
from mdgen.data.trajectories import TrajectorySet
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.propagators.interpolant_propagator import InterpolantPropagator
from mdgen.training.settings import settings_for
from mdgen.training.train import train
from tests.data.conftest import argon
from tests.models.parts import seeded

DECAY = np.array([0.9, 0.6])
"""Autocorrelation of each channel after one frame."""
MEAN, SPREAD = np.array([1.0, -2.0]), np.array([0.5, 2.0])
WINDOW = 12


class FirstAtom:
    """Encoder into x and y of the first atom."""

    latent = LatentSpace("toy", 1, 2)

    def encode(self, positions, context):
        return positions[..., :1, :2]


@functools.cache
def processes(n_trajectories=8, n_frames=600, seed=0):
    """Trajectories of two atoms, of which the first does two Ornstein-Uhlenbeck processes."""
    random = np.random.default_rng(seed)
    noise = random.normal(size=(n_frames, n_trajectories, 2))
    x = noise.copy()
    for frame in range(1, n_frames):
        x[frame] = DECAY * x[frame - 1] + np.sqrt(1 - DECAY**2) * noise[frame]
    positions = np.zeros((n_trajectories, n_frames, 2, 3), dtype=np.float32)
    positions[:, :, 0, :2] = (MEAN + SPREAD * x).transpose(1, 0, 2)
    return TrajectorySet.from_arrays(argon(2), 1.0, list(positions))


@functools.cache
def learnt(**changed):
    part = InterpolantPropagator(FirstAtom.latent, WINDOW, [1.0, 2.0], width=32, heads=2, blocks=2, **changed)
    settings = settings_for(
        part,
        optimizer=functools.partial(torch.optim.AdamW, lr=2e-3),
        batch_size=128,
        max_epochs=12,
        validation_share=0.0,
        average_decay=0.99,
    )
    metrics = train(part, processes(), settings, FirstAtom())
    return part, metrics
