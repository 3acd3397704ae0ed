from pathlib import Path

import numpy as np
import pytest

from mdgen.errors import MdgenError
from mdgen.evaluation import Evaluation
from mdgen.evaluation.report.losses import loss_curves, loss_plots, read_losses

TABLE = "epoch,step,train/loss,validation/loss\n0,0,2.5,\n0,0,,3.0\n1,5,1.5,\n1,5,,2.0\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "log").mkdir()
    (tmp_path / "log/metrics.csv").write_text(TABLE)
    return tmp_path


def test_losses_are_read_from_a_run_and_from_a_table(run: Path) -> None:
    for source in (run, run / "log/metrics.csv"):
        found = read_losses(source)
        np.testing.assert_array_equal(found["train/loss"], [[0, 5], [2.5, 1.5]])
        np.testing.assert_array_equal(found["validation/loss"], [[0, 5], [3, 2]])


def test_each_training_has_a_plot(run: Path) -> None:
    result = Evaluation({}, {}, {}, curves=loss_curves({"encoder": run, "decoder": run}))
    drawn = loss_plots(result)
    assert [plot.name for plot in drawn] == ["loss_encoder", "loss_decoder"]
    assert all(plot.section == "Training" and "<svg" in plot.svg for plot in drawn)


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "step,train/loss\n1,x\n", "step,train/loss\n"])
def test_what_is_no_table_of_losses_is_refused(content: str, tmp_path: Path) -> None:
    with pytest.raises(MdgenError, match="no table of losses"):
        read_losses(tmp_path)
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(MdgenError, match=r"t\.csv"):
        read_losses(tmp_path / "t.csv")
