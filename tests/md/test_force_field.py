"""Energies and forces against OpenMM's Reference platform, and the symmetries that any energy has."""

import itertools
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import openmm
import openmm.app
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.forces import SumOfPotentials, energy_and_forces
from mdgen.md.force_field.parameters import ForceFieldParameters
from mdgen.md.systems.build import build_system
from mdgen.md.systems.openmm_systems.openmm_loader import load_openmm_system
from mdgen.units import COULOMB_AMBER, COULOMB_OPENMM, KCAL
from tests.md.reference import openmm_energies_and_forces, openmm_force_field, shaken, strained

TERMS = {
    "HarmonicBondForce": ["bonds"],
    "HarmonicAngleForce": ["angles"],
    "PeriodicTorsionForce": ["torsions"],
    "NonbondedForce": ["lennard_jones", "coulomb"],
    "CustomGBForce": ["born", "surface"],
    "GBSAOBCForce": ["born", "surface"],
}


def assert_agrees(parameters: ForceFieldParameters, system: openmm.System, positions: torch.Tensor) -> None:
    energies, forces = openmm_energies_and_forces(system, positions[0].numpy())
    field = ForceField(parameters)
    terms = field.energy_terms(positions)
    compared = set()
    for name, energy in energies.items():
        mine = sum(float(terms[term][0]) for term in TERMS[name])
        assert abs(mine - energy) < 1e-3 * KCAL, name
        compared |= set(TERMS[name])
    assert compared == set(terms)
    total, mine = field.energy_and_forces(positions)
    assert abs(float(total[0]) - sum(energies.values())) < 1e-3 * KCAL
    assert np.linalg.norm(mine[0].numpy() - forces) < 1e-5 * np.linalg.norm(forces)
    assert np.abs(mine[0].numpy() - forces).max() < 1e-5 * np.abs(forces).max()


@pytest.mark.parametrize(
    ("sequence", "solvent"),
    [("A", "vacuum"), ("A", "obc1"), ("A", "gbn"), *itertools.product(["WDHK", "CMRP", "TYQL"], ["obc2", "gbn2"])],
)
def test_every_term_agrees_with_openmm(sequence: str, solvent: str) -> None:
    system = strained(sequence, solvent=solvent)
    assert_agrees(system.potential.parameters, system.potential.openmm_system, shaken(system))


@pytest.mark.parametrize("solvent", ["obc2", "gbn2"])
def test_salt_agrees_with_openmm(solvent: str) -> None:
    system = strained("DK", solvent="vacuum")
    made = {
        kappa: openmm_force_field("amber14-all.xml", f"implicit/{solvent}.xml").createSystem(
            system.molecule.topology.to_openmm(), removeCMMotion=False, implicitSolventKappa=kappa
        )
        for kappa in (0.0, 1.5)
    }
    x = shaken(system)
    loaded = {kappa: load_openmm_system(one) for kappa, one in made.items()}
    assert_agrees(loaded[1.5], made[1.5], x)
    polar = {kappa: float(ForceField(p).energy_terms(x)["born"][0]) for kappa, p in loaded.items()}
    assert abs(polar[1.5] - polar[0.0]) > 0.1  # so that the comparison could fail


def test_necks_have_gradients() -> None:
    """GBn2 in the parameters of the fit: radii, scales and the per-atom coefficients."""
    parameters = strained("A", solvent="gbn2").potential.parameters
    born = parameters.born
    assert born is not None
    assert born.neck is not None
    names, x = ("radius", "scale", "alpha", "beta", "gamma"), strained("A", solvent="gbn2").positions[None]

    def energy(*values: torch.Tensor) -> torch.Tensor:
        return ForceField(replace(parameters, born=replace(born, **dict(zip(names, values, strict=True))))).energy(x)

    values = tuple(getattr(born, name).clone().requires_grad_() for name in names)
    assert torch.autograd.gradcheck(energy, values, eps=1e-6, atol=1e-4, rtol=1e-4, fast_mode=True)


@pytest.mark.parametrize("force_field", ["amber14", "amber99sbildn"])
def test_flexible_bonds_agree_with_openmm(force_field: str) -> None:
    system = strained("INV", force_field=force_field, constraints="none")
    assert len(system.potential.parameters.bond_atoms) == len(system.molecule.bonds)
    assert_agrees(system.potential.parameters, system.potential.openmm_system, shaken(system))


def test_gbsa_obc_force_agrees_with_openmm() -> None:
    system = strained("EF", force_field="amber99sbildn", solvent="vacuum")
    made = openmm.app.ForceField("amber99sbildn.xml", "amber99_obc.xml").createSystem(
        system.molecule.topology.to_openmm(), removeCMMotion=False
    )
    assert any(isinstance(force, openmm.GBSAOBCForce) for force in made.getForces())
    assert_agrees(load_openmm_system(made), made, shaken(system))


