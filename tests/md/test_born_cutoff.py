"""Generalised Born with a cutoff: against OpenMM, there and back, from a sequence, and what is refused."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import openmm
import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.engines.engine import passed_over
from mdgen.md.force_field import force_field
from mdgen.md.force_field.force_field import ForceField
from mdgen.md.force_field.parameters import Cutoff
from mdgen.md.systems.build import build_system
from mdgen.md.systems.openmm_systems.openmm_export import to_openmm_system
from mdgen.md.systems.openmm_systems.openmm_loader import load_openmm_system
from mdgen.units import COULOMB_OPENMM
from tests.md.born_cutoff import MODELS, cutoff_between_pairs, force_of, openmm_system, positions
from tests.md.reference import openmm_energies_and_forces

FORMULA_CONSTANT = 138.935485
"""Coulomb's constant as OpenMM writes it in formulas of generalised Born."""


def errors(system: openmm.System, x: torch.Tensor) -> tuple[float, float, float]:
    """Differences to OpenMM of pairs and solvation in kJ/mol, and of forces, relative."""
    field = ForceField(load_openmm_system(system))
    mine = {name: float(energy) for name, energy in field.energy_terms(x).items()}
    theirs, expected = openmm_energies_and_forces(system, x[0].numpy())
    forces = field.energy_and_forces(x)[1][0].numpy()
    factor = FORMULA_CONSTANT / COULOMB_OPENMM if "CustomGBForce" in theirs else 1.0
    solvation = theirs.get("CustomGBForce", theirs.get("GBSAOBCForce", 0.0))
    return (
        mine["lennard_jones"] + mine["coulomb"] - theirs["NonbondedForce"],
        factor * mine["born"] + mine["surface"] - solvation,
        float(np.linalg.norm(forces - expected) / np.linalg.norm(expected)),
    )


@pytest.mark.parametrize("cutoff_nm", [0.6, 0.9])
@pytest.mark.parametrize(
    ("model", "settings"),
    [
        *((model, {}) for model in (*MODELS, "gbsa")),
        *((model, {"kappa_per_nm": 3.0}) for model in MODELS),
        ("obc2", {"dielectric": 78.3, "switch_nm": 0.5}),
        ("gbsa", {"dielectric": 1.0}),
    ],
)
def test_every_model_ends_where_openmms_does(model: str, settings: dict, cutoff_nm: float) -> None:
    x = positions()
    assert 0.1 < float((torch.pdist(x[0]) > cutoff_nm).double().mean()) < 0.8
    of_pairs, of_solvation, of_forces = errors(openmm_system(model, cutoff_nm, **settings), x)
    assert abs(of_pairs) < 1e-9
    assert abs(of_solvation) < 1e-9
    assert of_forces < (1e-12 if model == "gbsa" else 2e-8)  # formulas round the constant by 2e-7


@pytest.mark.parametrize("model", ["obc2", "gbn2", "gbsa"])
def test_a_cutoff_beyond_all_pairs_only_shifts_the_energy(model: str) -> None:
    x, radius = positions(), 10.0
    ended, whole = (ForceField(load_openmm_system(openmm_system(model, end, dielectric=1.0))) for end in (radius, None))
    torch.testing.assert_close(ended.energy_and_forces(x)[1], whole.energy_and_forces(x)[1], rtol=1e-9, atol=1e-9)
    p = whole.parameters
    pairs = p.charges[:, None].mul(p.charges).triu(1).sum()
    transfer = 1 / p.born.solute_dielectric - 1 / p.born.solvent_dielectric
    shift = ended.energy_terms(x)["born"] - whole.energy_terms(x)["born"]
    torch.testing.assert_close(shift, (p.coulomb_constant * transfer * pairs / radius)[None], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kappa_per_nm", [0.0, 3.0])
@pytest.mark.parametrize("model", ["obc2", "gbn2"])
def test_forces_are_minus_the_slope_of_the_energy_away_from_the_cutoff(model: str, kappa_per_nm: float) -> None:
    x = positions()
    cutoff = cutoff_between_pairs(x, 0.8)
    field = ForceField(load_openmm_system(openmm_system(model, cutoff, kappa_per_nm=kappa_per_nm)))
    direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=x.dtype)
    step = 1e-6
    slope = (field.energy(x + step * direction) - field.energy(x - step * direction)) / (2 * step)
    along = (field.energy_and_forces(x)[1] * direction).sum((1, 2))
    torch.testing.assert_close(-slope, along, rtol=1e-6, atol=1e-4)


def test_listed_pairs_give_what_all_pairs_give(monkeypatch: pytest.MonkeyPatch) -> None:
    x, parameters = positions(2), load_openmm_system(openmm_system("obc2"))
    expected = ForceField(parameters).energy_terms(x)
    monkeypatch.setattr(force_field, "_ALL_PAIRS", 10)
    for name, energy in ForceField(parameters).energy_terms(x).items():
        torch.testing.assert_close(energy, expected[name], rtol=1e-12, atol=1e-9, msg=name)


