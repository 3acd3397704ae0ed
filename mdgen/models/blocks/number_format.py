"""The number format in which a device multiplies matrices fastest, by measurement.

Processors with matrix units (AMX) multiply bfloat16 ten times as fast as single precision, those without a hundred
times slower; so the format is tried, never assumed.
"""

import functools
import time

import torch

from mdgen.errors import MdgenError

FORMATS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
ADVANTAGE = 3.0
"""Factor by which bfloat16 must be faster to be chosen. Matrix units and GPUs reach eight and more; processors with
AVX-512 instructions for it alone reach 1.5 to 2, of which casting takes much back, and by chance of the measurement the
same seed would make other frames from one run to the next."""


def chosen_format(name: str, device: torch.device) -> torch.dtype:
    """The format of a name from `FORMATS`, or for `auto` the one that is faster on the device.

    Raises:
        MdgenError: for another name.
    """
    if name == "auto":
        return fastest_format(device.type, device.index)
    if name not in FORMATS:
        raise MdgenError(f"number_format={name}: expected auto, {' or '.join(FORMATS)}")
    return FORMATS[name]


@functools.cache
def fastest_format(device_type: str, index: int | None = None) -> torch.dtype:
    """bfloat16 where a product of matrices is at least `ADVANTAGE` times as fast in it, else float32."""
    device = torch.device(device_type) if index is None else torch.device(device_type, index)
    # Large enough to measure the product and not its launch, small enough for a processor that emulates bfloat16.
    size = 256 if device_type == "cpu" else 4096
    single, brain = (_seconds(dtype, device, size) for dtype in (torch.float32, torch.bfloat16))
    return torch.bfloat16 if single > ADVANTAGE * brain else torch.float32


def _seconds(dtype: torch.dtype, device: torch.device, size: int, trials: int = 3) -> float:
    """The shortest time of some products, the first of them not counted."""
    matrix = torch.ones(size, size, dtype=dtype, device=device)
    found = []
    for _ in range(trials + 1):
        begin = time.perf_counter()
        product = matrix @ matrix
        product[0, 0].item()  # a device works beside the processor until it is asked for a number
        found.append(time.perf_counter() - begin)
    return min(found[1:])