SHARED = Path(__file__).parents[3] / "shared" / "data" / "force_field_systems"


@pytest.mark.skipif(not SHARED.is_dir(), reason=f"the AMBER systems in {SHARED} are not here")
@pytest.mark.parametrize("name", ["benzamidine-amber", "ligand-amber"])
@pytest.mark.parametrize("solvent", ["vacuum", "obc1", "obc2", "gbn2"])
@pytest.mark.filterwarnings("ignore:Non-optimal GB parameters")
def test_prmtop_agrees_with_openmm(name: str, solvent: str) -> None:
    files = {"prmtop": str(SHARED / name / "structure.prmtop"), "coordinates": str(SHARED / name / "structure.pdb")}
    system = build_system(**files, hydrogen_mass_amu=None, solvent=solvent, relax=False)
    assert_agrees(system.potential.parameters, system.potential.openmm_system, shaken(system))


def test_the_coulomb_constant_is_a_setting() -> None:
    system = strained("A", solvent="vacuum")
    ratio = COULOMB_AMBER / COULOMB_OPENMM
    other = ForceField(replace(system.potential.parameters, coulomb_constant=COULOMB_AMBER))
    x = shaken(system)
    mine, theirs = system.potential.energy_terms(x)["coulomb"], other.energy_terms(x)["coulomb"]
    torch.testing.assert_close(theirs, mine * ratio, rtol=1e-12, atol=0)
    assert abs(ratio - 1) == pytest.approx(3.47e-5, rel=0.01)


@pytest.fixture
def small() -> ForceFieldParameters:
    """Six atoms in a chain with a branch, every term at work, some epsilons zero."""
    real = lambda *values: torch.tensor(values, dtype=torch.float64)  # noqa: E731
    born = replace(strained("A").potential.parameters.born, radius=real(0.17, 0.15, 0.12, 0.17, 0.13, 0.15),
                   scale=real(0.72, 0.85, 0.85, 0.72, 0.85, 0.79))  # fmt: skip
    return ForceFieldParameters(
        masses=real(12, 16, 1, 12, 1, 14),
        bond_atoms=torch.tensor([[0, 1], [1, 2], [0, 3], [3, 4], [3, 5]]),
        bond_length=real(0.14, 0.1, 0.15, 0.11, 0.14),
        bond_k=real(1000, 2000, 1500, 900, 1200),
        angle_atoms=torch.tensor([[1, 0, 3], [0, 1, 2], [0, 3, 5]]),
        angle_theta0=real(1.9, 1.8, 2.0),
        angle_k=real(100, 120, 80),
        torsion_atoms=torch.tensor([[2, 1, 0, 3], [1, 0, 3, 5], [0, 4, 3, 5]]),
        torsion_periodicity=torch.tensor([3, 2, 2]),
        torsion_phase=real(0, 3.1, 3.14159),
        torsion_k=real(1.5, 4, 10),
        charges=real(0.3, -0.6, 0.4, 0.2, 0.1, -0.4),
        sigma=real(0.34, 0.3, 0.1, 0.34, 0.25, 0.32),
        epsilon=real(0.4, 0.8, 0.0, 0.4, 0.06, 0.7),
        exception_atoms=torch.tensor([[0, 1], [1, 2], [3, 0], [3, 4], [3, 5], [0, 2], [1, 3], [2, 3]]),
        exception_charge_product=real(0, 0, 0, 0, 0, 0, 0, 0.07),
        exception_sigma=real(1, 1, 1, 1, 1, 1, 1, 0.22),
        exception_epsilon=real(0, 0, 0, 0, 0, 0, 0, 0.1),
        constraint_atoms=torch.zeros(0, 2, dtype=torch.int64),
        constraint_length=real(),
        born=born,
    )


@pytest.fixture
def chain() -> torch.Tensor:
    """Where those six atoms are, twice."""
    generator = torch.Generator().manual_seed(3)
    x = torch.tensor(
        [[0, 0, 0], [0.14, 0, 0], [0.18, 0.1, 0.02], [-0.05, 0.14, 0], [-0.15, 0.15, 0.05], [0.0, 0.23, 0.1]],
        dtype=torch.float64,
    )
    return x + 0.01 * torch.randn(2, 6, 3, generator=generator, dtype=torch.float64)


def test_forces_are_the_slope_of_the_energy(small: ForceFieldParameters, chain: torch.Tensor) -> None:
    assert torch.autograd.gradcheck(ForceField(small).energy, chain.requires_grad_(), eps=1e-6, atol=1e-5)


