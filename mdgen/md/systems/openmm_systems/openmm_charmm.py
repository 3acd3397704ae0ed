"""CHARMM's terms as OpenMM writes them: correction maps, harmonic impropers, Lennard-Jones by a table of types.

OpenMM writes several of them as algebraic expressions, which are recognised and refused when they say anything else.
"""

import re

import numpy as np
import openmm
import torch
from torch import Tensor

from mdgen.errors import OnlyOpenMMError
from mdgen.md.force_field.parameters import CorrectionMaps, HarmonicImpropers, PairTable
from mdgen.md.systems.openmm_systems.openmm_nonbonded import lookup_tables, plain, real

_NUMBER = r"[-+]?\d[\d.e+-]*"
_IMPROPER = re.compile(
    rf"k\*min\(dtheta,2\*(?:pi|{_NUMBER})-dtheta\)\^2;dtheta=abs\(theta-theta0\)(?:;pi={_NUMBER})?;?"
)
_UNWRAPPED_IMPROPER = re.compile(r"k\*\(theta-theta0\)\^2;?")
_GROMACS_IMPROPER = re.compile(
    rf"0\.5\*k\*\(thetap-theta0\)\^2;thetap=step\(-\(theta-theta0\+pi\)\)\*2\*pi\+theta\+"
    rf"step\(theta-theta0-pi\)\*\(-2\*pi\);pi={_NUMBER}"
)
_TABLE = re.compile(r"acoef\(type1,type2\)/r\^12-bcoef\(type1,type2\)/r\^6;?")
_TABLE_OF_ROOTS = re.compile(r"\(a/r6\)\^2-b/r6;r6=r\^6;a=acoef\(type1,type2\);b=bcoef\(type1,type2\);?")
_SCALED_14 = re.compile(rf"({_NUMBER})\*epsilon\*\(\(sigma/r\)\^12-\(sigma/r\)\^6\);?")


def impropers_from(force: openmm.CustomTorsionForce) -> HarmonicImpropers | None:
    """Harmonic impropers; None of a force without terms.

    Raises:
        OnlyOpenMMError: if the force is anything else.
    """
    if force.getNumTorsions() == 0:
        return None
    written = plain(force.getEnergyFunction())
    names = [force.getPerTorsionParameterName(i) for i in range(force.getNumPerTorsionParameters())]
    half = _GROMACS_IMPROPER.fullmatch(written)
    unwrapped = _UNWRAPPED_IMPROPER.fullmatch(written)
    if not (half or unwrapped or _IMPROPER.fullmatch(written)) or set(names) != {"k", "theta0"}:
        raise OnlyOpenMMError(_unknown("CustomTorsionForce", force, "harmonic impropers"))
    rows = [force.getTorsionParameters(i) for i in range(force.getNumTorsions())]
    values = np.array([row[4] for row in rows])
    theta0 = values[:, names.index("theta0")]
    if unwrapped and theta0.any():  # about 0 the short way round is the only one
        raise OnlyOpenMMError(_unknown("CustomTorsionForce", force, "harmonic impropers that go the short way round"))
    return HarmonicImpropers(
        atoms=torch.tensor([row[:4] for row in rows]),
        theta0=real(theta0),
        k=real(values[:, names.index("k")] * (0.5 if half else 1.0)),
    )


def correction_maps_from(force: openmm.CMAPTorsionForce) -> CorrectionMaps | None:
    """Correction maps; None of a force without terms.

    Raises:
        OnlyOpenMMError: if its maps differ in size.
    """
    if force.getNumTorsions() == 0:
        return None
    maps = [force.getMapParameters(i) for i in range(force.getNumMaps())]
    sizes = {size for size, _ in maps}
    if len(sizes) != 1:
        raise OnlyOpenMMError(
            f"the system's correction maps have sizes {sorted(sizes)}, but this engine expects one size for all"
        )
    size = sizes.pop()
    tables = [np.array(values.value_in_unit(openmm.unit.kilojoule_per_mole)) for _, values in maps]
    rows = [force.getTorsionParameters(i) for i in range(force.getNumTorsions())]
    return CorrectionMaps(
        atoms=torch.tensor([row[1:] for row in rows]),
        which=torch.tensor([row[0] for row in rows]),
        energy=real(np.stack([table.reshape(size, size).T for table in tables])),
    )


