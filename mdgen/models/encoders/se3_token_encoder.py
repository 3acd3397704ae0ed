"""The encoder of SE(3) tokens: a rigid frame, torsions and bond angles of each residue of any peptide or protein."""

import mdtraj
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.data.collation import context_of
from mdgen.errors import MdgenError
from mdgen.interfaces import Context, LatentSpace
from mdgen.models.batches import TrainingData
from mdgen.models.blocks.chain_links import links_of, require_one_chain
from mdgen.models.blocks.se3_tokens import CHAIN_TOKENS, CHANNELS, KEY_FRAME_TOKENS, latent_of
from mdgen.models.blocks.token_geometry import internal_of, token_frames
from mdgen.models.blocks.token_tables import structures_of, tables_of
from mdgen.models.part import Part
from mdgen.models.structures import Structures, positions_of
from mdgen.molecule.tokens import token_layout
from mdgen.molecule.topology import Molecule
from mdgen.registry import register


@register
class SE3TokenEncoder(Part):
    """Encoder: `blocks.se3_tokens` of every residue; nothing is learnt.

    A latent does not change with rigid motions of a frame, and can be decoded to all atoms.

    Args:
        relative_to: what the motion of a residue is told against: `key_frame`, where it was in the key frame of the
            context, or `chain`, the residue before it (`blocks.chain_links`), for peptides of one chain.

    Raises:
        MdgenError: for anything else.
    """

    learns_from = "nothing"

    def __init__(self, relative_to: str = "key_frame") -> None:
        super().__init__()
        kinds = {"key_frame": KEY_FRAME_TOKENS, "chain": CHAIN_TOKENS}
        if relative_to not in kinds:
            raise MdgenError(f"relative_to={relative_to}: expected {' or '.join(kinds)}")
        self.latent = LatentSpace(kinds[relative_to], tokens=0, channels=CHANNELS)

    def fit(self, data: TrainingData, generator: torch.Generator) -> None:
        """See that the molecule has tokens.

        Raises:
            MdgenError: if it has none (`molecule.tokens.token_layout`), or several chains that are no peptide of one.
        """
        if data.molecule is not None:
            layout = token_layout(data.molecule)
            if self.latent.kind == CHAIN_TOKENS:
                require_one_chain(layout)

    def encode(self, positions: Structures, context: Context | None = None) -> Float[Tensor, "*batch token channel"]:
        """The tokens of each frame, against the first key frame of the context.

        Args:
            positions: tensor or numpy array in nm, (batch, frame, atom, 3) or (batch, atom, 3), or an mdtraj
                trajectory: then one row a frame.
            context: molecules and key frames; may be left out for an mdtraj trajectory, whose first frame is then the
                key frame.

        Raises:
            MdgenError: if the context names no molecules or key frames, or the positions do not fit them.
        """
        if isinstance(positions, mdtraj.Trajectory) and context is None:
            whole = positions_of(positions)[None]
            return self.encode(whole, context_of(Molecule.from_mdtraj(positions.topology), 1, key_frames=whole[:, :1]))[
                0
            ]
        positions, context = positions_of(positions), context or Context()
        tables = tables_of(context)
        keys = structures_of(context)[:, :1].to(positions)
        if positions.shape[0] != len(keys) or positions.shape[-2] != keys.shape[-2]:
            raise MdgenError(
                f"positions of {positions.shape[0]} rows and {positions.shape[-2]} atoms were given with key frames of "
                f"{len(keys)} rows and {keys.shape[-2]} atoms; give a key frame of the same molecule for each row"
            )
        trajectories = positions[:, None] if positions.ndim == 3 else positions
        internal = internal_of(trajectories, keys, tables)
        if self.latent.kind == CHAIN_TOKENS:
            for molecule in context.molecules:
                require_one_chain(token_layout(molecule))
            latent = torch.cat([links_of(trajectories, internal, tables), internal], -1)
        else:
            key = token_frames(keys, tables)[:, 0]
            latent = latent_of(token_frames(trajectories, tables), internal, key, tables.token_mask)
        return latent[:, 0] if positions.ndim == 3 else latent