def test_parameters_have_gradients(small: ForceFieldParameters, chain: torch.Tensor) -> None:
    names = [f.name for f in fields(small) if torch.is_tensor(getattr(small, f.name))]
    names = [n for n in names if getattr(small, n).is_floating_point() and n not in ("masses", "constraint_length")]
    # The slope in epsilon is infinite at 0, where it is taken as 0; the check stays off that point.
    small = replace(small, epsilon=small.epsilon.clamp(min=0.01))

    def energy(*values: torch.Tensor) -> torch.Tensor:
        return ForceField(replace(small, **dict(zip(names, values, strict=True)))).energy(chain)

    values = tuple(getattr(small, name).clone().requires_grad_() for name in names)
    assert torch.autograd.gradcheck(energy, values, eps=1e-7, atol=1e-4, rtol=1e-5)


def test_zero_epsilon_has_a_finite_gradient(small: ForceFieldParameters, chain: torch.Tensor) -> None:
    epsilon = small.epsilon.clone().requires_grad_()
    ForceField(replace(small, epsilon=epsilon)).energy(chain).sum().backward()
    assert epsilon.grad is not None
    assert bool(epsilon.grad.isfinite().all())


def test_rollouts_can_be_differentiated(small: ForceFieldParameters, chain: torch.Tensor) -> None:
    charges = small.charges.clone().requires_grad_()
    field = ForceField(replace(small, charges=charges))
    _, forces = energy_and_forces(field, chain.clone().requires_grad_())
    (gradient,) = torch.autograd.grad(forces.square().sum(), charges)
    assert float(gradient.abs().max()) > 0
    assert not energy_and_forces(field, chain)[1].requires_grad


def test_energy_is_invariant_and_forces_turn_along() -> None:
    system = strained("CMRP")
    field, x = system.potential, shaken(strained("CMRP"))
    generator = torch.Generator().manual_seed(1)
    rotation, _ = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    rotation = rotation * torch.linalg.det(rotation)
    energy, forces = field.energy_and_forces(x)
    turned_energy, turned_forces = field.energy_and_forces(x @ rotation.T + 0.7)
    torch.testing.assert_close(turned_energy, energy, rtol=1e-10, atol=1e-8)
    torch.testing.assert_close(turned_forces, forces @ rotation.T, rtol=1e-7, atol=1e-6)
    assert float(forces.sum(1).abs().max()) < 1e-7  # no net force
    assert float(torch.linalg.cross(x, forces).sum(1).abs().max()) < 1e-7  # no net torque


def test_atoms_may_be_named_in_any_order(small: ForceFieldParameters, chain: torch.Tensor) -> None:
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    new_place = order.argsort()
    changed = {}
    for field in fields(small):
        value = getattr(small, field.name)
        if field.name.endswith("_atoms"):
            changed[field.name] = new_place[value]
        elif field.name in ("masses", "charges", "sigma", "epsilon"):
            changed[field.name] = value[order]
    assert small.born is not None
    born = replace(small.born, radius=small.born.radius[order], scale=small.born.scale[order])
    energy, forces = ForceField(small).energy_and_forces(chain)
    other, other_forces = ForceField(replace(small, **changed, born=born)).energy_and_forces(chain[:, order])
    torch.testing.assert_close(other, energy, rtol=1e-12, atol=1e-9)
    torch.testing.assert_close(other_forces, forces[:, order], rtol=1e-9, atol=1e-8)


def test_replicas_do_not_talk_to_each_other() -> None:
    system = strained("CMRP")
    field, x = system.potential, shaken(system, replicas=5)
    energy, forces = field.energy_and_forces(x)
    x[2] = x[2] * float("nan")
    other, other_forces = field.energy_and_forces(x)
    rest = [0, 1, 3, 4]
    assert torch.equal(energy[rest], other[rest])
    assert torch.equal(forces[rest], other_forces[rest])


def test_potentials_add(small: ForceFieldParameters, chain: torch.Tensor) -> None:
    field = ForceField(small)
    torch.testing.assert_close(SumOfPotentials([field, field]).energy(chain), 2 * field.energy(chain))


def test_a_cell_is_refused(small: ForceFieldParameters, chain: torch.Tensor) -> None:
    with pytest.raises(MdgenError, match="not periodic"):
        ForceField(small).energy(chain, torch.ones(2, 3, dtype=torch.float64))


def test_fingerprint_follows_every_number(small: ForceFieldParameters) -> None:
    assert small.fingerprint == small.to(dtype=torch.float64).fingerprint
    assert small.born is not None
    changed = [
        replace(small, charges=small.charges * (1 + 1e-12)),
        replace(small, born=None),
        replace(small, born=replace(small.born, solvent_dielectric=80.0)),
        replace(small, coulomb_constant=COULOMB_AMBER),
    ]
    assert len({p.fingerprint for p in [small, *changed]}) == 5
    single = small.to(dtype=torch.float32)
    assert single.charges.dtype == torch.float32
    assert single.born is not None
    assert single.born.radius.dtype == torch.float32
    assert single.bond_atoms.dtype == torch.int64
