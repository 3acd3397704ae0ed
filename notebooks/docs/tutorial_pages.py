"""A page for every tutorial notebook with the outputs that it holds, written before the site is read."""

import base64
import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

FOLDER = Path(__file__).parent / "tutorials"
NOTEBOOKS = Path(__file__).parents[1] / "tutorials"
ORDER = ("engine", "latent_simulator", "trajectory_tokens", "evaluation", "differentiable_dynamics")

HEAD = """# Tutorials

Notebooks, each of some minutes on one core. They lie in `notebooks/tutorials`; start Jupyter there, or read them here
with the pictures and numbers of their last run (`python notebooks/run_tutorials.py`).
"""


def setup(app: "Sphinx") -> dict[str, Any]:
    """Write the pages when the build begins."""
    app.connect("builder-inited", lambda _: write_pages(FOLDER))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages(folder: Path) -> list[Path]:
    """Write a page for each notebook and `index.md`, with the pictures beside them; returns the paths of the pages."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    lines = [HEAD]
    for name in ORDER:
        notebook = json.loads((NOTEBOOKS / f"{name}.ipynb").read_text())
        (folder / f"{name}.md").write_text(_page(name, notebook, folder))
        title, _, text = "".join(notebook["cells"][0]["source"]).partition("\n\n")
        lines.append(f"- [{title.removeprefix('# ')}]({name}.md). {_first_sentence(text)}")
    listed = "\n".join(ORDER)
    (folder / "index.md").write_text("\n".join(lines) + f"\n\n```{{toctree}}\n:hidden:\n\n{listed}\n```\n")
    return [folder / f"{name}.md" for name in (*ORDER, "index")]


def _first_sentence(text: str) -> str:
    return re.split(r"(?<=[.?!])\s", " ".join(text.split()))[0]


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
