"""Run the tutorial notebooks and keep their outputs: `python notebooks/run_tutorials.py [NAME ...]`, some minutes.

What the cells write goes to `runs/` of the current folder. Outputs stay small, text and one compressed picture a
figure, with a digest of the code that made them: a test compares the two, so that no notebook shows what its code does
not do. Jupyter runs the same files; no Jupyter is needed here.
"""

import ast
import base64
import contextlib
import hashlib
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib import pyplot as plt

TUTORIALS = Path(__file__).parent / "tutorials"
RESOLUTION_DPI = 80

Notebook = dict[str, Any]
"""A notebook as its JSON says, nbformat 4."""


def read_notebook(name: str) -> Notebook:
    """The tutorial of a name."""
    notebook: Notebook = json.loads((TUTORIALS / f"{name}.ipynb").read_text())
    return notebook


def code_digest(notebook: Notebook) -> str:
    """Digest of the code cells, in their order."""
    sources = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


def run_notebook(notebook: Notebook, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
    """Run the code cells in their order, in one namespace, and put their outputs into the notebook.

    Args:
        notebook: changed in place.
        parameters: values set after the cell tagged `parameters`, as papermill does.

    Returns:
        The namespace at the end.

    Raises:
        KeyError: if a parameter is none of the notebook's.
    """
    matplotlib.use("agg")
    names: dict[str, Any] = {"__name__": "__main__"}
    number = 0
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        number += 1
        cell["outputs"], cell["execution_count"] = _outputs("".join(cell["source"]), number, names), number
        if parameters and "parameters" in cell["metadata"].get("tags", []):
            if unknown := set(parameters) - set(names):
                raise KeyError(f"the notebook has no parameters {sorted(unknown)}")
            names |= parameters
    if parameters and not parameters.keys() <= names.keys():
        raise KeyError("the notebook has no cell tagged `parameters`")
    notebook["metadata"]["code_digest"] = code_digest(notebook)
    return names


def _outputs(source: str, number: int, names: dict[str, Any]) -> list[dict[str, Any]]:
    """Run one cell; what it printed, the value of its last expression, and its figures."""
    tree, printed, value = ast.parse(source), io.StringIO(), None
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, f"<cell {number}>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), f"<cell {number}>", "eval"), names)
    outputs: list[dict[str, Any]] = []
    if printed.getvalue():
        outputs.append({"output_type": "stream", "name": "stdout", "text": printed.getvalue().splitlines(True)})
    if value is not None and not source.rstrip().endswith(";"):
        data = {"text/plain": repr(value).splitlines(True)}
        outputs.append({"output_type": "execute_result", "execution_count": number, "data": data, "metadata": {}})
    for figure in map(plt.figure, plt.get_fignums()):
        data = {"image/png": _png(figure), "text/plain": ["<Figure>"]}
        outputs.append({"output_type": "display_data", "data": data, "metadata": {}})
    plt.close("all")
    return outputs


def _png(figure: Any) -> str:
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=RESOLUTION_DPI, bbox_inches="tight", metadata={"Software": None})
    return base64.b64encode(content.getvalue()).decode()


def main(names: Sequence[str]) -> None:
    """Run the named tutorials, all where none is, and write them with their outputs."""
    for name in names or sorted(path.stem for path in TUTORIALS.glob("*.ipynb")):
        notebook = read_notebook(name)
        run_notebook(notebook)
        (TUTORIALS / f"{name}.ipynb").write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
