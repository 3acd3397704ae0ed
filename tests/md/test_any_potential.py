"""Systems without a force field in the same loop: a double well, a network, biases, restarts, replica exchange."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mdgen.apps.main import main
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.interfaces import Integrator, State, System
from mdgen.md.dynamics import simulation
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.dynamics.overdamped import OverdampedLangevin
from mdgen.md.dynamics.replica_exchange import Tempering, parallel_tempering
from mdgen.md.dynamics.simulation import simulate
from mdgen.md.dynamics.velocities import initial_state
from mdgen.md.engines.engine import Engine, make_engine
from mdgen.md.force_field.double_well import DoubleWell
from mdgen.md.force_field.forces import SumOfPotentials
from mdgen.md.force_field.module_potential import ModulePotential
from mdgen.md.force_field.restraints import PositionRestraints
from mdgen.md.systems.particles import build_particles
from mdgen.registry import load_plugins
from mdgen.units import BOLTZMANN
from tests.isolated_registry import isolated
from tests.md.any_potential import Flood, MetropolisWalk, network

PLUGIN = "tests.md.any_potential"
SYSTEMS = {
    "double_well": ["system=double_well"],
    "network": [
        "system=potential",
        f"system.potential._target_={PLUGIN}.network",
        "system.positions_nm=[[0.0,0.0,0.0],[0.1,0.0,0.0]]",
    ],
}
SMALL = ["n_replicas=4", "equilibration_ns=0.0005", "save_ps=0.05", "precision=double", "threads=1"]
SMALL += ["integrator.timestep_fs=10"]
BIAS = ["potential=harmonic_restraint", "potential.positions_nm=[[0.15,0.0,0.0]]"]


@pytest.fixture(autouse=True)
def plugin() -> Iterator[None]:
    with isolated():
        load_plugins([PLUGIN])
        yield


def frames_of(store: TrajectoryStore) -> np.ndarray:
    return np.stack([store.positions(i) for i in range(store.n_trajectories)])


def simulated(folder: Path, *settings: str, length_ns: float = 0.002) -> np.ndarray:
    assert main(["simulate", *SMALL, *settings, f"length_ns={length_ns}", f"output={folder}"]) == 0
    return frames_of(TrajectoryStore.open(folder / "trajectories"))


@pytest.mark.parametrize("name", SYSTEMS)
def test_it_runs_with_a_bias_replica_exchange_and_a_restart(name: str, tmp_path: Path) -> None:
    chosen = [*SYSTEMS[name], *BIAS, "tempering=parallel", "tempering.rungs=2", "tempering.length_ns=0.004"]
    whole = simulated(tmp_path / "whole", *chosen)
    assert whole.shape[:2] == (4, 40)
    assert np.isfinite(whole).all()
    simulated(tmp_path / "parts", *chosen, length_ns=0.001)
    assert np.array_equal(simulated(tmp_path / "parts", *chosen), whole)
    plain = simulated(tmp_path / "plain", *SYSTEMS[name])
    biased, free = (abs(frames[..., 0, 0].mean() - 0.15) for frames in (whole, plain))
    assert biased < free


def test_another_bias_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulated(tmp_path / "run", *SYSTEMS["double_well"], *BIAS, length_ns=0.001)
    system, engine = biased_well(200.0)
    path = tmp_path / "run" / "trajectories"
    with pytest.raises(MdgenError, match="holds a simulation with potential"):
        simulate(system, engine, path, 0.002, 0.0005, 0.05, torch.Generator().manual_seed(0))
    command = ["simulate", *SMALL, *SYSTEMS["double_well"], "length_ns=0.002", f"output={tmp_path / 'run'}"]
    assert main(command) == 2
    assert main([*command, *BIAS, "potential.k=900"]) == 2
    assert capsys.readouterr().err.count("potential") >= 2


def biased_well(k: float) -> tuple[System, Engine]:
    system = build_particles(DoubleWell(), [[-0.2, 0.0, 0.0]])
    bias = PositionRestraints([0], [[0.15, 0.0, 0.0]], k)
    system = replace(system, potential=SumOfPotentials([system.potential, bias]))
    return system, engine_of(system, replicas=4, timestep_fs=10.0)


def engine_of(
    system: System, integrator: Integrator | None = None, replicas: int = 4, timestep_fs: float = 20.0
) -> Engine:
    generator = torch.Generator().manual_seed(3)
    return make_engine(system, integrator or Langevin(timestep_fs, 300.0, 5.0), replicas, generator, precision="double")


def test_another_adaptive_potential_is_part_of_the_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that learns a bias is resumed bit for bit, wherever it is stopped, and moves as it has learned."""
    monkeypatch.setattr(simulation, "_FLUSH_S", -1.0)

    def run(name: str, length_ns: float) -> tuple[np.ndarray, Flood]:
        flood = Flood()
        system = build_particles(DoubleWell(), [[-0.2, 0.0, 0.0]])
        system = replace(system, potential=SumOfPotentials([system.potential, flood]))
        generator = torch.Generator().manual_seed(1)
        store = simulate(system, engine_of(system), tmp_path / name, length_ns, 0.0002, 0.02, generator)
        return frames_of(store), flood

    whole, learned = run("whole", 0.001)
    assert len(learned.centres) == 50 * 4
    run("parts", 0.0004)
    resumed, again = run("parts", 0.001)
    assert np.array_equal(resumed, whole)
    assert torch.equal(again.centres, learned.centres)
    still, _ = biased_well(0.0)
    plain = simulate(still, engine_of(still), tmp_path / "plain", 0.001, 0.0002, 0.02, torch.Generator().manual_seed(1))
    assert np.array_equal(frames_of(plain)[:, 0], whole[:, 0])  # nothing was learned before the first frame
    assert not np.array_equal(frames_of(plain), whole)


