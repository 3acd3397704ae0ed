"""Mistakes on the command line: each is one sentence that names what was expected, and leaves nothing behind."""

import io
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openmm
import openmm.app
import pytest
import torch
from openmm import unit

from mdgen.apps.config.composition import compose, leaves, plain
from mdgen.apps.main import main
from mdgen.data.store import TrajectoryStore
from mdgen.errors import MdgenError
from mdgen.interfaces import State
from mdgen.md.dynamics.integrators import Langevin
from mdgen.md.engines.engine import make_engine
from mdgen.md.systems.build import build_system
from mdgen.md.systems.openmm_systems.openmm_loader import load_openmm_system
from mdgen.md.systems.peptides import extended_peptide
from tests.md.test_sources import GRO, TOP

VACUUM = "system.sequence=A system.solvent=vacuum"
GROMACS = "system=gromacs system.hydrogen_mass_amu=null system.coordinates=FILES/a.gro"
PDB = "system=pdb system.solvent=vacuum"
SUM = "simulate potential=registered potential._target_=mdgen.md.force_field.forces.SumOfPotentials"
WELL = "mdgen.md.force_field.double_well.DoubleWell"

MISTAKES = [
    # Verbs and forms of overrides.
    ("simulat", "there is no verb 'simulat'; expected one of simulate, train"),
    ("train nonsense", "expected key=value"),
    ("simulate =3", "expected key=value"),
    ("simulate lenght_ns=1", "'lenght_ns'; the nearest is 'length_ns'"),
    ("simulate integrator.temprature_K=1", "the nearest is 'integrator.temperature_K'"),
    ("demo simulate.n_replica=1", "the nearest is 'simulate.n_replicas'"),
    ("benchmark suite=md repeats=3", "no key 'repeats'; the nearest is 'suite.repeats'"),
    ("simulate +n_replica=3", "there is no key 'n_replica'; the nearest is 'n_replicas'"),
    ("simulate ++n_replica=3", "there is no key 'n_replica'; the nearest is 'n_replicas'"),
    ("simulate +n_replicas=3", "neither added nor left out; write n_replicas="),
    ("simulate ~n_replicas", "neither added nor left out; write n_replicas="),
    ("simulate ~integrator", "neither added nor left out; write integrator="),
    ("simulate +integrator=langevin", "neither added nor left out; write integrator="),
    ("train encoder=srv encoder.model.widht=3", "no key 'encoder.model.widht'"),
    ("train encoder.model.n_modes=3", "no key 'encoder.model.n_modes'"),
    ("simulate n_replicas[0]=1", "'n_replicas[0]' is no key"),
    ("simulate temperature=300", "no key 'temperature'; the nearest is 'integrator.temperature_K'"),
    ("simulate dt=2", "there is no key 'dt'; `mdgen simulate --help` lists them all"),
    ("simulate --temperature 300", "no option --temperature; keys are given as key=value"),
    ("simulate my.pdb", "expected key=value, as in system=pdb system.pdb=my.pdb"),
    ("simulate system=pdb", "system.pdb was not given"),
    ("simulate system.pdb=my.pdb", "got sequence='A' and pdb='my.pdb'; name one (on the command line, system=pdb"),
    # Groups.
    ("train encoder=srvv", "did you mean encoder=srv"),
    ("simulate integrator@foo=langevin", "there is no key 'integrator@foo'"),
    ("simulate integrator=null", "there is no integrator=null; the options are langevin, overdamped"),
    ("simulate integrator=3", "there is no integrator=3"),
    ("simulate 'integrator={x: 1}'", "there is no integrator={x: 1}"),
    ("simulate integrator=foo/bar", "there is no integrator=foo/bar"),
    ("simulate system=null", "there is no system=null"),
    (
        "simulate experiment=charge_recovery",
        "is for mdgen benchmark, not for mdgen simulate",
    ),
    # Types of values.
    ("simulate length_ns=long", "length_ns=long: expected a number such as 2.0"),
    ("simulate length_ns=null", "length_ns=null: expected a number such as 2.0"),
    ("simulate length_ns=nan", "length_ns=nan: expected a number such as 2.0"),
    ("simulate 'length_ns={a: 1}'", "length_ns was given a table"),
    ("evaluate metrics.tolerances.clashes=1", "metrics.tolerances takes a table"),
    ("simulate threads=two", "threads=two: expected a whole number, or null"),
    ("simulate threads=1.5", "threads=1.5: expected a whole number, or null"),
    ("simulate threads=0", "threads=0: expected 1 to 1024"),
    ("simulate pressure_bar=high", "pressure_bar=high: expected a number, or null"),
    ("simulate anneal_temperature_K=true", "anneal_temperature_K=true: expected a number, or null"),
    ("simulate precision=half", "precision=half: expected single or double"),
    ("simulate n_replicas=8.5", "n_replicas=8.5: expected a whole number such as 64"),
    ("simulate n_replicas=null", "n_replicas=null: expected a whole number such as 64"),
    ("simulate n_replicas=1,2", "n_replicas=1,2: expected one value"),
    ("simulate output=", "output=: expected a path such as runs/simulate"),
    ("simulate output=3", "output=3: expected a path such as runs/simulate; text that looks like a number"),
    ("simulate system.cutoff_nm=far", "system.cutoff_nm=far: expected a number, or null"),
    ("simulate system.hydrogen_mass_amu=heavy", "expected a number, or null, such as 3.0"),
    ("simulate system.solvent=beer", "system.solvent=beer: expected one of obc2, obc1"),
    ("simulate system.capped=1", "system.capped=1: expected true or false"),
    ("simulate system.capped=null", "system.capped=null: expected true or false"),
    ("simulate system=gromacs system.box_nm=cube", "box_nm=cube: expected a list of numbers, or null"),
    ("simulate system=gromacs system.box_nm=[1.0,a]", "box_nm=[1.0,a]: expected a list of numbers"),
    ("simulate system=psf system.charmm_files=a.prm", "charmm_files=a.prm: expected a list of texts"),
    ("train seed=null", "seed=null: expected a whole number such as 0"),
    ("train data.frame_spacing_ps=often", "data.frame_spacing_ps=often: expected a number, or null"),
    ("train data.trajectories=3", "data.trajectories=3: expected a path, or a list of paths, or null"),
    ("train data.fraction=0.5", "data.fraction=0.5: expected a list of two numbers such as [0.0,1.0]"),
    ("train data.fraction=[0.5]", "data.fraction=[0.5]: expected a list of two numbers"),
    ("train data.fraction=[a,b]", "data.fraction=[a,b]: expected a list of two numbers"),
    ("train data.fraction=null", "data.fraction=null: expected a list of two numbers"),
    ("evaluate metrics.settings.lag_ps=long", "metrics.settings.lag_ps=long: expected a number, or null"),
    ("evaluate seeds=3", "seeds=3: expected a list of paths, or null"),
    ("demo lag_ps=null", "lag_ps=null: expected a number such as 2.0"),
    ("demo training_fraction=[0.5]", "training_fraction=[0.5]: expected a list of two numbers"),
    ("generate encoder_run=3", "encoder_run=3: expected a path"),
    ("generate export=gif", "export=gif: expected one of xtc, dcd, h5, pdb, null"),
    ("generate", "model was not given"),
    # Plug-ins and registered parts.
    ("simulate plugins=[nowhere]", "the plug-in nowhere cannot be imported (ModuleNotFoundError: No module named"),
    ("simulate plugins=[3]", "plugins=[3]: expected text, or a list of texts"),
    ("simulate --config-dir FILES/nowhere", "nowhere is no folder"),
    ("simulate --multirun seed=0,1 hydra.launcher._target_=os.getcwd", "takes hydra/launcher=basic"),
    ("simulate --multirun seed=0,1 hydra.callbacks.x._target_=os.getcwd", "takes hydra/launcher=basic"),
    ("train encoder=srv encoder.model._target_=os.system", "'os.system' is not registered with mdgen"),
    ("train encoder=srv encoder.model._target_=my.Toy", "name its module, as plugins=[my]"),
    ("train encoder=srv encoder.model._target_=mdgen.models.encoders.tica.TICA", "no key 'encoder.model.hidden'"),
    # Sweeps.
    ("simulate system.sequence=@list.txt", "goes with --multirun"),
    ("simulate system.sequence=A,G", "add --multirun to run each"),
    ("simulate hydra/launcher=joblib", "launchers go with --multirun"),
    ("simulate -m system.sequence=A", "needs a key with several values"),
    ("simulate -m system.sequence=A,A", "same folder 'A' (system.sequence=A)"),
    ("simulate -m output=a,b", "output is the folder of all runs"),
    ("simulate -m system.sequence=@nowhere.txt", "nowhere.txt: that file cannot be read"),
    ("simulate -m seed=interval(0,1)", "expected values to choose from"),
    ("simulate -m seed=1,x", "seed=x: expected a whole number"),
    ("simulate -m seed=1,2 seed=3", "seed is given twice"),
    ("simulate -m tempering=null,parallel", "tempering=null cannot be one of several choices"),
    ("simulate -m system.sequense=A,G", "the nearest is 'system.sequence'"),
    ("simulate -m seed=0,1 hydra/launcher=slurm", "takes hydra/launcher=basic|joblib|submitit_local|submitit_slurm"),
    ("simulate -m seed=0,1 hydra.launcher.n_jobs=2", "Could not override 'hydra.launcher.n_jobs'"),
    ("compare -m a,b", "is for verbs that write run folders"),
    # Further processes repeat the command line, which is no single training's.
    ("train -m encoder=srv,tica trainer.devices=2 trainer.strategy=ddp", "trainer.devices=2 and num_nodes=1: --multi"),
    ("train -m encoder=srv,tica trainer.num_nodes=2", "--multirun and demo train on one device"),
    ("demo train_decoder.trainer.devices=[0,1]", "trainer.devices=[0,1] and num_nodes=1: --multirun and demo train"),
    # Keys inside lists.
    (f"{SUM} potential.parts=[{{_target_:{WELL},barier:3}}]", "no key 'potential.parts[0].barier'; the nearest is"),
    (f"{SUM} potential.parts=[{{_target_:{WELL}}},{{_target_:{WELL},k:a}}]", "potential.parts[1].k=a: expected a"),
    # Molecules.
    ("simulate system.sequence=ipgd", "'ipgd' has small letters; did you mean 'IPGD'?"),
    ("simulate system.sequence=AXA", "residue 'X' at position 2"),
    ("simulate system.sequence=\"''\"", "expected text, or null, such as A"),
    ("simulate system.sequence=12", "expected text, or null, such as A"),
    ("simulate system.sequence=A-G", "residue '-' at position 2"),
    ("simulate system.sequence=NAN n_replicas=0", "n_replicas=0"),  # the peptide is no number
    ("simulate system.sequence=A system.capped=false", "without caps is a free amino acid"),
    (f"simulate {PDB} system.pdb=FILES/ring.pdb", "residue PHE 3 does not match"),
    (f"simulate {PDB} system.pdb=FILES/gap.pdb", "gap.pdb has a gap: ACE 1 and PHE 3"),
    (f"simulate {PDB} system.pdb=FILES/water.pdb", "residue HOH 1 is water"),
    (f"simulate {PDB} system.pdb=FILES/benzene.pdb", "residue BEN 1 is unknown to amber99sbildn; known are"),
    (f"simulate {PDB} system.pdb=FILES/empty.pdb", "holds no atoms"),
    (f"simulate {PDB} system.pdb=nowhere.pdb", "does not exist"),
    (f"simulate {GROMACS} system.top=FILES/a.top system.coordinates=FILES/overlap.gro", "C1"),
    (f"simulate {GROMACS} system.top=FILES/a.top system.cutoff_nm=1.2", "half"),
    (f"simulate {GROMACS} system.top=FILES/a.top system.cutoff_nm=0.9 system.coordinates=FILES/boxless.gro", "box"),
    (f"simulate {GROMACS} system.top=FILES/a.top system.coordinates=FILES/words.gro", "cannot read"),
    (f"simulate {GROMACS} system.top=FILES/massless.top", "mass 0 amu"),
    (f"simulate {GROMACS} system.top=FILES/negative.top", "mass -1 amu"),
    (f"simulate {GROMACS} system.top=FILES/unknown.top", "parameters"),
    # Settings of a simulation.
    (f"simulate {VACUUM} integrator.timestep_fs=0", "timestep_fs is 0"),
    (f"simulate {VACUUM} integrator.timestep_fs=3", "no multiple of the time step"),
    (f"simulate {VACUUM} integrator.temperature_K=-5", "temperature_K is -5"),
    (f"simulate {VACUUM} integrator.temperature_K=[300,a]", "temperature_K=[300,a]: expected a number, or a list of"),
    (f"simulate {VACUUM} integrator.friction_per_ps=-1", "friction_per_ps is -1"),
    (f"simulate {VACUUM} system.hydrogen_mass_amu=-1", "between 1 and 4"),
    (f"simulate {VACUUM} system.cutoff_nm=1", "cutoff_nm needs a periodic box, but this molecule has none"),
    (f"simulate {VACUUM} length_ns=0", "length_ns is 0"),
    (f"simulate {VACUUM} pressure_bar=1", "pressure_bar"),
    (f"simulate {VACUUM} engine=openmm pressure_bar=1", "no box to hold it"),
    (f"simulate {VACUUM} device=tpu", "device"),
    # Data, results of one file, comparisons.
    ("train encoder=tica", "no trajectories were named"),
    ("train encoder=tica data.trajectories=FILES/nowhere.dcd", "does not exist"),
    ("train encoder=tica propagator=mdn", "encoder, propagator was named"),
    ("train propagator=mdn", "name it: encoder_run=FOLDER"),
    ("train propagator=mdn encoder_run=FILES", "is no run folder"),
    ("energy output=FILES", "expected a file that ends in .json"),
    ("benchmark output=FILES", "expected a file that ends in .json"),
    ("compare first=FILES/nowhere second=FILES", "nowhere"),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of molecules that cannot be simulated."""
    folder = tmp_path_factory.mktemp("files")
    atom = "3 H 1 MOL H1 3 0.05"
    for name, text, old, new in (
        ("a.top", TOP, "", ""),
        ("a.gro", GRO, "", ""),
        ("overlap.gro", GRO, "1.150   1.000   1.000", "1.000   1.000   1.001"),
        ("boxless.gro", GRO, "   2.00000   2.00000   2.20000\n", "   0.0 0.0 0.0\n"),
        ("words.gro", GRO, "1.000   1.000   1.000", "x y z"),
        ("massless.top", TOP, atom, f"{atom} 0.0"),
        ("negative.top", TOP, atom, f"{atom} -1.0"),
        ("unknown.top", TOP, "1 3 1 0.109 280000", "1 3 1"),
    ):
        assert old in text
        (folder / name).write_text(text.replace(old, new) if old else text)
    (folder / "ring.pdb").write_text(pdb("PHE CE1", "PHE CZ"))
    (folder / "gap.pdb").write_text(pdb("ALA"))
    (folder / "water.pdb").write_text(pdb(added=hetero("O", "HOH")))
    (folder / "benzene.pdb").write_text(pdb(added=hetero("C1", "BEN")))
    (folder / "empty.pdb").write_text("REMARK nothing\n")
    return folder


def pdb(*without: str, added: str = "") -> str:
    """A PDB file of heavy atoms of ACE-ALA-PHE-NME without some atoms or residues, with lines added."""
    topology, positions = extended_peptide("AF")
    modeller = openmm.app.Modeller(topology, positions * unit.nanometer)
    modeller.delete(
        [a for a in topology.atoms() if f"{a.residue.name} {a.name}" in without or a.residue.name in without]
    )
    text = io.StringIO()
    openmm.app.PDBFile.writeFile(modeller.topology, modeller.positions, text, keepIds=True)
    return text.getvalue().replace("END\n", f"{added}END\n")


def hetero(name: str, residue: str) -> str:
    return (
        f"HETATM  900 {name:<4s} {residue:>3s} B   1      30.000  30.000  30.000  1.00  0.00           {name[0]:>1s}\n"
    )


SMALL = ["n_replicas=2", "engine=torch", "length_ns=1e-5", "equilibration_ns=0", "save_ps=0.002"]
SMALL += ["integrator.timestep_fs=2"]


@pytest.fixture
def said(
    said: Callable[..., str], files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str], str]:
    """The one sentence of a command line, in a folder of its own and on a small system."""
    monkeypatch.chdir(tmp_path)

    def of(command: str) -> str:
        verb, *arguments = shlex.split(command.replace("FILES", str(files)))
        small = SMALL if verb == "simulate" and "-m" not in arguments else []
        return said(verb, *small, *arguments)

    return of


@pytest.mark.parametrize(("command", "expected"), MISTAKES, ids=[command for command, _ in MISTAKES])
def test_a_mistake_is_one_sentence_and_leaves_nothing(said, command: str, expected: str) -> None:
    assert expected in said(command)
    assert not list(Path("runs").rglob("config.yaml"))
    assert not list(Path.cwd().glob("*.json"))


@pytest.mark.parametrize("value", ["/a=b", "/a=b/c d", "a b(c", "[a,b", "~/x", "it's=odd"])
def test_a_value_that_cannot_be_read_is_quoted_for_the_user(value: str) -> None:
    with pytest.raises(MdgenError) as error:
        compose("train", [f"data.trajectories={value}"])
    text = str(error.value)
    assert "is put in quotes" in text
    assert not any(word in text for word in ("http", "mismatched", "viable", "Lexer", "EOF", "\n"))
    suggested = text.split(": ")[-1].strip('"')
    assert plain(compose("train", [suggested]))["data"]["trajectories"] == value


def test_a_time_step_that_explodes(said, tmp_path: Path) -> None:
    changes = "integrator.timestep_fs=40 save_ps=0.04 length_ns=0.01"
    sentence = said(f"simulate {VACUUM} {changes}")
    assert "all 2 replicas blew up; replica" in sentence
    assert "time step of 40 fs is too long" in sentence
    assert not (tmp_path / "runs/simulate/DONE").exists()


@pytest.mark.parametrize("installed", [False, True])
def test_repair_by_pdbfixer(said, monkeypatch: pytest.MonkeyPatch, installed: bool) -> None:
    if installed:
        pytest.importorskip("pdbfixer", reason="PDBFixer is not installed (the extra `repair`)")
    else:
        monkeypatch.setitem(sys.modules, "pdbfixer", None)
    sentence = said(f"simulate {PDB} system.pdb=FILES/ring.pdb system.repair=true length_ns=0")
    assert ("length_ns is 0" if installed else "pip install 'mdgen[repair]'") in sentence


def test_forces_that_the_engine_lacks_are_named() -> None:
    system = openmm.System()
    for _ in range(2):
        system.addParticle(12.0)
    force = openmm.CustomExternalForce("x^2")
    system.addForce(force)
    with pytest.raises(MdgenError, match="CustomExternalForce"):
        load_openmm_system(system)
    system.removeForce(0)
    system.addForce(openmm.RBTorsionForce())
    with pytest.raises(MdgenError, match="RBTorsionForce"):
        load_openmm_system(system)


def test_replicas_of_different_molecules_are_refused() -> None:
    one, two = (build_system(sequence=letter, hydrogen_mass_amu=None, solvent="vacuum", relax=False) for letter in "AG")
    engine = make_engine(one, Langevin(2.0, 300.0), 2, torch.Generator(), kind="torch")
    state = State(two.positions.repeat(2, 1, 1), torch.zeros(2, 19, 3))
    with pytest.raises(MdgenError, match=r"\(2, 19, 3\) does not fit an engine of \(replica, atom, 3\) = \(2, 22, 3\)"):
        engine.prepare(state)


def test_trajectories_of_different_molecules_are_refused(said, tmp_path: Path) -> None:
    for letter in "AG":
        molecule = build_system(sequence=letter, hydrogen_mass_amu=None, solvent="vacuum", relax=False).molecule
        with TrajectoryStore.create(tmp_path / letter, molecule, 1.0, 1) as store:
            store.append(np.zeros((1, 3, molecule.n_atoms, 3)))
    sentence = said(f"train encoder=tica data.trajectories=[{tmp_path}/A,{tmp_path}/G] output={tmp_path}/encoder")
    assert sentence.startswith(f"mdgen: {tmp_path}/G")
    assert not (tmp_path / "encoder").exists()


ABSURD = ("1e308", "-1e-300", "-1", "0", "nan", "inf", "abc", "1" + 20 * "0", "[1]", "{a: 1}", "true", "''")
ASKED = {
    "generate": ["model=alanine_dipeptide_tokens", "n_trajectories=1", "length_ns=0.02", "system=peptide"],
    "simulate": ["system=double_well", "integrator=overdamped", "n_replicas=1", "length_ns=1e-7", "save_ps=1e-4"],
}


@pytest.mark.slow
@pytest.mark.parametrize("verb", ASKED)
def test_absurd_values_of_every_key_are_one_sentence_each(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    asked = [*ASKED[verb], *(["system.sequence=A"] if verb == "generate" else ["equilibration_ns=0"]), "threads=1"]
    config = leaves(plain(compose(verb, asked)))
    keys = [key for key, value in config if not isinstance(value, bool | str | list) and key != "output"]
    keys += [key for key, value in config if isinstance(value, list) and "_target_" not in key]
    assert len(keys) > 12
    for key in keys:
        for value in ABSURD:
            status = main([verb, *asked, f"{key}={value}", "output=run"])
            sentences = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mdgen: ")]
            assert (status, len(sentences)) in ((0, 0), (2, 1)), f"{key}={value}: {status} {sentences}"
            if status and "blew up" not in sentences[0]:  # dynamics that began is kept
                assert not Path("run").exists(), f"{key}={value} left something behind"
            shutil.rmtree("run", ignore_errors=True)
