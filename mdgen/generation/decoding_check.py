"""What decoding does to latents, and how new its structures are: figures of every generation of slow modes."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.geometry.dihedrals import bond_lengths
from mdgen.interfaces import Context, Decoder, Encoder
from mdgen.molecule.features import distance_pairs
from mdgen.molecule.topology import Molecule

FRAMES_A_BLOCK = 500
"""Frames of each block that are looked at, spread evenly."""

PAIRS = 128
"""Distances between heavy atoms by which structures are compared, at most."""


@dataclass
class DecodingCheck:
    """Running figures over the blocks of a generation.

    The re-encoding error is that of decoded structures, encoded again, against the latents that they were decoded from,
    in standard deviations of these. Where the decoder keeps a library of training frames, a structure's distance from
    the nearest of them tells new structures from copies, and latents that no frame of the library is near are outside
    of the training data's support.

    Args:
        encoder: encoder of the latent.
        decoder: decoder that is looked at.
        molecule: molecule that it places.
    """

    encoder: Encoder
    decoder: Decoder
    molecule: Molecule
    _sums: dict[str, Tensor] = field(default_factory=dict)
    _frames: int = 0
    _library: Tensor | None = None

    @torch.no_grad()
    def add(
        self,
        latent: Float[Tensor, "batch frame token channel"],
        positions: Float[Tensor, "batch frame atom 3"],
        context: Context,
    ) -> None:
        """Look at some frames of a block."""
        if not self.encoder.latent.tokens:  # tokens of residues: their decoder learns nothing
            return
        flat, atoms = latent.flatten(0, 1), positions.flatten(0, 1)
        chosen = torch.linspace(0, len(flat) - 1, min(FRAMES_A_BLOCK, len(flat)), device=flat.device).long()
        rows = context.rows(chosen // latent.shape[1])
        asked, atoms = flat[chosen].flatten(1).double(), atoms[chosen]
        found = self.encoder.encode(atoms, rows).flatten(1)
        figures = {"error": (found - asked).square(), "square": asked.square(), "mean": asked}
        if hasattr(self.decoder, "neighbours"):
            figures["outside"] = self.decoder.neighbours.outside(flat[chosen].flatten(1))[:, None].double()
            figures["distance"] = self._nearest(atoms)[:, None].double()
        for name, values in figures.items():
            self._sums[name] = self._sums.get(name, 0) + values.sum(0)
        self._frames += len(chosen)

    def figures(self) -> dict[str, Any]:
        """`n_frames_checked`, of the last session where a run was resumed; `reencoding_error` of every channel;
        `nearest_library_nm`, the mean root-mean-square difference of distances between heavy atoms, and
        `outside_support_share`, where the decoder has a library.
        """
        if not self._frames:
            return {}
        mean = {name: total / self._frames for name, total in self._sums.items()}
        variance = (mean["square"] - mean["mean"].square()).clamp(min=1e-12)
        found: dict[str, Any] = {
            "n_frames_checked": self._frames,
            "reencoding_error": (mean["error"] / variance).sqrt().tolist(),
        }
        if "distance" in mean:
            found |= {"nearest_library_nm": float(mean["distance"]), "outside_support_share": float(mean["outside"])}
        return found

    def _nearest(self, positions: Float[Tensor, "frame atom 3"]) -> Float[Tensor, "frame"]:
        if self._library is None:
            self._library = self._distances(self.decoder.library_structures())  # type: ignore[attr-defined]
        return torch.cdist(self._distances(positions), self._library).amin(1)

    def _distances(self, positions: Float[Tensor, "frame atom 3"]) -> Float[Tensor, "frame pair"]:
        """Distances in nm over the root of their number, so that differences have a root-mean-square norm."""
        pairs = distance_pairs(self.molecule, "heavy")
        pairs = pairs[:: max(1, -(-len(pairs) // PAIRS))]
        return bond_lengths(positions, pairs) / max(1, len(pairs)) ** 0.5
