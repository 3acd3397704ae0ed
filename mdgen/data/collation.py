"""Windows of different molecules to batches, padded at the end, and the context of a batch of one or of many."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from mdgen.data.windows import Window, WindowDataset
from mdgen.interfaces import Context
from mdgen.molecule.residues import residue_types
from mdgen.molecule.topology import Molecule


@dataclass(frozen=True)
class TrajectoryBatch:
    """Windows side by side, and what is fixed along each.

    Args:
        positions: positions in nm, zero where an atom is padding.
        context: molecules, residue types, masks, temperature, frame spacing, and the first frame as key frame.
    """

    positions: Float[Tensor, "batch frame atom 3"]
    context: Context

    def __len__(self) -> int:
        return len(self.positions)

    def rows(self, chosen: Int[Tensor, "row"]) -> "TrajectoryBatch":
        """Some of the windows, with the padding of all."""
        return TrajectoryBatch(self.positions[chosen], self.context.rows(chosen))

    def to(self, device: torch.device | str) -> "TrajectoryBatch":
        """The same batch on a device."""
        return TrajectoryBatch(self.positions.to(device), self.context.to(device))


def pad_windows(windows: Sequence[Window]) -> tuple[Float[Tensor, "batch frame atom 3"], Int[Tensor, "batch 3"]]:
    """Windows of different numbers of atoms as one tensor, and the numbers of the set, trajectory and spacing of each.

    These are what a worker process sends: numbers only, since molecules are slow to send.
    """
    n_frames, most = windows[0].positions.shape[0], max(window.positions.shape[1] for window in windows)
    positions = torch.zeros(len(windows), n_frames, most, 3)
    for row, window in enumerate(windows):
        positions.numpy()[row, :, : window.positions.shape[1]] = window.positions
    return positions, torch.tensor([(window.number, window.trajectory, window.spacing) for window in windows])


def add_context(
    positions: Float[Tensor, "batch frame atom 3"], places: Int[Tensor, "batch 3"], dataset: WindowDataset
) -> TrajectoryBatch:
    """A batch that `pad_windows` made of windows of `dataset`, with the context of each."""
    numbers, trajectories, spacings = places.T.tolist()
    sets = [dataset.collection[number] for number in numbers]
    types = [dataset.residue_types[number] for number in numbers]
    n_atoms = torch.tensor([dataset.n_atoms[number] for number in numbers])
    n_tokens = torch.tensor([len(each) for each in types])
    molecules = tuple(each.molecule for each in sets)
    temperature = None
    if dataset.collection.knows_temperatures:
        known = [each.temperatures_K[t] for each, t in zip(sets, trajectories, strict=True)]
        temperature = torch.tensor(known, dtype=torch.float32)
    context = Context(
        molecules=molecules[:1] if len(set(molecules)) == 1 else molecules,
        temperature_K=temperature,
        frame_spacing_ps=torch.tensor([dataset.spacings_ps[each] for each in spacings]),
        residue_types=pad_sequence(types, batch_first=True),
        token_mask=torch.arange(int(n_tokens.max())) < n_tokens[:, None],
        atom_mask=torch.arange(positions.shape[2]) < n_atoms[:, None],
        key_frames=positions[:, :1],
    )
    return TrajectoryBatch(positions, context)


def context_of(
    molecule: Molecule,
    n: int,
    temperature_K: float | None = None,
    frame_spacing_ps: float | None = None,
    key_frames: Float[Tensor, "{n} key atom 3"] | None = None,
) -> Context:
    """The context of `n` trajectories, or frames, of one molecule under the same conditions.

    Every token and atom of one molecule is real, so there are no masks.

    Args:
        molecule: molecule of every row.
        n: rows of the batch.
        temperature_K: temperature of every row; None where it is not known.
        frame_spacing_ps: time between two frames; None where it means nothing, as for single frames.
        key_frames: structures that tokens are measured against, nm; None where they are not known.
    """
    kelvin, spacing = (
        None if value is None else torch.full((n,), float(value)) for value in (temperature_K, frame_spacing_ps)
    )
    types = residue_types(molecule)[None].expand(n, -1)
    return Context((molecule,), kelvin, spacing, types, key_frames=key_frames)
