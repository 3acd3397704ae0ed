"""Peptides in generalised Born with a cutoff, made by OpenMM."""

import openmm
import openmm.app
import torch
from openmm import unit

from mdgen.md.systems.openmm_systems.openmm_loader import load_openmm_system, system_from_openmm
from tests.md.reference import openmm_force_field, strained

MODELS = ["hct", "obc1", "obc2", "gbn", "gbn2"]
SEQUENCE = "MK"
"""51 atoms, with sulphur, whose scale is negative in GBn2."""


def positions(replicas: int = 1, amount_nm: float = 0.01) -> torch.Tensor:
    """Replicas (replica, atom, 3) in nm of the extended peptide, every atom moved at random; the centre is 0."""
    x = strained(SEQUENCE, solvent="vacuum", constraints="none").positions
    generator = torch.Generator().manual_seed(0)
    x = x + amount_nm * torch.randn(replicas, *x.shape, generator=generator, dtype=x.dtype)
    return x - x.mean(1, keepdim=True)


def cutoff_between_pairs(x: torch.Tensor, near_nm: float) -> float:
    """A cutoff close to `near_nm` that no distance of any replica is close to."""
    distances = torch.cat([torch.pdist(replica) for replica in x]).sort().values
    near = distances[(distances - near_nm).abs() < 0.03]
    widest = int(near.diff().argmax())
    assert float(near[widest + 1] - near[widest]) > 1e-4
    return float(near[widest : widest + 2].mean())


def openmm_system(
    model: str,
    cutoff_nm: float | None = 0.8,
    kappa_per_nm: float = 0.0,
    switch_nm: float | None = None,
    dielectric: float | None = None,
    sequence: str = SEQUENCE,
) -> openmm.System:
    """The peptide as OpenMM builds it; `gbsa` is OBC2 as a `GBSAOBCForce`, beside which Coulomb keeps a dielectric."""
    topology = strained(sequence, solvent="vacuum", constraints="none").molecule.topology.to_openmm()
    files = ["amber14-all.xml", *([] if model == "gbsa" else [f"implicit/{model}.xml"])]
    settings = {} if model == "gbsa" else {"implicitSolventKappa": kappa_per_nm / unit.nanometer}
    if cutoff_nm is not None:
        settings |= {
            "nonbondedMethod": openmm.app.CutoffNonPeriodic,
            "nonbondedCutoff": cutoff_nm * unit.nanometer,
            "switchDistance": None if switch_nm is None else switch_nm * unit.nanometer,
        }
    system = openmm_force_field(*files).createSystem(topology, removeCMMotion=False, **settings)
    nonbonded = force_of(system, openmm.NonbondedForce)
    if dielectric is not None:
        nonbonded.setReactionFieldDielectric(dielectric)
    if model == "gbsa":
        system.addForce(_gbsa(nonbonded, cutoff_nm, sequence))
    return system


def force_of(system: openmm.System, kind: type) -> openmm.Force:
    return next(force for force in system.getForces() if isinstance(force, kind))


def system_at(x: torch.Tensor, model: str, cutoff_nm: float | None = 0.8, **settings: float | None):
    """The same as a system of this package, at the first of the positions."""
    made = openmm_system(model, cutoff_nm, **settings)
    topology = strained(SEQUENCE, solvent="vacuum", constraints="none").molecule.topology.to_openmm()
    return system_from_openmm(made, x[0], topology)


def _gbsa(nonbonded: openmm.NonbondedForce, cutoff_nm: float | None, sequence: str) -> openmm.GBSAOBCForce:
    born = load_openmm_system(openmm_system("obc2", None, sequence=sequence)).born
    assert born is not None
    force = openmm.GBSAOBCForce()
    for atom in range(nonbonded.getNumParticles()):
        charge, *_ = nonbonded.getParticleParameters(atom)
        force.addParticle(charge, float(born.radius[atom]), float(born.scale[atom]))
    if cutoff_nm is not None:
        force.setNonbondedMethod(force.CutoffNonPeriodic)
        force.setCutoffDistance(cutoff_nm)
    return force
