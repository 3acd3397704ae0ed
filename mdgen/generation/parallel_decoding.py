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


@torch.no_grad()
def decode_in_parts(
    decoder: Decoder,
    latent: Float[Tensor, "batch frame token channel"],
    context: Context,
    stream: Callable[[int], torch.Generator],
    before: Int[Tensor, "batch"] | None = None,
) -> tuple[Float[Tensor, "batch frame atom 3"], Int[Tensor, "batch"] | None]:
    """Decode every frame, after a decoder that remembers has chosen along all of them what each is made from.

    Processors decode as many parts at a time as torch has threads; other devices take all frames as one part.

    Args:
        decoder: decoder, whose frames do not depend on one another but by what is chosen for them.
        latent: latent trajectories.
        context: context of each.
        stream: random stream of each part, by its number; the one after the last is that of the choice.
        before: what a decoder that remembers made the frame before the first from; None for none.

    Returns:
        Positions: those of every frame, in nm.
        Last: what the last frame was made from, by a decoder that remembers; None by others.
    """
    size = max(1, PART_FRAMES // max(1, len(latent))) if latent.device.type == "cpu" else max(1, latent.shape[1])
    parts, threads = latent.split(size, 1), torch.get_num_threads()
    remembering = decoder if isinstance(decoder, RememberingDecoder) and decoder.remembers else None
    chosen = None if remembering is None else remembering.choose(latent, context, stream(len(parts)), before)

    @torch.no_grad()
    def decoded(number: int) -> Tensor:
        if remembering is None or chosen is None:
            return decoder.decode(parts[number], context, stream(number))
        own = chosen[:, number * size : (number + 1) * size]
        return remembering.decode_chosen(parts[number], own, context, stream(number))

    last = None if chosen is None else chosen[:, -1].clone()
    if min(threads, len(parts)) == 1:
        return torch.cat([decoded(number) for number in range(len(parts))], 1), last
    torch.set_num_threads(1)  # new threads begin with this number
    try:
        with ThreadPoolExecutor(threads) as pool:
            return torch.cat(list(pool.map(decoded, range(len(parts)))), 1), last
    finally:
        torch.set_num_threads(threads)
