"""What of each training trajectory a network is told: the known parts of the four tasks, drawn at random."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from mdgen.errors import MdgenError

TASKS: Mapping[str, int] = {"rollout": 0, "interpolate": 1, "upsample": 2, "inpaint": 3, "unconditional": 4}
"""First frame or frames; both ends; every k-th frame; tokens in all frames; nothing."""

DESIGN = "design"
"""A task whose known parts are drawn by `interpolant.residue_design`: residues whose types are not known either."""

LONGER_START = 0.25
"""Share of rollouts that begin with several known frames, for callers that know more than the first; chained windows
overlap by one frame."""


EVERY_OTHER = 0.5
"""Least share of upsamplings in which every other frame is known: how generation fills in (`generation.windows`)."""


def require_tasks(tasks: Sequence[str]) -> None:
    """Raise unless all tasks are known.

    Raises:
        MdgenError: naming the first that is not.
    """
    known = (*TASKS, DESIGN)
    for task in tasks or ("",):
        if task not in known:
            raise MdgenError(f"task {task!r} is not known; choose some of {', '.join(known)}")


def draw_known(
    shape: tuple[int, int, int], tasks: Sequence[str], generator: torch.Generator
) -> Bool[Tensor, "batch frame token"]:
    """What is known of each row, under a task drawn from `tasks` (one named twice is drawn twice as often).

    The spacing of known frames in upsampling is 2 or drawn on a logarithmic scale, the share of known tokens evenly,
    and so is the number of frames, up to half of all, where a rollout begins with several.

    Args:
        shape: numbers of trajectories, frames and tokens.
        tasks: names from `TASKS`; others are left out.
        generator: random stream, on whose device the result lies.
    """
    batch, n_frames, n_tokens = shape
    device = generator.device

    def uniform(*size: int) -> Float[Tensor, "..."]:
        return torch.rand(size, generator=generator, device=device)

    choices = torch.tensor([TASKS[task] for task in tasks if task in TASKS], device=device)
    task = choices[(uniform(batch) * len(choices)).long().clamp_max(len(choices) - 1)]
    frame = torch.arange(n_frames, device=device)
    last = max(n_frames - 1, 1)
    # Spacings from 2 to the whole window, of frames that begin with the first.
    exponent = (uniform(batch, 1) - EVERY_OTHER).clamp_min(0.0) / (1.0 - EVERY_OTHER)
    spacing = (2.0 * (max(last, 2) / 2.0) ** exponent).round().long()
    longer = uniform(batch, 1) < LONGER_START
    n_first = torch.where(longer, 1 + (uniform(batch, 1) * (n_frames // 2)).long(), 1)
    of_frames = torch.stack(
        [
            frame < n_first,
            (frame % last == 0).expand(batch, -1),
            frame % spacing == 0,
            torch.zeros(batch, n_frames, dtype=torch.bool, device=device),
            torch.zeros(batch, n_frames, dtype=torch.bool, device=device),
        ]
    )[task, torch.arange(batch, device=device)]
    of_tokens = (uniform(batch, n_tokens) < uniform(batch, 1)) & (task == TASKS["inpaint"])[:, None]
    return of_frames[:, :, None] | of_tokens[:, None, :]
