"""Lennard-Jones and Coulomb of an `openmm.System`, and how they end at a cutoff."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import openmm
import torch
from jaxtyping import Float
from torch import Tensor

from mdgen.errors import OnlyOpenMMError
from mdgen.md.force_field.parameters import Cutoff, ForceFieldParameters
from mdgen.md.force_field.terms.nonbonded import dispersion_correction, pair_kinds

_METHODS = ["NoCutoff", "CutoffNonPeriodic", "CutoffPeriodic", "Ewald", "PME", "LJPME"]


def nonbonded_tables(force: openmm.NonbondedForce) -> dict[str, list]:
    """Charges, sigmas, epsilons and exceptions, by the names of `ForceFieldParameters`.

    Raises:
        OnlyOpenMMError: for parameter offsets, exceptions in the nearest image, or pairs that are left out as a whole.
    """
    if force.getNumParticleParameterOffsets() or force.getNumExceptionParameterOffsets():
        raise OnlyOpenMMError(
            "the system's NonbondedForce has parameter offsets, which this engine does not have; drop them"
        )
    if force.usesPeriodicBoundaryConditions() and force.getExceptionsUsePeriodicBoundaryConditions():
        raise OnlyOpenMMError(
            "the system's NonbondedForce takes nearest images of exceptions, but this engine keeps molecules whole; "
            "switch that off (setExceptionsUsePeriodicBoundaryConditions(False))"
        )
    if not force.getIncludeDirectSpace():
        raise OnlyOpenMMError(
            "the system's NonbondedForce leaves out its direct space, which this engine does not; "
            "switch it on (setIncludeDirectSpace(True))"
        )
    atoms = [force.getParticleParameters(i) for i in range(force.getNumParticles())]
    exceptions = [force.getExceptionParameters(i) for i in range(force.getNumExceptions())]
    return {
        "charges": [number(charge) for charge, _, _ in atoms],
        "sigma": [number(sigma) for _, sigma, _ in atoms],
        "epsilon": [number(epsilon) for *_, epsilon in atoms],
        "exception_atoms": [(i, j) for i, j, *_ in exceptions],
        "exception_charge_product": [number(row[2]) for row in exceptions],
        "exception_sigma": [number(row[3]) for row in exceptions],
        "exception_epsilon": [number(row[4]) for row in exceptions],
    }


def cutoff_from(
    force: openmm.NonbondedForce,
    custom: openmm.CustomNonbondedForce | None,
    parameters: ForceFieldParameters,
    ewald: bool = False,
) -> Cutoff | None:
    """Where pairs end, and what is beyond; None without a cutoff.

    Args:
        force: has Coulomb, and Lennard-Jones unless `custom` has it.
        custom: Lennard-Jones by a table of types, if the system has it.
        parameters: Lennard-Jones, with the table of `custom`.
        ewald: whether to accept Ewald sums, which engine=openmm computes.

    Raises:
        OnlyOpenMMError: for Ewald sums, or where `custom` ends elsewhere.
    """
    method = _METHODS[force.getNonbondedMethod()]
    if method not in _METHODS[: 5 if ewald else 3]:
        raise OnlyOpenMMError(
            f"the system's NonbondedForce uses {method}, which this engine does not have; run it with engine=openmm, "
            "or build it with a cutoff and reaction field (CutoffPeriodic) or without cutoff"
        )
    of_lennard_jones = custom if custom is not None else force
    if custom is not None:
        require_same_reach(custom, force)
    if method == "NoCutoff":
        return None
    cutoff = Cutoff(
        distance_nm=number(force.getCutoffDistance()),
        switch_nm=number(of_lennard_jones.getSwitchingDistance())
        if of_lennard_jones.getUseSwitchingFunction()
        else None,
        reaction_field_dielectric=force.getReactionFieldDielectric(),
        periodic=method != "CutoffNonPeriodic",
        ewald=method in ("Ewald", "PME"),
    )
    corrected = custom.getUseLongRangeCorrection() if custom is not None else force.getUseDispersionCorrection()
    if not cutoff.periodic or not corrected:
        return cutoff
    table = parameters.pair_table or pair_kinds(parameters.sigma, parameters.epsilon)
    count = torch.bincount(table.kind, minlength=len(table.sigma))
    return replace(cutoff, dispersion_kJ_nm3=float(dispersion_correction(count, table.sigma, table.epsilon, cutoff)))


def require_same_reach(force: Any, nonbonded: openmm.NonbondedForce) -> None:
    """Raise unless another force ends where the `NonbondedForce` does.

    Raises:
        OnlyOpenMMError: for another method or cutoff.
    """
    if _reach(force) != _reach(nonbonded):
        raise OnlyOpenMMError(
            f"the system's {type(force).__name__} ends elsewhere than its NonbondedForce "
            f"({_shown(force)} instead of {_shown(nonbonded)}), but this engine has one cutoff; make the two agree"
        )


def _shown(force: Any) -> str:
    method, reach_nm = _reach(force)
    return f"{_METHODS[method]}{f' at {reach_nm:g} nm' if method else ''}"


def _reach(force: Any) -> tuple[int, float]:
    """Method and cutoff; beside Ewald sums Lennard-Jones is cut in the nearest image."""
    method = min(force.getNonbondedMethod(), 2)
    return method, 0.0 if method == force.NoCutoff else number(force.getCutoffDistance())


def number(quantity: Any) -> float:
    """A quantity as a float in OpenMM's unit system, which is ours."""
    return float(quantity.value_in_unit_system(openmm.unit.md_unit_system))


def real(values: Any) -> Tensor:
    """Numbers as a tensor in double precision."""
    return torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float64)


def plain(expression: str) -> str:
    """An expression without white space."""
    return re.sub(r"\s", "", expression)


def lookup_tables(force: Any) -> dict[str, Float[np.ndarray, "first second"]]:
    """The tables in two dimensions that a custom force looks numbers up in, by name."""
    tables = {}
    for i in range(force.getNumTabulatedFunctions()):
        columns, rows, values = force.getTabulatedFunction(i).getFunctionParameters()
        # The first argument runs fastest.
        tables[force.getTabulatedFunctionName(i)] = np.array(values).reshape(rows, columns).T
    return tables