def test_replica_exchange_keeps_the_state_of_an_adaptive_potential(tmp_path: Path) -> None:
    flood = Flood()
    flood.update(State(torch.zeros(3, 1, 3), torch.zeros(3, 1, 3)))
    system = build_particles(SumOfPotentials([DoubleWell(), flood]), [[-0.2, 0.0, 0.0]])
    engine = engine_of(system)
    state = initial_state(system, 4, engine.temperature_K, torch.Generator().manual_seed(1))
    settings = Tempering(rungs=2, length_ns=0.01, exchange_ps=1.0)
    parallel_tempering(engine, state, 300.0, settings, torch.Generator(), tmp_path)
    flood.load_state_dict({"centres": torch.zeros(0, dtype=torch.float64)})
    parallel_tempering(engine, state, 300.0, settings, torch.Generator(), tmp_path)
    assert len(flood.centres) == 3


def boltzmann_on_the_right(well: DoubleWell, bins: np.ndarray) -> np.ndarray:
    """Probability of each bin along x at 300 K."""
    x = np.linspace(bins[0], bins[-1], 20_001)
    points = torch.zeros(len(x), 1, 3, dtype=torch.float64)
    points[:, 0, 0] = torch.from_numpy(x)
    weight = np.exp(-well.energy(points).numpy() / (BOLTZMANN * 300.0))
    found, _ = np.histogram(x, bins, weights=weight)
    return found / found.sum()


@pytest.mark.parametrize(
    "integrator", [Langevin(20.0, 300.0, 5.0), OverdampedLangevin(20.0, 300.0, 20.0), MetropolisWalk()]
)
def test_the_histogram_of_the_double_well_is_boltzmanns(integrator: Integrator) -> None:
    """Replicas are independent, so that their spread gives the standard error of every bin."""
    well = DoubleWell(barrier=5.0, k=300.0)
    system = build_particles(well, [[-0.2, 0.0, 0.0]])
    engine = engine_of(system, integrator, 512)
    engine.prepare(initial_state(system, 512, engine.temperature_K, torch.Generator().manual_seed(2)))
    engine.advance(700)
    frames = engine.record(40, 25).frames[:, :, 0]
    bins = np.linspace(-0.36, 0.36, 13)
    counts = np.stack([np.histogram(each[:, 0], bins)[0] for each in frames]) / frames.shape[1]
    expected = boltzmann_on_the_right(well, bins)
    error = counts.std(0, ddof=1) / len(counts) ** 0.5
    assert (np.abs(counts.mean(0) - expected) < 4 * error + 0.006).all()  # Euler's step is wrong by about that
    assert np.square(frames[..., 1]).mean() == pytest.approx(BOLTZMANN * 300 / 300.0, rel=0.03)