def pair_table_from(force: openmm.CustomNonbondedForce, exceptions: Tensor) -> PairTable:
    """Lennard-Jones by types, with NBFIX; the pairs it leaves out must be the exceptions of the `NonbondedForce`.

    Raises:
        OnlyOpenMMError: if the force is anything else, or leaves out other pairs.
    """
    written = plain(force.getEnergyFunction())
    roots = _TABLE_OF_ROOTS.fullmatch(written)
    names = [force.getPerParticleParameterName(i) for i in range(force.getNumPerParticleParameters())]
    if not (roots or _TABLE.fullmatch(written)) or names != ["type"] or force.getNumInteractionGroups():
        raise OnlyOpenMMError(_unknown("CustomNonbondedForce", force, "Lennard-Jones by a table of types"))
    excluded = {tuple(sorted(force.getExclusionParticles(i))) for i in range(force.getNumExclusions())}
    if excluded != {tuple(sorted(pair)) for pair in exceptions.tolist()}:
        raise OnlyOpenMMError(
            "the system's CustomNonbondedForce excludes other pairs than its NonbondedForce, but this engine keeps one "
            "list; make the two agree"
        )
    tables = lookup_tables(force)
    twelfth, sixth = tables["acoef"] ** (2 if roots else 1), tables["bcoef"]
    some = (twelfth > 0) & (sixth > 0)
    if not np.array_equal(some, (twelfth != 0) | (sixth != 0)):
        raise OnlyOpenMMError(
            "the system's Lennard-Jones table repels or attracts alone, which this engine does not have"
        )
    # OpenMM numbers types in the order of a set, which differs between processes; ours is that of first appearance.
    types = [int(force.getParticleParameters(i)[0]) for i in range(force.getNumParticles())]
    order = list(dict.fromkeys(types))
    twelfth, sixth, some = (table[np.ix_(order, order)] for table in (twelfth, sixth, some))
    safe_twelfth, safe_sixth = np.where(some, twelfth, 1.0), np.where(some, sixth, 1.0)
    return PairTable(
        kind=torch.tensor([order.index(each) for each in types]),
        sigma=real((safe_twelfth / safe_sixth) ** (1 / 6)),
        epsilon=real(np.where(some, safe_sixth**2 / (4 * safe_twelfth), 0.0)),
    )


def exceptions_from_bonds(force: openmm.CustomBondForce, tables: dict[str, list]) -> None:
    """Enter the Lennard-Jones of 1-4 pairs, kept as bonds, among the exceptions of the `NonbondedForce`.

    Raises:
        OnlyOpenMMError: if the force is anything else.
    """
    if force.getNumBonds() == 0:
        return
    form = _SCALED_14.fullmatch(plain(force.getEnergyFunction()))
    names = [force.getPerBondParameterName(i) for i in range(force.getNumPerBondParameters())]
    if form is None or names != ["sigma", "epsilon"]:
        raise OnlyOpenMMError(_unknown("CustomBondForce", force, "scaled 1-4 pairs"))
    row_of = {tuple(sorted(pair)): row for row, pair in enumerate(tables.get("exception_atoms", []))}
    for i in range(force.getNumBonds()):
        first, second, (sigma, epsilon) = force.getBondParameters(i)
        row = row_of.get(tuple(sorted((first, second))))
        if row is None or tables["exception_epsilon"][row] != 0.0:
            raise OnlyOpenMMError(
                f"atoms {first} and {second} have a CustomBondForce on top of their normal interaction, which this "
                "engine does not have; make them an exception of the NonbondedForce"
            )
        tables["exception_sigma"][row] = sigma
        tables["exception_epsilon"][row] = float(form[1]) * epsilon / 4


def _unknown(kind: str, force: openmm.Force, known: str) -> str:
    return (
        f"the system has a {kind} ({force.getName()}) of energy {force.getEnergyFunction()!r}, which this engine does "
        f"not have; it knows {known} only"
    )
