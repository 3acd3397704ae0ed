"""Sequences that were designed: how often each was drawn, its score, and whether it is that of the structure."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mdgen.data.spacing import lag_in_frames
from mdgen.errors import MdgenError
from mdgen.generation.tasks import Inpainting
from mdgen.interfaces import DesignedResidues
from mdgen.md.systems.peptides import ONE_LETTER
from mdgen.molecule.residues import AMINO_ACIDS, RESIDUE_TYPES, residue_types
from mdgen.molecule.topology import Molecule

_LETTERS = {name: letter for letter, name in ONE_LETTER.items()}


@dataclass(frozen=True)
class Designs:
    """Designed sequences, one a row.

    Args:
        types: type of each residue, known ones included, an index into `molecule.residues.RESIDUE_TYPES`.
        scores: logarithm of how many times likelier a design is given the known motion than by frequencies alone.
        designed: numbers of the designed residues.
        native: types of the structure that the known motion is of.
        frequencies: frequencies of amino acids in the training data at each place of the chain.
    """

    types: Int[np.ndarray, "design token"]
    scores: Float[np.ndarray, "design"]
    designed: tuple[int, ...]
    native: Int[np.ndarray, "token"]
    frequencies: Float[np.ndarray, "token amino_acid"]

    @classmethod
    def of(cls, made: DesignedResidues, designed: Sequence[int], molecule: Molecule) -> "Designs":
        """Those that a propagator made for a molecule."""
        arrays = (each.cpu().numpy() for each in (made.types, made.scores, made.frequencies))
        types, scores, frequencies = arrays
        return cls(types, scores, tuple(designed), residue_types(molecule).numpy(), frequencies)

    def __len__(self) -> int:
        return len(self.types)

    @property
    def sequences(self) -> tuple[str, ...]:
        """One-letter codes; caps have none."""
        return tuple("".join(_LETTERS.get(RESIDUE_TYPES[kind], "") for kind in row) for row in self.types)

    @property
    def recovery(self) -> float:
        """Share of designed residues that are those of the structure."""
        places = list(self.designed)
        return float((self.types[:, places] == self.native[places]).mean())

    def metrics(self) -> dict[str, float]:
        """The recovery beside what frequencies alone would give: drawn from, or the most frequent at each place."""
        places = list(self.designed)
        law, native = self.frequencies[places], self.native[places] - AMINO_ACIDS.start
        drawn = law[np.arange(len(places)), native]
        return {
            "recovery": self.recovery,
            "recovery_of_frequencies": float(drawn.mean()),
            "recovery_of_most_frequent": float((law.argmax(1) == native).mean()),
            "mean_score": float(self.scores.mean()),
        }

    def table(self) -> str:
        """Comma-separated lines of sequence, how often it was drawn, and its mean score; most often drawn first."""
        text = io.StringIO()
        lines = csv.writer(text, lineterminator="\n")
        lines.writerow(("sequence", "drawn", "score"))
        sequences = np.array(self.sequences)
        for sequence, drawn in Counter(self.sequences).most_common():
            lines.writerow((sequence, drawn, f"{self.scores[sequences == sequence].mean():.4f}"))
        return text.getvalue()


def known_windows(
    task: Inpainting, molecule: Molecule, frames: int, frame_spacing_ps: float
) -> Float[Any, "window frame atom 3"]:
    """Windows of known trajectories one after another, at the spacing asked for; one of each that is shorter.

    Raises:
        MdgenError: for trajectories of another molecule, or whose spacing does not divide the one asked for.
    """
    (positions,) = task.structures(molecule)
    own_ps = task.frame_spacing_ps
    if own_ps is not None:
        positions = positions[:, :: lag_in_frames(frame_spacing_ps, own_ps, "spacing of a design")]
    frames = min(frames, positions.shape[1])
    whole = positions.shape[1] // frames
    return positions[:, : whole * frames].unflatten(1, (whole, frames)).flatten(0, 1)


def designed_tokens(tokens: Sequence[int], n_tokens: int) -> list[int]:
    """Numbers of the residues that are not known.

    Raises:
        MdgenError: if there is no such residue as one that is named, or all or none are known.
    """
    outside = [token for token in tokens if not 0 <= token < n_tokens]
    if outside:
        raise MdgenError(f"there are tokens 0 to {n_tokens - 1}; there is no {outside[0]}")
    designed = sorted(set(range(n_tokens)) - set(tokens))
    if len(designed) in (0, n_tokens):
        word = "none" if designed else "all"
        raise MdgenError(f"{word} of the {n_tokens} residues are known; a design needs one that is and one that is not")
    return designed
