"""What is required is imported; the wheel works outside the checkout; a model card says what was measured."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import mdtraj
import pytest
import yaml

from mdgen.apps.config.search_path import option_names
from tests.module_from_file import module_from_file
from tests.test_links import LINK

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MODULES = {"hydra-core": "hydra", "pyyaml": "yaml"}
"""Modules of packages that are named otherwise."""

NOT_REQUIRED = {"pdbfixer", "torchmd", "zarr", "llvmlite", "annotated_types"}
"""The first three only where a command asks for them, with a sentence if they are missing; parts of required ones."""


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[>=<]", each)[0] for each in requirements}


def imported() -> set[str]:
    found = set()
    for path in (ROOT / "mdgen").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(str(node.module).split(".")[0])
    return found - set(sys.stdlib_module_names) - {"mdgen"}


def test_what_is_required_is_imported_and_what_is_imported_is_required() -> None:
    required = {MODULES.get(name, name.replace("-", "_")) for name in names(PROJECT["dependencies"])}
    assert imported() - NOT_REQUIRED == required


def test_every_package_that_is_asked_for_is_pinned() -> None:
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    asked = names([each for extra in PROJECT["optional-dependencies"].values() for each in extra])
    assert (names(PROJECT["dependencies"]) | asked) - {"mdgen"} <= pinned


def test_citation_names_this_version_and_the_workflow_runs_the_gate() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    steps = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert {each.split()[1] for each in steps if each.startswith("make ")} <= targets
    assert (ROOT / ".ci/run").stat().st_mode & 0o100
    assert ".ci/run" in steps


@pytest.mark.parametrize("name", [each.name for each in (ROOT / "data/pretrained").iterdir()])
def test_the_card_of_a_model_says_what_was_measured(name: str) -> None:
    card = (ROOT / "data/pretrained" / name / "MODEL_CARD.md").read_text()
    (result,) = re.findall(r"`(data/results/\w+\.json)`", card)
    measured = json.loads((ROOT / result).read_text())
    assert f'**against held-out dynamics its verdict is "{measured["verdict"]}"**' in card
    assert f"{measured['network']['weights']} weights" in card
    table = re.findall(r"^\| (\w+/?\w*) \| (.*) \| (.*) \| (.*) \|$", card, flags=re.MULTILINE)
    assert len(table) > 6
    for metric, *cells in table:
        if metric == "metric":
            continue
        for row, cell in zip(("generated", "replicate", "tenth"), cells, strict=True):
            found = measured["rows"][row][metric]
            assert cell == f"{found['value']:.3f} ({found['low']:.3f} to {found['high']:.3f})", (metric, row)
    assert "## Known misses" in card


def test_links_of_the_readme_lead_to_the_repository_once_its_address_is_known() -> None:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel (the extra `dev`)")
    text, address = (ROOT / "README.md").read_text(), "https://example.org/someone/mdgen"
    page = module_from_file(ROOT / "hatch_build.py").absolute(text, address, "v1.0")
    assert f"]({address}/raw/v1.0/data/results/demo.png)" in page
    assert f"[Get started]({address}/blob/v1.0/notebooks/docs/get_started.md)" in page
    assert [each for each in LINK.findall(text) if "://" not in each]
    assert not [each for each in LINK.findall(page) if "://" not in each]


@pytest.mark.slow
def test_the_wheel_is_used_outside_the_checkout(tmp_path: Path) -> None:
    """Built, installed without its dependencies beside those of this environment, and run from another folder."""
    pytest.importorskip("hatchling", reason="hatchling builds the wheel (the extra `dev`)")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    source = tmp_path / "source"
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    address = "https://example.org/someone/mdgen"
    for kind in ("wheel", "sdist"):
        subprocess.run(
            [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", tmp_path / "dist"],
            cwd=source,
            env={**os.environ, "MDGEN_REPOSITORY": address},
            check=True,
        )
    (wheel,), (sdist,) = (tmp_path / "dist").glob("*.whl"), (tmp_path / "dist").glob("*.tar.gz")
    shutil.unpack_archive(sdist, tmp_path / "unpacked", filter="data")
    (again,) = (tmp_path / "unpacked").iterdir()
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "second"], cwd=again, check=True
    )
    (second,) = (tmp_path / "second").glob("*.whl")
    contents = [sorted(zipfile.ZipFile(each).namelist()) for each in (wheel, second)]
    assert contents[0] == contents[1]
    assert not [name for name in contents[0] if name.startswith(("tests/", "notebooks/"))]
    for each in (wheel, second):  # the second is built from the sdist, without the variable
        told = zipfile.ZipFile(each).read(f"mdgen-{PROJECT['version']}.dist-info/METADATA").decode()
        assert f"Project-URL: Repository, {address}\n" in told
        assert f"]({address}/raw/v{PROJECT['version']}/data/results/demo.png)" in told

    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin/python"
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True)
    (packages,) = (environment / "lib").glob("python*/site-packages")
    # A line of its own: the .pth files of that folder, such as that of an editable install, are not read.
    (packages / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def run(*command: str) -> str:
        found = subprocess.run(command, cwd=elsewhere, env=clean, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        return found.stdout

    mdgen = str(environment / "bin/mdgen")
    assert run(mdgen, "--version") == f"mdgen {PROJECT['version']}\n"
    assert str(packages) in run(str(python), "-c", "import mdgen; print(mdgen.__file__)")
    assert f"{packages}/mdgen/conf" in run(mdgen, "simulate", "--info", "searchpath")
    assert all(f"encoder={name}" in run(mdgen, "train", "--help") for name in option_names("encoder"))
    run(
        mdgen,
        "simulate",
        "debug=fast",
        "engine=torch",
        "n_replicas=2",
        "length_ns=2e-5",
        "equilibration_ns=0",
        "save_ps=0.004",
        "output=md",
    )
    run(mdgen, "generate", "model=alanine_dipeptide_tokens", "pdb=md/topology.pdb", "n_trajectories=2", "length_ns=1",
        "frame_spacing_ps=100", "export=xtc", "output=made")  # fmt: skip
    made = mdtraj.load(str(elsewhere / "made/trajectory-0000.xtc"), top=str(elsewhere / "made/topology.pdb"))
    assert made.n_atoms == 22
