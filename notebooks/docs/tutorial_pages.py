"""A page for every tutorial notebook with the outputs that it holds, written before the site is read."""

import base64
import json
import re
import shutil
from pathlib import Path
from typing import Any

NOTEBOOKS = Path(__file__).parents[1] / "tutorials"
TUTORIALS = {
    "engine": "Alanine dipeptide in 64 replicas, energies against OpenMM, trajectories opened and exported.",
    "latent_simulator": "Encoder, propagator and decoder learn from dynamics and are compared with what was held out.",
    "trajectory_tokens": "Four tasks with the weights that come with mdgen, and a look at the geometry.",
    "evaluation": "Verdicts on a perfect model and on copies, shuffled frames and the wrong temperature.",
    "differentiable_dynamics": "A gradient through the integrator, charges from a trajectory, and where it ends.",
}
"""What each notebook does, in the order of the site."""

HEAD = """# Tutorials

Notebooks, each of some minutes on one core. They lie in `notebooks/tutorials`; start Jupyter there, or read them here
with the pictures and numbers of their last run (`python notebooks/run_tutorials.py`).
"""


def write_pages(folder: Path) -> list[Path]:
    """Write a page for each notebook and `index.md`, with the pictures beside them; returns the paths of the pages."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lines = [HEAD]
    for name, summary in TUTORIALS.items():
        notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())
        (folder / f"{name}.md").write_text(_page(name, notebook, folder))
        title = notebook["cells"][0]["source"][0].removeprefix("# ").strip()
        lines.append(f"- [{title}]({name}.md). {summary}")
    listed = "\n".join(TUTORIALS)
    (folder / "index.md").write_text("\n".join(lines) + f"\n\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n")
    return [folder / f"{name}.md" for name in (*TUTORIALS, "index")]


def _page(name: str, notebook: dict[str, Any], folder: Path) -> str:
    """The cells as Markdown; pictures are written into the folder."""
    parts, pictures = [], 0
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(re.sub(r"\((\w+)\.ipynb\)", r"(\1.md)", source))
            continue
        parts.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                pictures += 1
                file = folder / f"{name}-{pictures}.png"
                file.write_bytes(base64.b64decode(data["image/png"]))
                parts.append(f"![What the cell above draws]({file.name})")
            else:
                text = "".join(output.get("text", data.get("text/plain", [])))
                shown = "\n".join(line.rstrip() for line in text.rstrip().splitlines())
                parts.append(f":::{{code-block}} console\n:class: output\n\n{shown}\n:::")
    return "\n\n".join(parts) + "\n"
