"""Generalised Born parameters from OpenMM's two ways of writing them.

`GBSAOBCForce` is a force of its own; `implicit/obc2.xml` and the AMBER reader write a `CustomGBForce` of algebraic
expressions, which is recognised by them and refused when it is any other model.
"""

import re
from math import pi
from typing import Any

import numpy as np
import openmm

from mdgen.errors import OnlyOpenMMError
from mdgen.md.force_field.parameters import BornParameters, ForceFieldParameters, NeckParameters
from mdgen.md.systems.openmm_systems.openmm_nonbonded import lookup_tables, number, plain, real

_OFFSET_NM = 0.009
_ACE_SURFACE_ENERGY = 28.3919551
_NUMBER = r"[-+]?\d[\d.e+-]*"
_DESCREENING = (
    "select(step(r+sr2-or1),0.5*(1/L-1/U+0.25*(r-sr2^2/r)*(1/(U^2)-1/(L^2))+0.5*log(L/U)/r),0);"
    "U=r+sr2;L=max(or1,D);D=abs(r-sr2)"
)
_WITH_NECK = re.compile(
    re.escape(
        "Ivdw+neckScale*Ineck;"
        "Ineck=step(radius1+radius2+neckCut-r)*getm0(radindex1,radindex2)/(1+100*(r-getd0(radindex1,radindex2))^2+"
        "0.3*1000000*(r-getd0(radindex1,radindex2))^6);"
        f"Ivdw={_DESCREENING};radius1=or1+offset;radius2=or2+offset;"
    )
    + f"neckScale=({_NUMBER});neckCut=({_NUMBER});offset=({_NUMBER})"
)
_RADIUS = re.compile(
    rf"1/\(1/or-tanh\((?P<alpha>alpha|{_NUMBER})?\*?psi(?:-(?P<beta>beta|{_NUMBER})\*psi\^2)?"
    rf"\+(?P<gamma>gamma|{_NUMBER})\*psi\^3\)/radius\);psi=I\*or;radius=or\+offset;offset=(?P<offset>{_NUMBER})"
)
_HCT_RADIUS = "1/(1/or-I)"
_OBC = {(0.8, 0.0, 2.909125): "OBC1", (1.0, 0.8, 4.85): "OBC2"}
_PER_ATOM = ["charge", "or", "sr"]
_DIELECTRICS = r"\*\(1/soluteDielectric-(?:1|exp\(-kappa\*{0}\))/solventDielectric\)\*"
_POLAR_SELF = re.compile(r"-0\.5\*138\.93548\d*" + _DIELECTRICS.format("B") + r"charge\^2/B")
_POLAR_PAIR = re.compile(
    r"-138\.93548\d*"
    + _DIELECTRICS.format("f")
    + rf"charge1\*charge2(?:/f|\*\(1/f-(?P<shift>{_NUMBER})\));f=sqrt\(r\^2\+B1\*B2\*exp\(-r\^2/\(4\*B1\*B2\)\)\)"
)
_SURFACE = re.compile(r"28\.3919551\*\(radius\+0\.14\)\^2\*\(radius/B\)\^6;radius=or\+offset")


def with_gbsa_force(system: openmm.System, parameters: ForceFieldParameters) -> openmm.System:
    """A system with OpenMM's `GBSAOBCForce` in place of the custom force for OBC2, which is many times slower."""
    born = parameters.born
    if born is None or born.kind != "OBC2" or born.kappa_per_nm or parameters.cutoff is not None:
        return system
    force = openmm.GBSAOBCForce()
    force.setSoluteDielectric(born.solute_dielectric)
    force.setSolventDielectric(born.solvent_dielectric)
    force.setSurfaceAreaEnergy(born.surface_energy / (4 * pi))
    for row in zip(parameters.charges.tolist(), born.radius.tolist(), born.scale.tolist(), strict=True):
        force.addParticle(*row)
    copy = openmm.XmlSerializer.clone(system)
    custom = [number for number, each in enumerate(copy.getForces()) if isinstance(each, openmm.CustomGBForce)]
    if not custom:
        return system
    copy.removeForce(custom[0])
    copy.addForce(force)
    return copy


def born_from_gbsa(force: openmm.GBSAOBCForce, charges: np.ndarray | None) -> BornParameters:
    """OBC2 from a `GBSAOBCForce`.

    Raises:
        OnlyOpenMMError: for nearest images, or charges that are not those of the `NonbondedForce`.
    """
    _require_no_images(force)
    units = openmm.unit.md_unit_system
    rows = [force.getParticleParameters(i) for i in range(force.getNumParticles())]
    _require_same_charges(np.array([row[0].value_in_unit_system(units) for row in rows]), charges)
    return BornParameters(
        kind="OBC2",
        radius=real([row[1].value_in_unit_system(units) for row in rows]),
        scale=real([row[2] for row in rows]),
        solute_dielectric=force.getSoluteDielectric(),
        solvent_dielectric=force.getSolventDielectric(),
        surface_energy=4.0 * np.pi * force.getSurfaceAreaEnergy().value_in_unit_system(units),
    )


