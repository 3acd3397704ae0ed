"""A moment of dynamics of every frame: what is at equilibrium stays there, what is not comes nearer to it."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from mdgen.errors import MdgenError
from mdgen.generation.relaxation import FRAMES_AT_ONCE, Relaxation
from mdgen.geometry.dihedrals import bond_lengths, dihedral_angles
from mdgen.interfaces import System
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.minimize import minimize, with_springs
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.engine import make_engine
from mdgen.md.force_field.restraints import DistanceRestraints
from mdgen.md.systems.build import build_system
from mdgen.molecule.topology import Molecule

KELVIN = 350.0


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@cache
def alanine_dipeptide():
    return build_system(sequence="A", force_field="amber14", solvent="vacuum")


@cache
def equilibrium():
    """Frames of 256 replicas after some picoseconds at the temperature."""
    system, kelvin = alanine_dipeptide(), torch.tensor([KELVIN])
    engine = make_engine(system, Langevin(2.0, kelvin, 10.0), 256, seeded())
    engine.prepare(initial_state(system, 256, kelvin, seeded()))
    return engine.advance(3000).positions.float()[:, None]


def energies(positions):
    return alanine_dipeptide().potential.energy(positions.flatten(0, 1).double())


def angles(positions):
    backbone = torch.tensor([[4, 6, 8, 14], [6, 8, 14, 16]])
    return torch.rad2deg(dihedral_angles(positions.flatten(0, 1), backbone))


def test_dynamics_leave_the_distribution_at_equilibrium_as_it_is():
    frames = equilibrium()
    relaxed = Relaxation(alanine_dipeptide(), 0.4, minimization_steps=0)(frames, KELVIN, seeded(1))
    before, after = energies(frames), energies(relaxed)
    error = (before.var() / len(before) + after.var() / len(after)).sqrt()
    assert float(after.mean() - before.mean()) == pytest.approx(0, abs=4 * float(error))
    assert float(after.std() / before.std()) == pytest.approx(1, abs=0.2)


def test_what_the_minimisation_cools_is_warm_again():
    frames = equilibrium()
    relaxed = Relaxation(alanine_dipeptide())(frames, KELVIN, seeded(1))
    normal, spread = energies(frames).mean(), energies(frames).std()
    assert abs(float(energies(relaxed).mean() - normal)) < 0.35 * float(spread)
    assert float(energies(relaxed).std() / spread) == pytest.approx(1, abs=0.2)


def test_strained_frames_come_to_the_energy_of_the_dynamics_and_keep_their_slow_coordinates():
    frames = equilibrium()
    strained = frames + 0.015 * torch.randn(frames.shape, generator=seeded(2))
    relaxation = Relaxation(alanine_dipeptide(), 0.4)
    relaxed = relaxation(strained, KELVIN, seeded(1))
    normal, spread = energies(frames).mean(), energies(frames).std()
    assert float(energies(strained).mean() - normal) > 20 * float(spread)
    assert abs(float(energies(relaxed).mean() - normal)) < 0.5 * float(spread)
    turn = (angles(relaxed) - angles(frames) + 180) % 360 - 180
    assert float(turn.abs().quantile(0.9)) < 60
    held = alanine_dipeptide().constraints
    assert float((bond_lengths(relaxed[:, 0], held.atoms) - held.lengths).abs().max()) < 1e-4
    assert relaxation.figures() == {"n_frames_relaxed": 256, "n_frames_unstable": 0}


def test_frames_that_dynamics_could_not_start_from_take_more_steps_and_change_no_other():
    frames = equilibrium()[:64].clone()
    alone = Relaxation(alanine_dipeptide(), 0.4, minimization_steps=5)(frames, KELVIN, seeded(1))
    frames[:32] *= 0.5
    relaxation = Relaxation(alanine_dipeptide(), 0.4, minimization_steps=5)
    relaxed = relaxation(frames, KELVIN, seeded(1))
    assert relaxation.n_kept == 0  # five steps alone leave all of these too hot to go on from
    assert float(energies(relaxed[:32]).max()) < float(energies(equilibrium()).max()) + 50
    torch.testing.assert_close(relaxed[32:], alone[32:], atol=1e-5, rtol=0)


def test_frames_that_dynamics_can_start_from_are_left_to_dynamics():
    system = alanine_dipeptide()
    tense = minimize(with_springs(system.potential, system.constraints), equilibrium()[:, 0], 1500.0, 100)
    assert float(tense.largest_force.max()) < 1500
    relaxation = Relaxation(system, length_ps=0.0005, timestep_fs=0.5)  # a step, of hardly any heat
    apart = (relaxation(tense.positions[:, None], 1.0, seeded()) - tense.positions[:, None]).norm(dim=-1)
    assert float(apart.max()) < 0.01


def test_frames_in_which_neighbours_of_an_atom_change_places_stay_as_they_are(monkeypatch):
    """A methyl's hydrogens may turn, but not be exchanged: here two of them swap places."""
    frames = equilibrium()[:8].clone()
    swapped = frames[:, 0].clone()
    swapped[0, [1, 3]] = frames[0, 0, [3, 1]]
    monkeypatch.setattr(Relaxation, "_minimized", lambda *_: swapped)
    relaxation = Relaxation(alanine_dipeptide(), 0.0)
    assert torch.equal(relaxation(frames, KELVIN, seeded())[0], frames[0])
    assert relaxation.n_kept == 1