def test_replica_exchange_finds_the_weights_of_two_wells() -> None:
    """Across 8 kT little is crossed at 300 K: replicas that start on the left are there still; exchange mends that."""
    well = DoubleWell(barrier=20.0, k=300.0)
    system = build_particles(well, [[-0.2, 0.0, 0.0]])
    plain = engine_of(system, replicas=256)
    start = initial_state(system, 256, plain.temperature_K, torch.Generator().manual_seed(1))
    plain.prepare(start)
    assert (plain.advance(1000).positions[:, 0, 0] > 0).double().mean() < 0.1
    settings = Tempering(rungs=4, highest_temperature_K=1800.0, length_ns=0.12, exchange_ps=0.5, discard_share=0.5)
    ensemble = parallel_tempering(engine_of(system, replicas=256), start, 300.0, settings, torch.Generator())
    x = ensemble.positions[..., 0, 0].numpy()
    per_ladder = (x > 0).mean(0)
    assert abs(per_ladder.mean() - 0.5) < 4 * per_ladder.std(ddof=1) / len(per_ladder) ** 0.5
    assert per_ladder.std() / len(per_ladder) ** 0.5 < 0.04
    within = x[x > 0]
    bins = np.linspace(0.0, 0.36, 7)
    found = np.histogram(within, bins)[0] / len(within)
    assert np.abs(found - boltzmann_on_the_right(well, bins)).max() < 0.03


def test_a_users_integrator_runs_in_the_loop_and_is_resumed(tmp_path: Path) -> None:
    assert isinstance(MetropolisWalk(), Integrator)
    system = build_particles(DoubleWell(), [[-0.2, 0.0, 0.0]])

    def run(name: str, length_ns: float) -> np.ndarray:
        engine, generator = engine_of(system, MetropolisWalk()), torch.Generator().manual_seed(1)
        return frames_of(simulate(system, engine, tmp_path / name, length_ns, 0.001, 0.05, generator))

    whole = run("whole", 0.004)
    run("parts", 0.002)
    assert np.array_equal(run("parts", 0.004), whole)
    with pytest.raises(MdgenError, match="kernel does not have the integrator MetropolisWalk"):
        make_engine(system, MetropolisWalk(), 1, torch.Generator(), kind="kernel")
    with pytest.raises(MdgenError, match="kernel does not have the potential DoubleWell"):
        make_engine(system, Langevin(1.0, 300.0), 1, torch.Generator(), kind="kernel")


def test_particles_are_stored_where_they_are(tmp_path: Path) -> None:
    """Only where the energy does not depend on it is the centre put to the origin."""
    frames = simulated(tmp_path / "well", *SYSTEMS["double_well"])
    assert np.abs(frames).max() > 0.1
    system = replace(build_particles(network(), [[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]]))
    system.potential.translation_invariant = True
    store = simulate(system, engine_of(system), tmp_path / "centred", 0.0002, 0.0, 0.02, torch.Generator())
    assert float(np.abs(frames_of(store).mean(2)).max()) < 1e-6


def test_particles_can_be_relaxed() -> None:
    system = build_particles(DoubleWell(), [[-0.1, 0.05, 0.0]], relax=True)
    torch.testing.assert_close(system.positions, torch.tensor([[-0.2, 0.0, 0.0]]).double(), rtol=0, atol=0.03)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"positions_nm": [[0.0, 0.0]]}, "x, y and z"),
        ({"masses_amu": [1.0, 2.0]}, "2 values for 1 particles"),
        ({"masses_amu": [0.0]}, "must be positive"),
        ({"names": ["A", "B"]}, "names lists 2"),
        ({"constraints": "hbonds"}, "particles have none"),
    ],
)
def test_senseless_particles_are_named(change: dict, complaint: str) -> None:
    with pytest.raises(MdgenError, match=complaint):
        build_particles(**({"potential": DoubleWell(), "positions_nm": [[0.0, 0.0, 0.0]]} | change))


class Setting(torch.nn.Module):
    """A module whose energy depends on an attribute that is no weight."""

    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, positions):
        return positions.square().sum((1, 2))


def test_a_fingerprint_sees_settings_and_arrays_and_refuses_what_it_cannot_see():
    middle = np.arange(5000.0)
    middle[2500] = 0.0
    values = [1, 2, np.arange(5000.0), middle, torch.zeros(2, dtype=torch.bfloat16)]
    found = [ModulePotential(Setting(value)).fingerprint for value in values]
    assert len(set(found)) == len(found)
    assert found == [ModulePotential(Setting(value)).fingerprint for value in values]
    with pytest.raises(MdgenError, match="holds a object, of which no fingerprint can be made"):
        ModulePotential(Setting(object())).fingerprint  # noqa: B018
