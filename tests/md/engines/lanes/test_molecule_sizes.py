"""Molecules that fill blocks of sixteen atoms or just do not, and the largest that the kernels take."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.engines.engine import make_engine, passed_over
from mdgen.md.engines.kernel_engine import KernelEngine
from mdgen.md.engines.lanes.lane_kernel import EnergiesAndForces
from mdgen.md.engines.lanes.molecule.molecule_kernel import MOST_ATOMS, MoleculeKernel
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.parameters import BornParameters, ForceFieldParameters
from tests.md.engines.lanes.systems import peptide
from tests.md.reference import particles

LANGEVIN = Langevin(1.0, 300.0)


def first_atoms(p: ForceFieldParameters, n: int) -> ForceFieldParameters:
    """The first atoms of a molecule in generalised Born with necks, and the terms among them."""
    terms = ("bond", "angle", "torsion", "exception", "constraint")
    among = {term: (getattr(p, f"{term}_atoms") < n).all(1) for term in terms}
    columns = {each.name: getattr(p, each.name) for each in fields(p) if each.name.split("_")[0] in terms}
    kept = {name: column[among[name.split("_")[0]]] for name, column in columns.items()}
    of_atoms = {name: getattr(p, name)[:n] for name in ("masses", "charges", "sigma", "epsilon")}
    born = p.born
    assert born is not None
    assert born.neck is not None
    neck = replace(born.neck, distance=born.neck.distance[:n, :n], height=born.neck.height[:n, :n])
    numbers = {name: getattr(born, name)[:n] for name in ("radius", "scale", "alpha", "beta", "gamma")}
    return replace(p, **kept, **of_atoms, born=replace(born, neck=neck, **numbers))


def evaluated(parameters: ForceFieldParameters, x: torch.Tensor, precision: str) -> EnergiesAndForces:
    kernel = MoleculeKernel(parameters, len(x), 0.001, 300.0, 1.0, torch.Generator(), precision, 1)
    kernel.set_state(x, torch.zeros_like(x))
    return kernel.energies_and_forces()


@pytest.mark.parametrize(("precision", "tolerance"), [("double", 1e-11), ("single", 3e-6)])
@pytest.mark.parametrize("solvent", ["vacuum", "gbn2"])
@pytest.mark.parametrize("n_atoms", [1, 2, 15, 16, 17, 32, 33])
def test_blocks_that_are_full_or_not_agree_with_torch(
    n_atoms: int, solvent: str, precision: str, tolerance: float
) -> None:
    system = peptide("WDMK", "gbn2", "none")
    parameters = first_atoms(system.potential.parameters, n_atoms)
    if solvent == "vacuum":
        parameters = replace(parameters, born=None)
    x = system.positions[:n_atoms].repeat(2, 1, 1)
    x = x + 0.01 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    terms, forces = evaluated(parameters, x, precision)
    field = ForceField(parameters)
    expected, expected_forces = field.energy_terms(x), field.energy_and_forces(x)[1].numpy()
    solvation = sum((expected.pop(name) for name in ("born", "surface") if name in expected), torch.zeros(2))
    rest = sum(expected.values(), torch.zeros(2, dtype=torch.float64))
    scale = 1.0 + max(float(each.abs().max()) for each in (*expected.values(), solvation))
    np.testing.assert_allclose(terms.pop("generalized_born"), solvation.numpy(), rtol=0, atol=tolerance * scale)
    np.testing.assert_allclose(sum(terms.values()), rest.numpy(), rtol=0, atol=tolerance * scale)
    assert np.linalg.norm(forces - expected_forces) <= tolerance * np.linalg.norm(expected_forces)
    assert (np.linalg.norm(expected_forces) > 1.0) == (n_atoms > 1)


def test_one_atom_too_many_is_left_to_torch() -> None:
    def of(n_atoms: int):
        return particles(ForceField(ForceFieldParameters.from_tables({"masses": [12.0] * n_atoms})), [12.0] * n_atoms)

    assert MOST_ATOMS == 5000
    assert passed_over(of(5000), LANGEVIN) == {}
    assert passed_over(of(5001), LANGEVIN) == {"kernel": "room for 5001 atoms (at most 5000)"}
    assert KernelEngine.lacks(of(5001), LANGEVIN) == "room for 5001 atoms (at most 5000)"
    with pytest.raises(MdgenError, match=r"engine=kernel does not have room for 5001 atoms .*; use engine=torch"):
        make_engine(of(5001), LANGEVIN, 1, torch.Generator(), "kernel")


def test_energies_of_five_thousand_atoms_are_as_exact_as_those_of_few() -> None:
    """Equal charges on a lattice in OBC2: millions of energies of one sign, where a sum in single precision loses."""
    n, draw = 5000, torch.Generator().manual_seed(0)
    ticks, like = torch.arange(18), torch.ones(n, dtype=torch.float64)
    parameters = ForceFieldParameters.from_tables(
        {"masses": 20.0 * like, "charges": 0.2 * like, "sigma": 0.19 * like, "epsilon": 0.5 * like},
        born=BornParameters("OBC2", 0.15 * like, 0.8 * like),
    )
    x = 0.22 * torch.cartesian_prod(ticks, ticks, ticks)[:n].double()
    x = (x + 0.01 * torch.randn(n, 3, generator=draw, dtype=torch.float64))[None]
    (single, _), (double, _) = evaluated(parameters, x, "single"), evaluated(parameters, x, "double")
    for term in ("nonbonded", "generalized_born"):
        np.testing.assert_allclose(single[term], double[term], rtol=3e-7, err_msg=term)
