"""Generalised Born parameters from OpenMM's two ways of writing them.

`GBSAOBCForce` is a force of its own; `implicit/obc2.xml` and the AMBER reader write a `CustomGBForce` of algebraic
expressions, which is recognised by them and refused when it is any other model.
"""

import re
from typing import Any

import numpy as np
import openmm
import torch
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.md.parameters import BornParameters

_OFFSET_NM = 0.009
_ACE_SURFACE_ENERGY = 28.3919551
_DESCREENING = (
    "select(step(r+sr2-or1),0.5*(1/L-1/U+0.25*(r-sr2^2/r)*(1/(U^2)-1/(L^2))+0.5*log(L/U)/r),0);"
    "U=r+sr2;L=max(or1,D);D=abs(r-sr2)"
)
_BORN_RADIUS = {
    "1/(1/or-tanh(0.8*psi+2.909125*psi^3)/radius);psi=I*or;radius=or+offset;offset=0.009": ("OBC1", 0.8, 0.0, 2.909125),
    "1/(1/or-tanh(psi-0.8*psi^2+4.85*psi^3)/radius);psi=I*or;radius=or+offset;offset=0.009": ("OBC2", 1.0, 0.8, 4.85),
}
_POLAR_SELF = re.compile(r"-0\.5\*138\.93548\d*\*\(1/soluteDielectric-1/solventDielectric\)\*charge\^2/B")
_POLAR_PAIR = re.compile(
    r"-138\.93548\d*\*\(1/soluteDielectric-1/solventDielectric\)\*charge1\*charge2/f;"
    r"f=sqrt\(r\^2\+B1\*B2\*exp\(-r\^2/\(4\*B1\*B2\)\)\)"
)
_SURFACE = re.compile(r"28\.3919551\*\(radius\+0\.14\)\^2\*\(radius/B\)\^6;radius=or\+offset")


def born_from_gbsa(force: openmm.GBSAOBCForce, charges: np.ndarray | None) -> BornParameters:
    """OBC2 from a `GBSAOBCForce`.

    Raises:
        MdgenError: for a cutoff, or charges that are not those of the `NonbondedForce`.
    """
    if force.getNonbondedMethod() != openmm.GBSAOBCForce.NoCutoff:
        raise MdgenError("the system's GBSAOBCForce has a cutoff, but this engine has none; build it with NoCutoff")
    units = openmm.unit.md_unit_system
    rows = [force.getParticleParameters(i) for i in range(force.getNumParticles())]
    _require_same_charges(np.array([row[0].value_in_unit_system(units) for row in rows]), charges)
    return BornParameters(
        kind="OBC2",
        radius=_real([row[1].value_in_unit_system(units) for row in rows]),
        scale=_real([row[2] for row in rows]),
        solute_dielectric=force.getSoluteDielectric(),
        solvent_dielectric=force.getSolventDielectric(),
        surface_energy=4.0 * np.pi * force.getSurfaceAreaEnergy().value_in_unit_system(units),
    )


def born_from_custom(force: openmm.CustomGBForce, charges: np.ndarray | None) -> BornParameters:
    """OBC1 or OBC2 from the `CustomGBForce` of `openmm.app.internal.customgbforces`.

    Raises:
        MdgenError: if its expressions are those of another model (HCT, GBn, GBn2, salt), or it has a cutoff.
    """
    unknown = MdgenError(
        "the system's CustomGBForce is neither OBC1 nor OBC2 without salt, the models that this engine has; "
        "build it with implicit/obc1.xml or implicit/obc2.xml (OBC1 or OBC2 with a prmtop) and no salt"
    )
    values = [_plain(force.getComputedValueParameters(i)[1]) for i in range(force.getNumComputedValues())]
    names = [force.getPerParticleParameterName(i) for i in range(force.getNumPerParticleParameters())]
    if (
        names != ["charge", "or", "sr"]
        or len(values) != 2
        or values[0] != _DESCREENING
        or values[1] not in _BORN_RADIUS
    ):
        raise unknown
    if force.getNonbondedMethod() != openmm.CustomGBForce.NoCutoff:
        raise MdgenError("the system's CustomGBForce has a cutoff, but this engine has none; build it with NoCutoff")
    terms = [_plain(force.getEnergyTermParameters(i)[0]) for i in range(force.getNumEnergyTerms())]
    polar_self = [term for term in terms if _POLAR_SELF.match(term)]
    polar_pair = [term for term in terms if _POLAR_PAIR.match(term)]
    surface = [term for term in terms if _SURFACE.match(term)]
    if len(polar_self) != 1 or len(polar_pair) != 1 or len(surface) > 1 or len(terms) != 2 + len(surface):
        raise unknown
    settings = dict(re.findall(r"(\w+)=([-+.\deE]+)(?:;|$)", polar_pair[0]))
    table = np.array([force.getParticleParameters(i) for i in range(force.getNumParticles())], dtype=np.float64)
    _require_same_charges(table[:, 0], charges)
    kind, alpha, beta, gamma = _BORN_RADIUS[values[1]]
    return BornParameters(
        kind=kind,
        radius=_real(table[:, 1] + _OFFSET_NM),
        scale=_real(table[:, 2] / table[:, 1]),
        offset_nm=_OFFSET_NM,
        alpha=alpha,
        beta=beta,
        gamma=gamma,
        solute_dielectric=float(settings["soluteDielectric"]),
        solvent_dielectric=float(settings["solventDielectric"]),
        surface_energy=_ACE_SURFACE_ENERGY if surface else 0.0,
    )


def _require_same_charges(of_born: np.ndarray, charges: np.ndarray | None) -> None:
    if charges is None or not np.allclose(of_born, charges, rtol=0, atol=1e-10):
        raise MdgenError(
            "the generalised Born force has other charges than the NonbondedForce, but this engine keeps one set; "
            "make the two agree"
        )


def _plain(expression: str) -> str:
    return re.sub(r"\s", "", expression)


def _real(values: Any) -> Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float64)
