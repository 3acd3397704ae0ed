"""A reaction field that is switched off: smooth at both ends, the same in torch, kernel and OpenMM."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import openmm
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.engines.engine import make_engine
from mdgen.md.engines.kernel_engine import KernelEngine
from mdgen.md.engines.lanes.box.box_kernel import BoxKernel
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.parameters import Cutoff, ForceFieldParameters
from mdgen.md.force_field.terms.nonbonded import coulomb_energy, lennard_jones_energy
from mdgen.md.systems.build import build_system
from mdgen.md.systems.openmm_systems.openmm_export import to_openmm_system
from mdgen.md.systems.openmm_systems.openmm_loader import box_edges, load_openmm_system, system_from_openmm
from mdgen.md.systems.openmm_systems.openmm_reference import reference_errors, relative_error
from mdgen.md.systems.openmm_systems.openmm_switch import with_switched_coulomb
from mdgen.units import COULOMB_OPENMM
from tests.md.reference import openmm_energies_and_forces, strained
from tests.md.water import water_box

SMOOTH = Cutoff(1.0, 0.8, switch_coulomb=True)
PAIR = "S*4*epsilon*((sigma/r)^12-(sigma/r)^6)+T*{constant}*charge1*charge2*(1/r+{k}*r^2-{c})"
SWITCHES = "S=1-10*t^3+15*t^4-6*t^5;T=1-35*t^4+84*t^5-70*t^6+20*t^7;t=step(r-{first})*(r-{first})/({last}-{first})"
RULE = "sigma=0.5*(sigma1+sigma2);epsilon=sqrt(epsilon1*epsilon2)"


def pair_energy(cutoff: Cutoff) -> Callable[[torch.Tensor], torch.Tensor]:
    """Energy of a pair of unit charges with Lennard-Jones as a function of distance."""
    one = torch.ones(1, dtype=torch.float64)

    def energy(distance: torch.Tensor) -> torch.Tensor:
        r = distance.reshape(-1, 1)
        return lennard_jones_energy(r, 0.32 * one, 0.6 * one, cutoff) + coulomb_energy(r, -one, COULOMB_OPENMM, cutoff)

    return energy


def derivatives(energy: Callable[[torch.Tensor], torch.Tensor], distance: float) -> list[float]:
    """Energy and its first two derivatives."""
    r = torch.tensor([distance], dtype=torch.float64, requires_grad=True)
    values = [energy(r).sum()]
    for _ in range(2):
        values.append(torch.autograd.grad(values[-1], r, create_graph=True)[0].sum())
    return [value.item() for value in values]


def jumps(cutoff: Cutoff, at_nm: float, step_nm: float = 1e-7) -> np.ndarray:
    """Change of the energy and its first two derivatives over a small step across a distance."""
    energy = pair_energy(cutoff)
    return np.subtract(derivatives(energy, at_nm + step_nm), derivatives(energy, at_nm - step_nm))


@pytest.mark.parametrize("dielectric", [78.5, 1.0, 1e9])
@pytest.mark.parametrize("at_nm", [0.8, 1.0])
def test_energies_are_continuous_to_the_second_derivative(dielectric: float, at_nm: float) -> None:
    """Whatever is continuous changes in proportion to the step; third derivatives reach 1e6 here."""
    smooth = replace(SMOOTH, reaction_field_dielectric=dielectric)
    assert (np.abs(jumps(smooth, at_nm)) < [1e-4, 1e-3, 1.0]).all()
    assert (np.abs(jumps(smooth, at_nm, 1e-9)) < [1e-6, 1e-5, 1e-2]).all()


def test_the_reaction_field_is_continuous_to_the_third_derivative() -> None:
    one = torch.ones(1, dtype=torch.float64)

    def third(distance: float) -> float:
        r = torch.tensor([distance], dtype=torch.float64, requires_grad=True)
        value = coulomb_energy(r[None], one, COULOMB_OPENMM, replace(SMOOTH, reaction_field_dielectric=1.0)).sum()
        for _ in range(3):
            value = torch.autograd.grad(value, r, create_graph=True)[0].sum()
        return value.item()

    for end in (0.8, 1.0):
        assert abs(third(end + 1e-9) - third(end - 1e-9)) < 0.1
        assert abs(third(end + 1e-3) - third(end - 1e-3)) > 100.0


def test_otherwise_forces_jump_at_the_cutoff_or_their_slopes_do() -> None:
    force_of = replace(SMOOTH, switch_coulomb=False)
    assert abs(jumps(force_of, 1.0, 1e-9)[1]) > 1.0
    conductor = replace(force_of, reaction_field_dielectric=1e9)
    assert abs(jumps(conductor, 1.0, 1e-9)[1]) < 1e-5
    assert abs(jumps(conductor, 1.0, 1e-9)[2]) > 100.0


def smooth_water(rigid: bool = False) -> tuple[openmm.System, ForceFieldParameters, torch.Tensor, torch.Tensor]:
    """A box of water as OpenMM has it without the switch, parameters with it, edges, and positions off the minimum."""
    system, _, x = water_box(1.3, 0.6, 0.45, rigid)
    parameters, edges = load_openmm_system(system), box_edges(system)
    assert edges is not None
    assert parameters.cutoff is not None
    parameters = replace(parameters, cutoff=replace(parameters.cutoff, switch_coulomb=True))
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
    return system, parameters, edges[None], x + 0.004 * noise


def custom_water(system: openmm.System) -> openmm.System:
    """The system with whole pairs in one `CustomNonbondedForce`, written in full and without OpenMM's own switch."""
    copy = openmm.XmlSerializer.clone(system)
    index, plain = next((i, f) for i, f in enumerate(copy.getForces()) if isinstance(f, openmm.NonbondedForce))
    reach, first, eps = (
        plain.getCutoffDistance()._value,
        plain.getSwitchingDistance()._value,
        plain.getReactionFieldDielectric(),
    )
    k, c = (eps - 1) / (2 * eps + 1) / reach**3, 3 * eps / (2 * eps + 1) / reach
    pair, switches = PAIR.format(constant=COULOMB_OPENMM, k=k, c=c), SWITCHES.format(first=first, last=reach)
    force = openmm.CustomNonbondedForce(f"{pair};{switches};{RULE}")
    for name in ("charge", "sigma", "epsilon"):
        force.addPerParticleParameter(name)
    for i in range(plain.getNumParticles()):
        force.addParticle([number._value for number in plain.getParticleParameters(i)])
    for i in range(plain.getNumExceptions()):  # those of water have no energy
        force.addExclusion(*plain.getExceptionParameters(i)[:2])
    force.setNonbondedMethod(force.CutoffPeriodic)
    force.setCutoffDistance(reach)
    copy.removeForce(index)
    copy.addForce(force)
    return copy


