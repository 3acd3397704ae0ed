"""Pair interactions as functions of distance, and the numbers of a cutoff, shared by all kernels.

Numbers of a pair are lane values or numbers alike. Lennard-Jones is given by `a = 48 epsilon sigma^12` and
`b = 24 epsilon sigma^6`, the factors of its force.
"""

from typing import Any, NamedTuple

import numpy as np

from mdgen.md.force_field.parameters import Cutoff
from mdgen.simd.jit import lane_function
from mdgen.simd.lane_instructions import maximum, minimum
from mdgen.simd.lanes import filled


class CutoffTables(NamedTuple):
    """Numbers of a cutoff; `number` is float32 or float64.

    Kernels without a cutoff have None instead of it, which is known when they are compiled and costs them nothing.

    Args:
        square: number (1,): square of the cutoff.
        inverse: number (1,): inverse of the cutoff, which generalised Born subtracts from that of `f`.
        field: number (2,): reaction field's k and c, see `reaction_field`.
        switch: number (2,): where the switch begins and its inverse width; None where Lennard-Jones is cut.
    """

    square: np.ndarray
    inverse: np.ndarray
    field: np.ndarray
    switch: np.ndarray | None


def cutoff_tables(cutoff: Cutoff, dtype: type) -> CutoffTables:
    """Lay out a cutoff in `dtype`, numpy's float32 or float64."""
    distance = cutoff.distance_nm
    switch: np.ndarray | None = None
    if cutoff.switch_nm is not None and cutoff.switch_nm < distance:
        switch = np.array([cutoff.switch_nm, 1 / (distance - cutoff.switch_nm)], dtype)
    return CutoffTables(
        square=np.array([distance**2], dtype),
        inverse=np.array([1 / distance], dtype),
        field=np.array(cutoff.reaction_field, dtype),
        switch=switch,
    )


@lane_function
def lennard_jones(inverse_square: Any, a: Any, b: Any) -> Any:
    """`r F` in kJ/mol, for the force F along the pair, and the energy, from `1/r^2`."""
    inverse_six = inverse_square * inverse_square * inverse_square
    energy = (a * inverse_six * (1.0 / 12.0) - b * (1.0 / 6.0)) * inverse_six
    return (a * inverse_six - b) * inverse_six, energy


@lane_function
def switched(pull: Any, energy: Any, r: Any, switch: Any) -> Any:
    """`r F` and energy times the switching function `1 - 10 t^3 + 15 t^4 - 6 t^5`, t from 0 to 1 over the switch.

    Args:
        pull: `r F` without the switch.
        energy: energy without the switch.
        r: distance in nm.
        switch: distance where the switch begins, and its inverse width; None without a switch.
    """
    if switch is None:
        return pull, energy
    t = minimum(maximum((r - switch[0]) * switch[1], 0.0), 1.0)
    value = 1.0 - t * t * t * (10.0 - t * (15.0 - 6.0 * t))
    slope = (-30.0 * switch[1]) * (t * t) * ((1.0 - t) * (1.0 - t))
    return pull * value - energy * slope * r, energy * value


@lane_function
def switched_smoothly(pull: Any, energy: Any, r: Any, switch: Any) -> Any:
    """The same with `1 - 35 t^4 + 84 t^5 - 70 t^6 + 20 t^7`, whose third derivatives are continuous as well."""
    t = minimum(maximum((r - switch[0]) * switch[1], 0.0), 1.0)
    value = 1.0 - (t * t) * (t * t) * (35.0 - t * (84.0 - t * (70.0 - 20.0 * t)))
    bump = t * (1.0 - t)
    slope = (-140.0 * switch[1]) * (bump * bump * bump)
    return pull * value - energy * slope * r, energy * value


@lane_function
def coulomb(charges: Any, inverse: Any) -> Any:
    """Energy of Coulomb, which is `r F` too, from the Coulomb constant times the charges' product and `1/r`."""
    return charges * inverse


@lane_function
def reaction_field(charges: Any, inverse: Any, square: Any, field: Any) -> Any:
    """Energy `q (1/r + k r^2 - c)` of Coulomb with a reaction field; its `r F` is that of Coulomb less `2 k q r^2`."""
    return charges * (inverse + field[0] * square - field[1])


@lane_function
def reaction_field_pull(charges: Any, inverse: Any, square: Any, field: Any, response: Any, switch: Any) -> Any:
    """`r F` and energy of Coulomb with a reaction field, and a force over distance still to be taken off.

    Without a switch, `r F` is that of Coulomb alone, and `response` is returned: taken off at the end, it costs least.

    Args:
        charges: Coulomb constant times the product of the charges.
        inverse: `1/r`.
        square: square of the distance.
        field: reaction field's k and c.
        response: `2 k` times `charges`.
        switch: as `switched` takes it; None where Coulomb is not switched off.
    """
    pull, energy = coulomb(charges, inverse), reaction_field(charges, inverse, square, field)
    if switch is None:
        return pull, energy, response
    pull, energy = switched_smoothly(pull - response * square, energy, square * inverse, switch)
    return pull, energy, filled(field, 0.0)


@lane_function
def pair_force(inverse: Any, charges: Any, a: Any, b: Any) -> Any:
    """Force over distance of Lennard-Jones and Coulomb without a cutoff, and their energies, from `1/r`."""
    inverse_square = inverse * inverse
    pull, dispersed = lennard_jones(inverse_square, a, b)
    charged = coulomb(charges, inverse)
    return inverse_square * (pull + charged), dispersed, charged


@lane_function
def pair_force_to_cutoff(square: Any, inverse: Any, charges: Any, a: Any, b: Any, cutoff: Any) -> Any:
    """The same for pairs within a cutoff (`CutoffTables`): Lennard-Jones with its switch, Coulomb as reaction field."""
    inverse_square = inverse * inverse
    pull, dispersed = lennard_jones(inverse_square, a, b)
    pull, dispersed = switched(pull, dispersed, square * inverse, cutoff.switch)
    charged = reaction_field(charges, inverse, square, cutoff.field)
    response = (cutoff.field[0] + cutoff.field[0]) * charges
    return inverse_square * (pull + coulomb(charges, inverse)) - response, dispersed, charged
