"""Units: nm, ps, amu, kJ/mol, e and K in all rooms; conversions happen only where files and configs are read.

In these units force = mass times acceleration needs no factor: 1 amu nm^2 / ps^2 = 1 kJ/mol.

>>> round(thermal_energy(300.0), 4)
2.4943
"""

BOLTZMANN = 0.00831446261815324
"""Boltzmann's constant in kJ/mol/K (CODATA 2018: exact R)."""

COULOMB_OPENMM = 138.93545764438198
"""1/(4 pi eps0) in kJ nm/mol/e^2 as OpenMM uses it: 332.0637 kcal A/mol/e^2."""

COULOMB_AMBER = 18.2223**2 * 0.4184
"""The same constant as AMBER's programs use it, 18.2223^2 = 332.0522 kcal A/mol/e^2; it differs by 3.5e-5."""

KCAL = 4.184
"""kJ in a kcal."""

ANGSTROM = 0.1
"""nm in an angstrom."""

FEMTOSECOND = 1e-3
"""ps in a fs."""

NANOSECOND = 1e3
"""ps in a ns."""

MICROSECOND = 1e6
"""ps in a us."""


def thermal_energy(temperature_K: float) -> float:
    """kT in kJ/mol at a temperature in kelvin."""
    return BOLTZMANN * temperature_K