def test_a_methyl_that_was_decoded_flat_may_take_either_hand():
    frames = equilibrium()[:64].clone()
    flat = frames[:, :, 1:4].mean(2, keepdim=True)
    frames[:, :, 1:4] = flat + 0.005 * torch.randn(64, 1, 3, 3, generator=seeded(3))
    relaxation = Relaxation(alanine_dipeptide())
    relaxation(frames, KELVIN, seeded())
    assert relaxation.n_kept == 0


def test_beads_without_four_neighbours_are_relaxed():
    beads = Molecule.particles(["A", "B"], [[0, 1]])
    spring = DistanceRestraints([[0, 1]], [0.3])
    system = System(
        beads, torch.full((2,), 12.0, dtype=torch.float64), spring, torch.tensor([[0.0, 0, 0], [0.3, 0, 0]]).double()
    )
    relaxation = Relaxation(system)
    relaxed = relaxation(torch.tensor([[[[0.0, 0, 0], [0.32, 0, 0]]]]), KELVIN, seeded())
    assert relaxed.isfinite().all()
    assert relaxation.n_kept == 0


def test_nothing_is_lost_where_no_frame_can_be_relaxed():
    frames = torch.full((2, 1, 22, 3), torch.nan)
    relaxation = Relaxation(alanine_dipeptide(), 0.02)
    assert relaxation(frames, KELVIN, seeded()).isnan().all()
    assert relaxation.figures() == {"n_frames_relaxed": 2, "n_frames_unstable": 2}


def test_frames_lie_where_they_were_and_are_the_same_for_the_same_seed():
    frames = equilibrium()[:5] + 3.0
    relaxed, again = (Relaxation(alanine_dipeptide(), 0.02)(frames, KELVIN, seeded()) for _ in range(2))
    assert torch.equal(relaxed, again)
    assert float((relaxed.mean(2) - frames.mean(2)).abs().max()) < 1e-4
    assert not torch.equal(relaxed, Relaxation(alanine_dipeptide(), 0.02)(frames, KELVIN, seeded(1)))


@pytest.mark.parametrize("held", [range(8), [1, 4, 5, 6, 8]])  # residues, and heavy atoms without their hydrogens
def test_atoms_that_are_held_stay_and_the_others_come_to_equilibrium(held):
    frames, held = equilibrium(), list(held)
    strained = frames + 0.02 * torch.randn(frames.shape, generator=seeded(2))
    strained[:, :, held] = frames[:, :, held]
    relaxed = Relaxation(alanine_dipeptide(), 0.4)(strained, KELVIN, seeded(1), held)
    assert float((relaxed - frames)[:, :, held].abs().max()) < 1e-3
    normal, spread = energies(frames).mean(), energies(frames).std()
    assert float(energies(strained).mean() - normal) > 10 * float(spread)
    assert abs(float(energies(relaxed).mean() - normal)) < 0.5 * float(spread)


def test_a_frame_without_an_energy_stays_as_it_is_and_harms_no_other():
    frames = equilibrium()[:20].clone()
    frames[3, 0, 0] = frames[3, 0, -1]  # both ends in one place
    frames[4, 0, 0] = frames[4, 0, -1] + 5e-4  # an energy, but no forces in single precision
    frames[5] = torch.nan
    relaxation = Relaxation(alanine_dipeptide(), 0.02)
    relaxed = relaxation(frames, KELVIN, seeded())
    assert 2 <= relaxation.n_kept <= 3
    assert torch.equal(relaxed[3], frames[3])
    assert relaxed[5].isnan().all()
    assert relaxed[torch.arange(20) != 5].isfinite().all()


def test_many_frames_are_relaxed_in_parts():
    frames = equilibrium()[:3].expand(3, FRAMES_AT_ONCE // 2, -1, -1)
    relaxed = Relaxation(alanine_dipeptide(), 0.0, minimization_steps=2)(frames, KELVIN, seeded())
    torch.testing.assert_close(relaxed[:, -1], relaxed[:, 0], atol=1e-5, rtol=0)
    assert (energies(relaxed[:, :1]) < energies(frames[:, :1])).all()


def test_what_cannot_be_relaxed_is_refused():
    system = alanine_dipeptide()
    with pytest.raises(MdgenError, match="a periodic box, and frames have none"):
        Relaxation(replace(system, cell=torch.ones(3)))
    with pytest.raises(MdgenError, match="expected at least 0"):
        Relaxation(system, length_ps=-1.0)
    with pytest.raises(MdgenError, match="shorter than a step"):
        Relaxation(system, length_ps=1e-4)
    with pytest.raises(MdgenError, match="atoms where"):
        Relaxation(system).require_for(Molecule.particles(["Ar"]), KELVIN)
    with pytest.raises(MdgenError, match="give temperature_K"):
        Relaxation(system).require_for(system.molecule, None)