def born_from_custom(force: openmm.CustomGBForce, charges: np.ndarray | None) -> BornParameters:
    """HCT, OBC1, OBC2, GBn or GBn2 from the `CustomGBForce` of `openmm.app.internal.customgbforces`.

    Raises:
        OnlyOpenMMError: if its expressions are those of another model or cutoff, or for nearest images.
    """
    unknown = OnlyOpenMMError(
        "the system's CustomGBForce is none of HCT, OBC1, OBC2, GBn and GBn2, the models that this engine has; build "
        "it with implicit/hct.xml, obc1.xml, obc2.xml, gbn.xml or gbn2.xml, or with one of these and a prmtop"
    )
    values = [plain(force.getComputedValueParameters(i)[1]) for i in range(force.getNumComputedValues())]
    names = [force.getPerParticleParameterName(i) for i in range(force.getNumPerParticleParameters())]
    radius = _RADIUS.fullmatch(values[1]) if len(values) == 2 else None
    with_neck = _WITH_NECK.fullmatch(values[0]) if radius else None
    hct = values[1:] == [_HCT_RADIUS]
    if not (radius or hct) or not (with_neck or values[0] == _DESCREENING) or names[:3] != _PER_ATOM:
        raise unknown
    _require_no_images(force)
    terms = [plain(force.getEnergyTermParameters(i)[0]) for i in range(force.getNumEnergyTerms())]
    found = [[term for term in terms if form.match(term)] for form in (_POLAR_SELF, _POLAR_PAIR, _SURFACE)]
    if [len(matching) for matching in found] not in ([1, 1, 0], [1, 1, 1]) or len(terms) != sum(map(len, found)):
        raise unknown
    _require_shift(force, found[1][0])
    values_of = force.getComputedValueParameters(0)[2]
    pair_terms = [force.getEnergyTermParameters(i)[1] for i, term in enumerate(terms) if _POLAR_PAIR.match(term)]
    if force.getNumExclusions() and {values_of, *pair_terms} != {openmm.CustomGBForce.ParticlePairNoExclusions}:
        raise OnlyOpenMMError(
            "the system's CustomGBForce excludes pairs, but this engine takes all; drop its exclusions"
        )
    settings = dict(re.findall(r"(\w+)=([-+.\deE]+)(?:;|$)", found[1][0]))
    table = np.array([force.getParticleParameters(i) for i in range(force.getNumParticles())], dtype=np.float64)
    _require_same_charges(table[:, 0], charges)
    columns = dict(zip(names, table.T, strict=True))
    coefficients: tuple[Any, ...] = (0.0, 0.0, 0.0)
    if radius is not None:
        coefficients = tuple(_coefficient(radius[name], columns, 1.0 if name == "alpha" else 0.0) for name in _TANH)
    obc = "HCT" if radius is None else _OBC.get(coefficients)
    kind = ("GBn2" if "alpha" in columns else "GBn") if with_neck else obc
    if kind is None:
        raise unknown
    offset = float(settings["offset"] if radius is None else radius["offset"])
    return BornParameters(
        kind=kind,
        radius=real(columns["or"] + offset),
        scale=real(columns["sr"] / columns["or"]),
        offset_nm=offset,
        **dict(zip(_TANH, coefficients, strict=True)),
        solute_dielectric=float(settings["soluteDielectric"]),
        solvent_dielectric=float(settings["solventDielectric"]),
        surface_energy=_ACE_SURFACE_ENERGY if found[2] else 0.0,
        kappa_per_nm=float(settings["kappa"]),
        neck=_neck(force, columns["radindex"].astype(int), with_neck) if with_neck else None,
    )


_TANH = ("alpha", "beta", "gamma")


def _coefficient(written: str | None, columns: dict[str, np.ndarray], missing: float) -> Any:
    """A coefficient of the hyperbolic tangent: a number, one an atom, or left out of the expression."""
    if written is None:
        return missing
    return real(columns[written]) if written in columns else float(written)


def _neck(force: openmm.CustomGBForce, index: np.ndarray, numbers: re.Match) -> NeckParameters:
    """The force's lookup tables, spread over pairs of atoms."""
    tables = {name: real(table[np.ix_(index, index)]) for name, table in lookup_tables(force).items()}
    return NeckParameters(tables["getd0"], tables["getm0"], scale=float(numbers[1]), cut_nm=float(numbers[2]))


def _require_no_images(force: Any) -> None:
    if force.getNonbondedMethod() > force.CutoffNonPeriodic:
        raise OnlyOpenMMError(
            f"the system's {type(force).__name__} is periodic, but generalised Born has no images here; build it with "
            "NoCutoff or CutoffNonPeriodic"
        )


def _require_shift(force: openmm.CustomGBForce, of_pairs: str) -> None:
    """Raise unless the energy of pairs is shifted by that at the cutoff, if there is one."""
    matched = _POLAR_PAIR.match(of_pairs)
    shift = float(matched["shift"] or 0.0) if matched else 0.0
    ends = force.getNonbondedMethod() != force.NoCutoff
    expected = 1 / number(force.getCutoffDistance()) if ends else 0.0
    if not np.isclose(shift, expected, rtol=1e-9, atol=0):
        end = f"a cutoff of {1 / expected:g} nm" if ends else "no cutoff"
        raise OnlyOpenMMError(
            f"the system's CustomGBForce has {end}, but its formula shifts 1/f by {shift:g}/nm instead of "
            f"{expected:g}/nm; build the formula for that cutoff"
        )


def _require_same_charges(of_born: np.ndarray, charges: np.ndarray | None) -> None:
    if charges is None or not np.allclose(of_born, charges, rtol=0, atol=1e-10):
        raise OnlyOpenMMError(
            "the generalised Born force has other charges than the NonbondedForce, but this engine keeps one set; "
            "make the two agree"
        )