def test_water_agrees_with_a_custom_force_of_openmm() -> None:
    system, parameters, cell, x = smooth_water()
    parameters = replace(parameters, cutoff=replace(parameters.cutoff, dispersion_kJ_nm3=0.0))
    energies, forces = openmm_energies_and_forces(custom_water(system), x[0].numpy())
    total, mine = ForceField(parameters).energy_and_forces(x, cell)
    assert float(total) == pytest.approx(sum(energies.values()), rel=1e-9)
    assert relative_error(mine[0].numpy(), forces) < 1e-8
    plain = ForceField(replace(parameters, cutoff=replace(parameters.cutoff, switch_coulomb=False)))
    assert relative_error(plain.energy_and_forces(x, cell)[1][0].numpy(), forces) > 1e-3


def test_openmm_is_handed_the_same_energies_term_by_term() -> None:
    system, _, cell, x = smooth_water()
    smooth = replace(system_from_openmm(system, x[0], switch_coulomb=True), cell=cell[0])
    errors, mine, theirs = reference_errors(smooth, x)
    assert set(errors) >= {"lennard_jones", "coulomb"}
    assert max(errors.values()) < 1e-8
    assert relative_error(mine, theirs) < 1e-8


def test_one_to_four_pairs_are_not_switched() -> None:
    """Exceptions have no cutoff, and so no switch: a peptide handed to OpenMM and compared term by term."""
    system = strained("WDHK", solvent="vacuum", constraints="none")
    cutoff = Cutoff(0.8, 0.5, periodic=False, switch_coulomb=True)
    parameters = replace(system.potential.parameters, cutoff=cutoff)
    field = ForceField(parameters, to_openmm_system(parameters))
    errors, mine, theirs = reference_errors(replace(system, potential=field), system.positions[None])
    assert max(errors.values()) < 1e-8
    assert relative_error(mine, theirs) < 1e-8


