"""The 3-D player of the report: films of the reference and of the generated trajectories, with its script inlined."""

import base64
import json
from importlib.resources import files

import numpy as np

from mdgen.evaluation.result import Evaluation

VIEWS = {"reference": "MD", "generated": "generated"}


def player(result: Evaluation) -> str:
    """HTML of the player; empty where the result holds no films."""
    if not all(f"film/{name}" in result.curves for name in VIEWS):
        return ""
    script = files("mdgen.evaluation.report").joinpath("player.js").read_text(encoding="utf-8")
    canvases = "".join(
        f"<div><strong{' class=generated' if name == 'generated' else ''}>{title}</strong>"
        f'<canvas data-view="{name}" role="img" aria-label="{title}, three-dimensional view"></canvas></div>'
        for name, title in VIEWS.items()
    )
    # In JSON within HTML a "</script>" would end the element early.
    film = json.dumps(_film(result)).replace("<", "\\u003c")
    return (
        f'<h2>Molecule</h2><div class="card" id="player"><div class="grid">{canvases}</div>'
        '<div class="controls"><button type="button">Play</button>'
        '<input type="range" min="0" value="0" aria-label="frame"><output>0 ps</output></div>'
        '<p class="soft">Consecutive frames. Drag to turn, scroll or pinch to zoom.</p></div>'
        f'<script type="application/json" id="film">{film}</script><script>{script}</script>'
    )


def _film(result: Evaluation) -> dict[str, object]:
    positions = {name: result.curves[f"film/{name}"] for name in VIEWS}
    reach = np.linalg.norm(positions["reference"], axis=-1).max()
    return {
        "elements": [str(element) for element in result.curves["film_elements"]],
        "bonds": result.curves["film_bonds"].tolist(),
        "spacing_ps": float(result.settings["frame_spacing_ps"]),
        "radius": float(reach),
        "views": [{"name": name, "positions": _encoded(values)} for name, values in positions.items()],
    }


def _encoded(positions: np.ndarray) -> str:
    """Picometres as 16-bit integers, little-endian, in base 64."""
    picometres = np.clip(np.round(positions * 1000), -32768, 32767).astype("<i2")
    return base64.b64encode(picometres.tobytes()).decode("ascii")
