"""Alanine dipeptide made from names alone, with frames whose torsions have states and whose lengths are correlated."""

import math

import torch

from mdgen.molecule.topology import Molecule
from mdgen.molecule.zmatrix import build_zmatrix
from tests.molecule.conftest import ALANINE, CAP_AFTER, CAP_BEFORE, peptide


def alanine_dipeptide() -> Molecule:
    return peptide(CAP_BEFORE, ALANINE, CAP_AFTER)


def frames(n_frames: int, seed: int = 0) -> torch.Tensor:
    """Positions (frame, 22, 3): phi switches between two states every fifty frames or so, the rest is noise."""
    generator = torch.Generator().manual_seed(seed)
    zmatrix = build_zmatrix(alanine_dipeptide())
    n = len(zmatrix.rows)
    common = torch.randn(n_frames, 1, generator=generator)
    bonds = 0.13 + 0.003 * torch.randn(n_frames, n - 1, generator=generator) + 0.002 * common
    angles = 1.95 + 0.04 * torch.randn(n_frames, n - 2, generator=generator) + 0.02 * common
    dihedrals = torch.empty(n_frames, n - 3)
    switches = (torch.rand(n_frames, generator=generator) < 0.02).cumsum(0) % 2
    children: dict[int, int] = {}
    for column, parent in enumerate(zmatrix.relative_to.tolist()):
        noise = torch.randn(n_frames, generator=generator)
        if parent == -1:
            peptide_bond = column in (9, 11)
            centre = torch.where(switches == 1, 1.2, -1.4) if column == 2 else torch.full((n_frames,), math.pi)
            spread = 0.15 if peptide_bond else 0.3 if column == 2 else 1.5
            dihedrals[:, column] = torch.remainder(centre + spread * noise + math.pi, 2 * math.pi) - math.pi
        else:
            children[parent] = children.get(parent, 0) + 1
            dihedrals[:, column] = children[parent] * 2 * math.pi / 3 + 0.04 * noise
    return zmatrix.to_cartesian(bonds, angles, dihedrals)
