"""The commands of the documents run as they stand, on tiny settings; every key is on a page; the site is built."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mdtraj
import numpy as np
import pytest
import yaml

from mdgen.apps.config.composition import compose, leaves
from mdgen.apps.config.flags import read_flags
from mdgen.apps.config.search_path import config_folder
from mdgen.apps.main import main
from mdgen.apps.sweeps.sweep import jobs
from mdgen.apps.verbs import RUN_FOLDER_VERBS, VERBS
from mdgen.data.store import TrajectoryStore
from mdgen.models.decoders.cwgan import CWGAN
from mdgen.training import train as training
from tests.generation.test_python import short
from tests.isolated_registry import isolated
from tests.models.structures import alanine_dipeptide, frames
from tests.module_from_file import module_from_file

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "notebooks/docs"
PAGES = [
    "README",
    "get_started",
    *(f"how_to/{path.stem}" for path in (DOCS / "how_to").glob("*.md") if path.stem != "index"),
]
SLOW = {
    "README",
    "get_started",
    *(f"how_to/{name}" for name in ("own_trajectories", "choose_a_lag", "run_on_a_cluster")),
}
SLOW |= {f"how_to/{name}" for name in ("a_thousand_molecules", "simulate", "generate")}
FENCE = re.compile(
    r"^(?:```|:::)(?:\{code-block\} )?(\w+)\n(?::caption: (\S+)\n+)?(.*?)^(?:```|:::)$", re.MULTILINE | re.DOTALL
)
ELSEWHERE = {"how_to/other_ensembles"}
"""Pages whose commands are composed here, and run on small systems by test_reweight.py and test_adapt.py."""

QUICK = {
    "simulate": ["engine=torch", "n_replicas=2", "length_ns=2e-5", "equilibration_ns=0", "save_ps=0.004"],
    "demo": ["four_wells=null"],
    "evaluate": ["metrics.settings.resamples=20", "metrics.settings.permutations=99"],
}
"""Settings of a test for the commands of the documents, beside `debug=fast`."""

SHORT = ["engine=torch", "system.solvent=vacuum", "n_replicas=8", "length_ns=0.008", "equilibration_ns=0.0008"]
SHORT = [f"simulate.{each}" for each in SHORT] + ["lag_ps=0.08", "evaluate.metrics.settings.tica_lag_ps=0.8"]
"""Of the demo's own simulation, which needs no kernels to be compiled."""

RING = ["save_ps=0.02", "length_ns=2e-4"]
"""Of a particle in a potential, with its time step of 2 fs."""

WINDOWS = ["data.frames=4", "data.test_share=0"]
"""Of many molecules, from runs of five frames."""


