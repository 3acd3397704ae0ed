"""Networks trained on nested sets of molecules, with as many steps each: what more data are worth on unseen molecules.

    mdgen train experiment=tokens_transfer_small data.molecules=peptides/40 data.validation_molecules=peptides/val \
      propagator.training.max_epochs=2 output=runs/curve/40        # and 20 with 4 epochs, 10 with 8, 5 with 16
    python notebooks/learning_curve.py runs/curve/*:runs/curve_scores/* data/results/learning_curve.json

Each argument is TRAINED:SCORED: a run of `mdgen train`, and one of `mdgen evaluate pairs=... protocol=mdgen` on what it
generates for molecules that are in no set; the second may be left out. Losses are of the validation molecules, which
are the same for all; a run keeps the weights of its lowest.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import yaml
from matplotlib.figure import Figure

from mdgen.errors import MdgenError
from mdgen.evaluation.report.canvas import write_png
from mdgen.results import write_result

SCORES = ("torsion_jsd/all", "torsion_pair_jsd/all", "tica_jsd/0", "tica_jsd/0,1")


def line(argument: str) -> dict[str, Any]:
    """What one run learnt, and how it scores.

    Raises:
        MdgenError: if one of its runs is not done.
    """
    trained, _, scored = argument.partition(":")
    for folder in filter(None, (trained, scored)):
        if not (Path(folder) / "DONE").is_file():
            raise MdgenError(f"{folder} holds no finished run; give folders that hold a DONE mark")
    config = yaml.safe_load((Path(trained) / "config.yaml").read_text())
    found = json.loads((Path(trained) / "metrics.json").read_text())
    epoch_steps = -(
        -found["n_examples"] // config["data"]["loader"]["batch_size"]
    )  # full batches of windows of one size
    history = [
        {
            "steps": epoch_steps * int(each["epoch"] + 1),
            "train": each["train/loss"],
            "validation": each["validation/loss"],
        }
        for each in found["history"]
    ]
    result = {
        "molecules": sum(1 for each in Path(config["data"]["molecules"]).iterdir() if each.is_dir()),
        "examples": found["n_examples"],
        "steps": history[-1]["steps"],
        "seconds": found["seconds"],
        "best_validation_loss": min(each["validation"] for each in history if each["validation"] is not None),
        "history": history,
    }
    if scored:
        metrics = json.loads((Path(scored) / "aggregate.json").read_text())
        result["equivalent_length_ns"] = {name: metrics["equivalent_length_ns"].get(name) for name in SCORES}
        result["scores"] = {
            row: {name: metrics["rows"][row][name]["median"] for name in SCORES if name in metrics["rows"][row]}
            for row in ("generated", "replicate")
        }
    return result


def figure(lines: list[dict[str, Any]]) -> Figure:
    """Validation losses over steps, and the length of dynamics with the same score over molecules."""
    drawn = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = drawn.subplots(1, 2)
    for each in lines:
        steps = [point["steps"] for point in each["history"]]
        left.plot(
            steps, [point["validation"] for point in each["history"]], "o-", label=f"{each['molecules']} molecules"
        )
    left.set(xlabel="steps", ylabel="validation loss, unseen molecules")
    left.legend()
    scored = [each for each in lines if "equivalent_length_ns" in each]
    for name in SCORES:
        known = [each for each in scored if each["equivalent_length_ns"][name]]
        right.plot(
            [each["molecules"] for each in known],
            [each["equivalent_length_ns"][name]["value"] for each in known],
            "o-",
            label=name,
        )
    right.set(xlabel="molecules", ylabel="dynamics with the same score (ns)", xscale="log", yscale="log")
    if scored:
        right.legend()
        sizes = [each["molecules"] for each in scored]
        right.set_xticks(sizes, [str(size) for size in sizes])
        right.minorticks_off()
    return drawn


def main() -> None:
    """Read the runs, write the result and its plot."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    lines = sorted((line(each) for each in arguments.runs), key=lambda each: each["molecules"])
    for each in lines:
        shown = {
            key: each[key]
            for key in ("molecules", "steps", "best_validation_loss", "equivalent_length_ns")
            if key in each
        }
        sys.stdout.write(json.dumps(shown) + "\n")
    write_result(arguments.output, {"lines": lines}, [])
    write_png(arguments.output.with_suffix(".png"), lambda: figure(lines))


if __name__ == "__main__":
    main()
