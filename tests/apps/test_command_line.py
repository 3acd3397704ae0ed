"""Habits of Hydra's users: `--cfg job`, `--info`, `debug=fast`, configs of one's own, completion in the shell."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import mdgen
from mdgen.apps.config.completion import completions
from mdgen.apps.config.composition import compose, leaves, plain
from mdgen.apps.config.debug import debug_sections
from mdgen.apps.config.flags import read_flags
from mdgen.apps.main import main
from mdgen.apps.sweeps.sweep import jobs
from mdgen.errors import MdgenError


@pytest.mark.parametrize("flag", [["--cfg", "job"], ["--cfg=job"], ["--cfg"], ["-c", "job"]])
def test_cfg_job_shows_the_config_and_package_a_part_of_it(flag: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "runs/x", *flag, "stride=5"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["stride"] == 5
    assert main(["train", *flag, "encoder=tica", "--package", "encoder.model"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown == plain(compose("train", ["encoder=tica"]))["encoder"]["model"]


def test_flags_and_words_without_keys() -> None:
    found = read_flags(["a", "--config-dir", "c", "-m", "b", "x=1", "--cfg", "job"], ("first", "second"))
    assert found.overrides == ("first=a", "--config-dir=c", "second=b", "x=1")
    assert (found.multirun, found.cfg, found.info, found.help) == (True, "job", None, False)
    for wrong, expected in [
        (["--resume"], "there is no option --resume"),
        (["--cfg", "hydra"], "--cfg hydra: expected job"),
        (["--config-dir"], "expected a folder"),
        (["--help=me"], "there is no option --help=me"),
    ]:
        with pytest.raises(MdgenError, match=expected):
            read_flags(wrong)


def test_info_says_where_a_config_comes_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "encoder").mkdir()
    (tmp_path / "encoder/mine.yaml").write_text(
        "features: {_target_: mdgen.molecule.features.TorsionDistanceFeatures}\n"
        "model: {_target_: mdgen.models.encoders.tica.TICA, lag_ps: 7.0}\n"
        "training: {_target_: mdgen.training.settings.TrainingSettings}\n"
    )
    command = ["train", "--config-dir", str(tmp_path), "encoder=mine"]
    assert main([*command, "--info"]) == 0
    shown = capsys.readouterr().out
    assert f"encoder=mine {tmp_path}/encoder/mine.yaml" in " ".join(shown.split())
    assert f"{Path(mdgen.__file__).parent}/models/encoders/tica.py" in shown
    assert "lag_ps: 7.0" in shown
    assert main([*command, "--info", "searchpath"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path)
    assert main(["train", "--config-dir", str(tmp_path), "--help"]) == 0
    assert "encoder=mine" in capsys.readouterr().out


def test_a_users_config_is_data_and_names_only_what_is_registered(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "debug").mkdir()
    (tmp_path / "debug/mine.yaml").write_text("simulate: {system: {_target_: os.getcwd}, seed: 3}\n")
    command = ["simulate", "--config-dir", str(tmp_path), "debug=mine"]
    for flag in ("--cfg", "--info"):
        assert main([*command, flag]) == 2
        assert "'os.getcwd' is not registered" in capsys.readouterr().err
    for text, expected in [
        ("run: {}", "there is no verb 'run'"),
        ("3", "is no debug config"),
        ("simulate: &a {x: *a}", "is no plain YAML"),
    ]:
        (tmp_path / "debug/mine.yaml").write_text(text)
        assert main([*command, "--cfg"]) == 2
        assert expected in capsys.readouterr().err
    assert main(["simulate", "debug=fats"]) == 2
    assert "did you mean debug=fast?" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [
    ["simulate"], ["generate"], ["evaluate"], ["benchmark"], ["train", "encoder=srv"], ["train", "propagator=mdn"],
    ["train", "propagator=interpolant"], ["train", "decoder=cwgan"], ["train", "decoder=neighbour_flow"], ["demo"],
    ["demo", "parts=tokens"], ["adapt"], ["reweight"],
], ids=" ".join)  # fmt: skip
def test_debug_sets_keys_that_there_are_and_gives_way_to_the_command(arguments: list[str]) -> None:
    verb, *rest = arguments
    slow, fast = (dict(leaves(plain(compose(verb, [*rest, *debug])))) for debug in ([], ["debug=fast"]))
    assert set(slow) == set(fast)
    changed = {key for key in slow if slow[key] != fast[key]}
    assert "output" in changed
    assert len(changed) > 2
    counts = [key for key in changed if isinstance(slow[key], int | float)]
    assert [key for key in counts if fast[key] > slow[key]] == []
    key = sorted(counts)[0]
    assert dict(leaves(plain(compose(verb, [*rest, "debug=fast", f"{key}={slow[key]}"]))))[key] == slow[key]


def test_every_key_of_debug_fast_is_one_of_some_config() -> None:
    """A key that was renamed would otherwise be passed over in silence."""
    parts = {"encoder": ("srv",), "propagator": ("mdn", "interpolant"), "decoder": ("cwgan", "neighbour_flow")}
    commands = [("train", [f"{part}={name}"]) for part, names in parts.items() for name in names]
    commands += [(verb, []) for verb in ("simulate", "generate", "evaluate", "demo", "benchmark", "adapt", "reweight")]
    commands += [("benchmark", ["suite=charge_recovery"])]
    known: dict[str, set[str]] = {}
    for verb, arguments in commands:
        known.setdefault(verb, set()).update(key for key, _ in leaves(plain(compose(verb, arguments))))
    steps = [key.partition(".") for key in known["demo"]]
    known["train"].update(key for step, _, key in steps if step.startswith("train_"))
    for verb, keys in known.items():
        ((_, table),) = [each for each in debug_sections(verb, ["debug=fast"]) if each[0] == ""]
        assert {key for key, _ in leaves(table)} <= keys


def test_debug_goes_with_sweeps() -> None:
    found = jobs("simulate", ["debug=fast", "seed=0,1"])
    assert [str(job.folder) for job in found] == ["runs/debug/simulate/seed_0", "runs/debug/simulate/seed_1"]


TRAINERS = [f"trainer@train_{part}.trainer=" for part in ("decoder", "encoder", "propagator")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mdgen simu", ["simulate "]),
        ("mdgen train enc", ["encoder=", "encoder_run="]),
        ("mdgen train encoder=s", ["encoder=se3_tokens ", "encoder=srv "]),
        ("mdgen train encoder=srv encoder.model.n", ["encoder.model.n_modes="]),
        ("mdgen train encoder=tica encoder.model.h", []),
        ("mdgen simulate system.se", ["system.sequence="]),
        ("mdgen simulate system=pdb system.pd", ["system.pdb="]),
        ("mdgen simulate export=d", ["export=dcd "]),
        ("mdgen demo generate.len", ["generate.length_ns="]),
        ("mdgen demo trai", ["train_decoder.", "train_encoder.", "train_propagator.", *TRAINERS, "training_fraction="]),
        ("mdgen demo debug=", ["debug=fast "]),
        ("mdgen simulate -m hydra/launcher=j", ["hydra/launcher=joblib "]),
        ("mdgen simulate --in", ["--info "]),
        ("mdgen simulate --info par", ["parts "]),
        ("mdgen nothing ", []),
        ("mdgen simulate system='", []),
    ],
)
def test_completions(line: str, expected: list[str]) -> None:
    assert completions(line) == expected


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_the_command(tmp_path: Path) -> None:
    (tmp_path / "mdgen").write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'import sys; from mdgen.apps.main import main; sys.exit(main())' \"$@\"\n"
    )
    (tmp_path / "mdgen").chmod(0o755)
    script = f"""