def commands(text: str) -> Iterator[list[str]]:
    """The words of each command of a block for the shell."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip():
            yield shlex.split(line, comments=True)


def made_quick(words: list[str]) -> list[str]:
    """The arguments of a command on tiny settings, with jobs of this machine in place of a cluster's."""
    _, verb, *arguments = words
    if verb in RUN_FOLDER_VERBS and "--cfg" not in words and "--info" not in words:
        quick = [*QUICK.get(verb, []), *(RING if "system=ring" in words else [])]
        quick += WINDOWS if "data=molecules" in words else []
        quick += ["propagator.model.heads=2"] if "propagator=interpolant" in words else []
        if verb == "demo" and not any(each.startswith("data.trajectories=") for each in arguments):
            quick += SHORT
        replaced = {each.partition("=")[0] for each in quick}
        arguments = [each for each in arguments if each.partition("=")[0] not in replaced]
        arguments += [*({"debug=fast"} - set(arguments)), *quick]
    return [verb, *(each.replace("submitit_slurm", "submitit_local") for each in arguments)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what a user has: trajectories of a molecule and of a model, a structure, a run, a list of peptides.

    Trainings take a few steps.
    """
    monkeypatch.setattr(training, "settings_for", short)
    monkeypatch.setattr(CWGAN, "_fit_ratio", lambda *_: None)
    positions = frames(1600).numpy().reshape(4, 400, 22, 3)
    for name, kept in (("md", positions), ("model", positions[:, ::2] + 0.002)):
        (tmp_path / name).mkdir()
        for number, each in enumerate(kept):
            made = mdtraj.Trajectory(each, alanine_dipeptide().topology, time=np.arange(len(each)))
            made.save_xtc(str(tmp_path / name / f"{number}.xtc"))
    made[0].save_pdb(str(tmp_path / "my.pdb"))
    (tmp_path / "peptides.txt").write_text("A\nG\n")
    details = {"temperature_K": 300.0}
    with TrajectoryStore.create(tmp_path / "runs/simulate/trajectories", alanine_dipeptide(), 1.0, 4, details) as store:
        store.append(positions)
    (tmp_path / "runs/simulate/DONE").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{tmp_path}")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def steps(page: str, folder: Path) -> Iterator[tuple[str, str, list[list[str]]]]:
    """Language, text and commands of each code block of a page but those of files, which are written into `folder`."""
    for language, name, text in FENCE.findall((ROOT if page == "README" else DOCS).joinpath(f"{page}.md").read_text()):
        if name:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        else:
            yield language, text, list(commands(text)) if language == "bash" else []


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=[pytest.mark.slow] if page in SLOW else []) for page in sorted({*PAGES} - ELSEWHERE)],
)
def test_the_code_of_a_page_runs(page: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {}
    ran = 0
    with isolated():
        for language, text, every in steps(page, folder):
            for words in every:
                status = main(made_quick(words))
                assert status == 0, f"{shlex.join(words)}\n{capsys.readouterr().err}"
            if language == "python":
                exec(text, names)
            ran += len(every) + (language == "python")
    assert ran > 1


@pytest.mark.parametrize("page", sorted(PAGES))
def test_the_commands_of_a_page_compose_as_they_stand(page: str, folder: Path) -> None:
    """The keys and options of all of them, also of pages whose commands take minutes."""
    with isolated():
        for _, _, every in steps(page, folder):
            for _, verb, *words in every:
                flags = read_flags(words, VERBS[verb].positional)
                if flags.multirun:
                    assert len(jobs(verb, list(flags.overrides))) > 1
                else:
                    compose(verb, list(flags.overrides))


def test_every_command_of_the_documents_is_run_or_shown_as_no_command() -> None:
    for path in (ROOT / "README.md", *DOCS.rglob("*.md")):
        if path.parent.name in ("generated", "tutorials"):
            continue
        for language, _, text in FENCE.findall(path.read_text()):
            assert language in ("bash", "python", "yaml", "toml", "console"), f"{path}: {language}"
            if language == "bash":
                assert all(words[:1] == ["mdgen"] and words[1] in VERBS for words in commands(text))


def test_every_key_is_on_a_page(tmp_path: Path) -> None:
    config_pages = module_from_file(DOCS / "config_pages.py")
    pages = {path.stem: path.read_text() for path in config_pages.write_pages(tmp_path / "generated")}
    for name, page in pages.items():
        assert not name.startswith("verb_") or not re.findall(r"^\| .* \| +\|$", page, flags=re.MULTILINE)
    for file in config_folder().rglob("*.yaml"):
        group = file.parent.name
        page = pages[f"verb_{file.stem}" if file.parent == config_folder() else f"group_{group}"]
        section = page if group == "conf" else page.split(f"## {group}={file.stem}\n")[1].split("\n## ")[0]
        document = yaml.safe_load(file.read_text())
        document.pop("defaults", None)
        for key, _ in leaves(document):
            assert key.rpartition(".")[2].startswith("_") or f"| `{key}` |" in section, f"{file}: {key}"


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path: Path) -> None:
    for module in ("sphinx", "furo", "myst_parser", "latex2mathml"):
        pytest.importorskip(module, reason="Sphinx builds the site (the extra `docs`)")
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(DOCS), str(tmp_path / "site")]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    page = (tmp_path / "site/theory.html").read_text()
    assert "<math" in page
    assert "mathjax" not in page.lower()
    assert "mdgen.models.propagators.mdn.MDN" in (tmp_path / "site/reference/python.html").read_text()
