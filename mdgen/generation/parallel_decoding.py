"""Decoding in independent parts, each on one thread, so that no thread waits for another.

Threads that share the work of every tensor operation wait for the slowest at its end, which on a machine with other
jobs is one that does not run: two million frames took 14 s with quiet cores, and 10 minutes with shared ones.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mdgen.interfaces import Context, Decoder, RememberingDecoder

PART_FRAMES = 4096
"""Frames of a part, of all trajectories together; frames depend on it, and never on the number of threads."""


def chosen_along(
    decoder: Decoder,
    latent: Float[Tensor, "batch frame token channel"],
    context: Context,
    generator: torch.Generator,
    before: Int[Tensor, "batch"] | None,
) -> Int[Tensor, "batch frame"] | None:
    """What a decoder that remembers makes each frame from, in the order of time; None for one that does not."""
    if isinstance(decoder, RememberingDecoder) and decoder.remembers:
        return decoder.choose(latent, context, generator, before)
    return None


@torch.no_grad()
def decode_in_parts(
    decoder: Decoder,
    latent: Float[Tensor, "batch frame token channel"],
    context: Context,
    stream: Callable[[int], torch.Generator],
    chosen: Int[Tensor, "batch frame"] | None = None,
) -> Float[Tensor, "batch frame atom 3"]:
    """Positions in nm of every frame.

    Processors decode as many parts at a time as torch has threads; other devices take all frames as one part.

    Args:
        decoder: decoder, whose frames do not depend on one another but by what was chosen for them.
        latent: latent trajectories.
        context: context of each.
        stream: random stream of each part, by its number.
        chosen: what a decoder that remembers makes each frame from (`chosen_along`); None for one that does not.
    """
    size = max(1, PART_FRAMES // max(1, len(latent))) if latent.device.type == "cpu" else max(1, latent.shape[1])
    parts, threads = latent.split(size, 1), torch.get_num_threads()

    @torch.no_grad()
    def decoded(number: int) -> Tensor:
        if chosen is None:
            return decoder.decode(parts[number], context, stream(number))
        own = chosen.split(size, 1)[number]
        return decoder.decode_chosen(parts[number], own, context, stream(number))  # type: ignore[attr-defined]

    if min(threads, len(parts)) == 1:
        return torch.cat([decoded(number) for number in range(len(parts))], 1)
    torch.set_num_threads(1)  # new threads begin with this number
    try:
        with ThreadPoolExecutor(threads) as pool:
            return torch.cat(list(pool.map(decoded, range(len(parts)))), 1)
    finally:
        torch.set_num_threads(threads)