PATH={tmp_path}:$PATH PYTHONPATH={Path(mdgen.__file__).parents[1]}; export PYTHONPATH
eval "$(mdgen --shell-completion install=bash)"
ask() {{ COMP_LINE="$1"; COMP_POINT=${{#1}}; _mdgen; printf '%s|' "${{COMPREPLY[@]}}"; echo; }}
ask "mdgen train prop"
ask "mdgen train propagator=m"
"""
    said = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == ["propagator=|", "markov_state_model |mdn |"]


def test_completion_waits_for_no_large_library() -> None:
    large = ("torch", "numpy", "hydra", "openmm", "mdtraj")
    code = (
        "import sys; from mdgen.apps.main import main; main(['-sc', 'query=mdgen demo simulate.sys'])\n"
        f"print([each for each in {large} if each in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == ["simulate.system.", "[]"]


@pytest.mark.parametrize(("given", "expected"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_threads_that_wait_do_not_spin(given: str | None, expected: str) -> None:
    """Torch's OpenMP says at its start what it was told."""
    told = {key: value for key, value in os.environ.items() if key != "OMP_WAIT_POLICY"} | {"OMP_DISPLAY_ENV": "true"}
    code = "import mdgen, torch"
    said = subprocess.run(
        [sys.executable, "-c", code],
        env=told | ({"OMP_WAIT_POLICY": given} if given else {}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"OMP_WAIT_POLICY = '{expected}'" in said.stderr