@pytest.mark.parametrize("cutoff_nm", [None, 0.8])
@pytest.mark.parametrize(
    ("model", "kappa_per_nm"),
    [*((model, 0.0) for model in (*MODELS, "gbsa")), *((model, 2.0) for model in MODELS)],
)
def test_the_way_to_openmm_and_back_changes_nothing(model: str, kappa_per_nm: float, cutoff_nm: float | None) -> None:
    x, parameters = positions(), load_openmm_system(openmm_system(model, cutoff_nm, kappa_per_nm=kappa_per_nm))
    made = to_openmm_system(parameters)
    assert not made.usesPeriodicBoundaryConditions()
    again = load_openmm_system(made)
    assert again.cutoff == parameters.cutoff
    terms = ForceField(again).energy_terms(x)
    for name, energy in ForceField(parameters).energy_terms(x).items():
        torch.testing.assert_close(terms[name], energy, rtol=1e-9, atol=1e-9, msg=name)
    theirs, _ = openmm_energies_and_forces(made, x[0].numpy())
    assert sum(theirs.values()) == pytest.approx(float(ForceField(parameters).energy(x)), abs=4e-3)


def test_a_surface_energy_of_ones_own_is_handed_to_openmm_or_refused() -> None:
    obc2, gbn2 = (load_openmm_system(openmm_system(model)) for model in ("obc2", "gbn2"))
    own = replace(obc2, born=replace(obc2.born, surface_energy=1.0))
    assert load_openmm_system(to_openmm_system(own)).born.surface_energy == pytest.approx(1.0)
    for change in ({"surface_energy": 1.0}, {"offset_nm": 0.01}, {"neck": replace(gbn2.born.neck, scale=1.0)}):
        with pytest.raises(MdgenError, match=f"GBn2 has another {next(iter(change))}"):
            to_openmm_system(replace(gbn2, born=replace(gbn2.born, **change)))
    with pytest.raises(MdgenError, match="Radii must be between 1 and 2 Angstroms"):
        to_openmm_system(replace(gbn2, born=replace(gbn2.born, radius=2 * gbn2.born.radius)))


def test_a_sequence_in_implicit_solvent_takes_a_cutoff() -> None:
    without, system, other = (
        build_system("A", solvent="obc2", cutoff_nm=end, switch_nm=switch, relax=end == 0.8)
        for end, switch in ((None, None), (0.8, 0.7), (0.9, 0.7))
    )
    assert system.cell is None
    assert system.potential.parameters.cutoff == Cutoff(0.8, 0.7, 1.0, periodic=False)
    assert len({each.potential.fingerprint for each in (without, system, other)}) == 3
    assert passed_over(system, Langevin(2.0, 300.0)) == {}


def with_periodic_images(system: openmm.System) -> None:
    force_of(system, openmm.CustomGBForce).setNonbondedMethod(openmm.CustomGBForce.CutoffPeriodic)


def with_periodic_images_of_gbsa(system: openmm.System) -> None:
    force_of(system, openmm.GBSAOBCForce).setNonbondedMethod(openmm.GBSAOBCForce.CutoffPeriodic)


def with_another_cutoff_of_gbsa(system: openmm.System) -> None:
    force_of(system, openmm.GBSAOBCForce).setCutoffDistance(0.9)


def with_another_cutoff_of_pairs(system: openmm.System) -> None:
    force_of(system, openmm.NonbondedForce).setCutoffDistance(0.9)


def without_cutoff_of_pairs(system: openmm.System) -> None:
    force_of(system, openmm.NonbondedForce).setNonbondedMethod(openmm.NonbondedForce.NoCutoff)


def with_a_cutoff_that_the_formula_does_not_know(system: openmm.System) -> None:
    for kind in (openmm.NonbondedForce, openmm.CustomGBForce):
        force_of(system, kind).setCutoffDistance(0.9)


def with_a_formula_of_a_cutoff_only(system: openmm.System) -> None:
    for kind in (openmm.NonbondedForce, openmm.CustomGBForce):
        force_of(system, kind).setNonbondedMethod(kind.NoCutoff)


@pytest.mark.parametrize(
    ("model", "change", "complaint"),
    [
        ("gbn2", with_periodic_images, "CustomGBForce is periodic, but generalised Born has no images"),
        ("gbsa", with_periodic_images_of_gbsa, "GBSAOBCForce is periodic, but generalised Born has no images"),
        ("gbsa", with_another_cutoff_of_gbsa, r"GBSAOBCForce ends elsewhere .*0\.9 nm instead of .*0\.8 nm"),
        ("obc2", with_another_cutoff_of_pairs, r"CustomGBForce ends elsewhere .*0\.8 nm instead of .*0\.9 nm"),
        ("hct", without_cutoff_of_pairs, r"CustomGBForce ends elsewhere .*instead of NoCutoff"),
        (
            "obc1",
            with_a_cutoff_that_the_formula_does_not_know,
            r"cutoff of 0\.9 nm, but its formula shifts .* by 1\.25",
        ),
        ("gbn", with_a_formula_of_a_cutoff_only, r"no cutoff, but its formula shifts 1/f by 1\.25/nm instead of 0/nm"),
    ],
)
def test_what_is_not_honoured_is_refused(model: str, change: Callable[[openmm.System], None], complaint: str) -> None:
    system = openmm_system(model)
    load_openmm_system(system)
    change(system)
    with pytest.raises(MdgenError, match=complaint):
        load_openmm_system(system)


def test_no_force_field_has_generalised_born_in_a_box() -> None:
    parameters = load_openmm_system(openmm_system("obc2"))
    with pytest.raises(MdgenError, match="knows no images"):
        replace(parameters, cutoff=replace(parameters.cutoff, periodic=True))
