"""The decoder of SE(3) tokens: all atoms, hydrogens included, from frames, angles and the key frame's geometry."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.geometry.frames import Frames
from mdgen.interfaces import Context, Decoder, LatentSpace
from mdgen.models.batches import TrainingData
from mdgen.models.blocks.bond_closure import closed, joints_of
from mdgen.models.blocks.chain_links import frames_from_links
from mdgen.models.blocks.peptide_planes import in_planes
from mdgen.models.blocks.se3_tokens import CHAIN_TOKENS, CHANNELS, KEY_FRAME_TOKENS, KINDS, RIGID, frames_of, superposed
from mdgen.models.blocks.token_geometry import (
    INTERNAL,
    LocalGeometry,
    measured,
    placed_atoms,
    points_of_frames,
    token_frames,
)
from mdgen.models.blocks.token_tables import TokenTables, structures_of, tables_of
from mdgen.models.decoders.clash_removal import least_distances, without_clashes
from mdgen.models.part import Part
from mdgen.molecule.tokens import TORSION_SLOTS
from mdgen.registry import register

_TORSION, _BEND, _OUT_OF_PLANE = 0.2, 0.04, 0.05
_INTERNAL = [_TORSION] * 2 * TORSION_SLOTS + [_BEND] * (INTERNAL - 2 * TORSION_SLOTS)
_SOFTNESS = {
    CHAIN_TOKENS: [_OUT_OF_PLANE, _BEND, 0.002, 0.08, 0.08, _BEND, _OUT_OF_PLANE, *_INTERNAL],
    KEY_FRAME_TOKENS: [0.05] * 4 + [0.02] * 3 + _INTERNAL,
}
"""How far each channel moves under the same force, in rad or nm: about its spread within a well at 350 K."""


@register
class SE3TokenDecoder(Part):
    """Decoder: all atoms, with the bond lengths and chirality of the key frame; nothing is learnt.

    Args:
        latent: latent space of the encoder; that of SE(3) tokens where None.
        close_bonds: move residues, as little as possible, until bonds and angles between them are as near to those of
            the key frame as thermal motion leaves them, and peptide bonds lie in planes.
        backbone: what decides where the latent contradicts itself about phi and psi (`blocks.peptide_planes`):
            `torsions` or `frames`. Tokens relative to the chain tell them once.
        remove_clashes: move atoms that overlap apart (`decoders.clash_removal`).
    """

    learns_from = "nothing"
    held: tuple[int, ...] = ()
    """Residues that do not move where atoms overlap."""

    def __init__(
        self,
        latent: LatentSpace | None = None,
        close_bonds: bool = True,
        backbone: str = "torsions",
        remove_clashes: bool = True,
    ) -> None:
        super().__init__()
        if backbone not in ("torsions", "frames"):
            raise MdgenError(f"backbone={backbone}: expected torsions or frames")
        self.latent = LatentSpace(KEY_FRAME_TOKENS, tokens=0, channels=CHANNELS) if latent is None else latent
        if self.latent.kind not in KINDS or self.latent.channels != CHANNELS:
            raise MdgenError(
                f"SE(3) tokens have {CHANNELS} channels; this latent is of kind {self.latent.kind} with "
                f"{self.latent.channels}; decode latents of encoder=se3_tokens"
            )
        self.close_bonds, self.backbone, self.remove_clashes = close_bonds, backbone, remove_clashes

    def fit(self, data: TrainingData, generator: torch.Generator) -> None:
        """Nothing is learnt."""

    def decode(
        self, latent: Float[Tensor, "batch frame token channel"], context: Context, generator: torch.Generator
    ) -> Float[Tensor, "batch frame atom 3"]:
        """Positions in nm of every frame, superposed on the key frame; nothing is drawn.

        Where the context has several key frames, the geometry of rigid groups is their mean.

        Raises:
            MdgenError: if the context names no molecules or key frames, or they do not fit the latent.
        """
        if self.remove_clashes and torch.is_inference_mode_enabled():  # overlaps are followed back, which that forbids
            with torch.inference_mode(False), torch.no_grad():
                keys = replace(context, key_frames=structures_of(context).clone())
                return self.decode(latent.clone(), keys, generator)
        tables = tables_of(context)
        structures = structures_of(context).to(latent)
        expected = (len(structures), tables.token_mask.shape[1], CHANNELS)
        if (latent.shape[0], *latent.shape[2:]) != expected:
            raise MdgenError(
                f"the latent has {latent.shape[0]} rows of {latent.shape[2]} tokens and {latent.shape[3]} channels, "
                f"the key frames {expected[0]} of {expected[1]} and {CHANNELS}; give the context it was encoded with"
            )
        geometry = measured(structures, tables)
        key = token_frames(structures[:, :1], tables)[:, 0]
        place = partial(self._placed, structures=structures, geometry=geometry, key=key, tables=tables)
        positions = place(latent)
        if not self.remove_clashes:
            return positions
        least = least_distances(context.molecules, structures.shape[2], latent.device)
        softness = latent.new_tensor(_SOFTNESS[self.latent.kind]).repeat(latent.shape[2], 1)
        softness[list(self.held)] = 0
        return without_clashes(latent, positions, place, least.to(latent), softness)

    def _placed(
        self,
        latent: Float[Tensor, "batch frame token channel"],
        structures: Float[Tensor, "batch key atom 3"],
        geometry: LocalGeometry,
        key: Frames,
        tables: TokenTables,
    ) -> Float[Tensor, "batch frame atom 3"]:
        internal = latent[..., RIGID:]
        points = points_of_frames(internal, geometry, tables)
        if self.latent.kind == CHAIN_TOKENS:
            frames = frames_from_links(latent[..., :RIGID], internal, points, key[:, 0], tables, self.close_bonds)
            return placed_atoms(superposed(frames, key, tables.token_mask), points, internal, geometry, tables)
        frames = frames_of(latent, key)
        if self.close_bonds:
            frames = closed(frames, joints_of(points, structures, tables), tables)
            frames, internal = in_planes(frames, points, internal, tables, self.backbone == "torsions")
            frames = superposed(frames, key, tables.token_mask)
        return placed_atoms(frames, points, internal, geometry, tables)


def staying(decoder: Decoder, known: Sequence[int]) -> Decoder:
    """The decoder with residues where their frames are, so that those that are known stay beside one another.

    Args:
        decoder: decoder of the generation.
        known: residues that do not move where atoms overlap.

    Raises:
        MdgenError: for tokens relative to the chain, of which every residue moves with those before it.
    """
    if not isinstance(decoder, SE3TokenDecoder):
        return decoder
    if decoder.latent.kind == CHAIN_TOKENS:
        raise MdgenError(
            "these tokens place each residue by the one before it, so that known residues would not stay where they "
            "are; inpaint with a network of encoder.model.relative_to=key_frame, such as tetrapeptides_inpainting"
        )
    here = SE3TokenDecoder(decoder.latent, decoder.close_bonds, "frames", decoder.remove_clashes)
    here.held = tuple(known)
    return here
