"""What trajectories of one molecule share."""

import torch

from mdgen.data.collation import context_of
from mdgen.molecule.residues import RESIDUE_TYPES
from tests.molecule.conftest import ALANINE, CAP_AFTER, CAP_BEFORE, peptide


def test_each_row_has_the_molecule_its_residues_and_the_conditions() -> None:
    molecule = peptide(CAP_BEFORE, ALANINE, CAP_AFTER)
    context = context_of(molecule, 3, 300.0, 5.0)
    assert context.molecules == (molecule,)
    assert context.temperature_K is not None
    assert context.frame_spacing_ps is not None
    assert context.temperature_K.tolist() == [300.0] * 3
    assert context.frame_spacing_ps.tolist() == [5.0] * 3
    types = [[RESIDUE_TYPES[index] for index in row] for row in context.residue_types]  # type: ignore[union-attr]
    assert types == [["ACE", "ALA", "NME"]] * 3
    two = context.rows(torch.tensor([0, 2]))
    assert two.residue_types.shape == (2, 3)  # type: ignore[union-attr]


def test_what_is_not_known_is_left_out() -> None:
    context = context_of(peptide(CAP_BEFORE, ALANINE, CAP_AFTER), 2)
    assert context.temperature_K is None
    assert context.frame_spacing_ps is None
