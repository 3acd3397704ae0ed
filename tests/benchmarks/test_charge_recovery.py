"""Charges are found again from frames, the same whether or not the fit was interrupted."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from mdgen.benchmarks.charge_recovery import charge_recovery_suite
from mdgen.benchmarks.charge_recovery.charge_recovery_suite import (
    ChargeRecoverySettings,
    all_charges,
    rollout_loss,
)
from mdgen.errors import MdgenError

SMALL = ChargeRecoverySettings(
    n_waters=6,
    edge_nm=0.7,
    cutoff_nm=0.35,
    switch_nm=0.3,
    equilibration_ps=0.05,
    steps_per_frame=4,
    n_frames=6,
    n_iterations=100,
    frames_per_iteration=3,
    learning_rate=0.03,
)


MEASURED = ("loss_nm2", "charge_O", "charge_Cl")


def test_charges_are_found_again(tmp_path: Path) -> None:
    metrics, rows = SMALL.run(tmp_path)
    course = metrics["course"]
    assert [float(course[name][0]) for name in ("charge_O", "charge_Cl")] == pytest.approx([-0.00834, -0.01])
    assert metrics["loss_at_true_charges_nm2"] < 1e-24  # true positions, velocities and forces: rounding alone
    assert metrics["loss_at_first_charges_nm2"] > 1e-6
    assert [row.name for row in rows] == ["charge_error_O", "charge_error_Cl", "loss_over_all_frames_nm2"]
    assert all(row.holds for row in rows)
    assert 0 < metrics["iterations_until_within_bound_for_good"] < SMALL.n_iterations
    # Run again where it is done, it only reads.
    again, _ = SMALL.run(tmp_path)
    assert all(torch.equal(again["course"].pop(name), course.pop(name)) for name in MEASURED)
    assert again == metrics


def test_an_interrupted_fit_goes_on_as_if_it_had_not_been(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = replace(SMALL, n_iterations=24, frames_per_iteration=2)
    expected, _ = settings.run(tmp_path / "undisturbed")
    monkeypatch.setattr(charge_recovery_suite, "_CHECKPOINT_EVERY", 4)
    loss, calls = charge_recovery_suite.rollout_loss, 0

    def stopped(*arguments: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 11:
            raise KeyboardInterrupt
        return loss(*arguments)

    monkeypatch.setattr(charge_recovery_suite, "rollout_loss", stopped)
    with pytest.raises(KeyboardInterrupt):
        settings.run(tmp_path)
    found, _ = settings.run(tmp_path)
    assert all(torch.equal(found["course"][name], expected["course"][name]) for name in MEASURED)
    assert found["found_charges"] == expected["found_charges"]
    # 8 iterations were kept, and the loss is looked at for three sets of charges in the end.
    assert calls == 11 + (24 - 8) + 3
    with pytest.raises(MdgenError, match=r"belongs to learning_rate=0.03, but learning_rate=0.5 is asked for"):
        replace(settings, learning_rate=0.5).run(tmp_path)
    (tmp_path / "fit.safetensors").write_bytes(b"torn")
    with pytest.raises(MdgenError, match=r"fit.safetensors cannot be read"):
        settings.run(tmp_path)


def test_every_molecule_stays_neutral() -> None:
    charges = all_charges(torch.tensor([-0.8, -0.9]), 2)
    torch.testing.assert_close(charges, torch.tensor([-0.8, 0.4, 0.4, -0.8, 0.4, 0.4, 0.9, -0.9]))


def test_the_loss_of_several_frames_is_their_mean(tmp_path: Path) -> None:
    settings = replace(SMALL, n_frames=3, frames_per_iteration=1)
    reference = charge_recovery_suite._reference(settings, tmp_path)
    free = torch.tensor([-0.6, -0.7], dtype=torch.float64)
    apart = [rollout_loss(settings, reference, free, torch.tensor([frame])) for frame in range(3)]
    together = rollout_loss(settings, reference, free, torch.arange(3))
    assert float(together) == pytest.approx(float(sum(apart)) / 3, rel=1e-9)


def test_an_epoch_sees_every_frame_once() -> None:
    settings = replace(SMALL, n_frames=6, frames_per_iteration=2)
    epochs = [[charge_recovery_suite._frames_of(settings, 3 * epoch + i) for i in range(3)] for epoch in range(2)]
    orders = [torch.cat(epoch).tolist() for epoch in epochs]
    assert all(sorted(order) == list(range(6)) for order in orders)
    assert orders[0] != orders[1]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"frames_per_iteration": 7}, "frames_per_iteration is 7 with n_frames=6"),
        ({"n_iterations": 0}, "n_iterations is 0"),
        ({"charge_scale": 0.0}, "charge_scale is 0.0"),
    ],
)
def test_senseless_settings_are_named(changed: dict, sentence: str) -> None:
    with pytest.raises(MdgenError, match=sentence):
        replace(SMALL, **changed)