@pytest.mark.parametrize("precision", ["double", pytest.param("single", marks=pytest.mark.slow)])
def test_the_kernel_agrees_with_torch(precision: str) -> None:
    _, parameters, cell, x = smooth_water()
    kernel = BoxKernel(parameters, 1, 0.001, 300.0, 1.0, torch.Generator(), precision, 1)
    kernel.set_state(x, torch.zeros_like(x), cell)
    terms, forces = kernel.energies_and_forces()
    field = ForceField(parameters)
    energies, expected = field.energy_terms(x, cell), field.energy_and_forces(x, cell)[1]
    tolerance = {"double": 1e-10, "single": 3e-6}[precision]
    assert relative_error(forces[0], expected[0].numpy()) < tolerance
    whole = max(float(energy.abs().max()) for energy in energies.values())
    for name, energy in energies.items():
        assert abs(float(terms[name][0] - energy[0])) < tolerance * whole


def test_forces_are_the_slope_of_the_energy() -> None:
    _, parameters, cell, x = smooth_water()
    field, some = ForceField(parameters), torch.arange(0, 150, 40)

    def energy(moved: torch.Tensor) -> torch.Tensor:
        return field.energy(x.index_copy(1, some, moved), cell)

    start = x[:, some].clone().requires_grad_()
    assert torch.autograd.gradcheck(energy, start, eps=1e-6, rtol=1e-4, atol=1e-3)


def test_it_is_part_of_the_fingerprint() -> None:
    system, parameters, _, _ = smooth_water()
    assert load_openmm_system(system).fingerprint != parameters.fingerprint


def test_a_box_that_is_built_so_runs_on_every_engine() -> None:
    settings = {"force_field": "amber14", "solvent": "tip3p", "cutoff_nm": 0.7, "padding_nm": 0.5, "relax": False}
    system = build_system("A", **settings, switch_nm=0.6, switch_coulomb=True)
    assert system.potential.parameters.cutoff.switch_coulomb
    assert max(reference_errors(system, system.positions[None])[0].values()) < 1e-7
    for kind in ("torch", "openmm"):
        assert make_engine(system, Langevin(1.0, 300.0), 1, torch.Generator(), kind).name == kind
    assert KernelEngine.lacks(system, Langevin(1.0, 300.0)) is None


def test_mistakes_are_named() -> None:
    for wrong in ({"switch_nm": None}, {"switch_nm": 1.0}):
        with pytest.raises(MdgenError, match="give a switch_nm below the cutoff"):
            replace(SMOOTH, **wrong)
    with pytest.raises(MdgenError, match="Ewald sums have no end to smooth"):
        replace(SMOOTH, ewald=True)
    for given in ({}, {"cutoff_nm": 0.9}, {"cutoff_nm": 0.9, "switch_nm": 0.8, "long_range": "pme"}):
        with pytest.raises(MdgenError, match="switch_coulomb is set, but cutoff_nm is"):
            build_system("A", solvent="tip3p" if given else "vacuum", switch_coulomb=True, **given)
    system, parameters, _, _ = smooth_water()
    switched = with_switched_coulomb(system, parameters.cutoff)
    with pytest.raises(MdgenError, match="CustomNonbondedForce"):
        load_openmm_system(switched)
    with pytest.raises(MdgenError, match="give a cutoff with switch_coulomb"):
        with_switched_coulomb(system, load_openmm_system(system).cutoff)
    peptide = strained("A", solvent="vacuum")
    with pytest.raises(MdgenError, match="the system has no cutoff"):
        system_from_openmm(peptide.potential.openmm_system, peptide.positions, switch_coulomb=True)
