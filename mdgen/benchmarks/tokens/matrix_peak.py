"""Timings beside the rate of plain matrix products, measured at the same time.

Other work on a machine slows everything down by factors that change within seconds. So each repeat of a timing lies
between two bursts of products, and its share of the peak is that of the bursts beside it; and one thread is timed by
the processor time that it used, which does not count while other programs have the core.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import mean, median
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

_BURST_S = 0.02
_LEAST_REPEATS, _MOST_REPEATS = 3, 25


@dataclass(frozen=True)
class Timing:
    """Repeats of one piece of work.

    Args:
        seconds: time of each repeat on the clock of `MatrixPeak`.
        peaks: operations per second of matrix products in single precision beside each repeat.
    """

    seconds: list[float]
    peaks: list[float]

    def row(self, operations: float | None = None) -> dict[str, Any]:
        """Median, least and largest seconds; with the number of operations also their rate and share of the peak."""
        row: dict[str, Any] = {
            "seconds": median(self.seconds),
            "seconds_low": min(self.seconds),
            "seconds_high": max(self.seconds),
            "repeats": len(self.seconds),
        }
        if operations is not None:
            shares = [operations / (t * peak) for t, peak in zip(self.seconds, self.peaks, strict=True)]
            row |= {"gflop": 1e-9 * operations, "share_of_peak": median(shares)}
        return row


class MatrixPeak:
    """The rate of products of matrices on a device, in single precision.

    Args:
        device: device of the products.
    """

    def __init__(self, device: torch.device) -> None:
        self.device, self.best = device, 0.0
        """Highest rate so far, operations per second."""
        alone = device.type == "cpu" and torch.get_num_threads() == 1
        self.clock = time.thread_time if alone else time.perf_counter
        size = 512 if device.type == "cpu" else 8192
        self._matrix = torch.ones(size, size, device=device)
        for _ in range(10):
            self.burst()

    def burst(self) -> float:
        """Operations per second over some hundredths of a second."""
        begin, n = self.clock(), 0
        while True:
            product = self._matrix @ self._matrix
            product[0, 0].item()  # a device works beside the processor until it is asked for a number
            n += 1
            if (took := self.clock() - begin) >= _BURST_S:
                break
        rate = 2 * n * len(self._matrix) ** 3 / took
        self.best = max(self.best, rate)
        return rate

    @property
    def clock_name(self) -> str:
        """What is timed."""
        return "processor time" if self.clock is time.thread_time else "wall time"

    def time(self, work: Callable[[], Any], seconds: float) -> Timing:
        """Repeat work for about `seconds`, three times at least, after a first time that does not count.

        Work that takes five times as long is done once.
        """
        times: list[float] = []
        peaks: list[float] = []
        before = self.burst()
        first = self._once(work)
        after = self.burst()
        if first > 5 * seconds:
            return Timing([first], [mean((before, after))])
        while len(times) < _LEAST_REPEATS or (sum(times) < seconds and len(times) < _MOST_REPEATS):
            before = after
            times.append(self._once(work))
            after = self.burst()
            peaks.append(mean((before, after)))
        return Timing(times, peaks)

    def _once(self, work: Callable[[], Any]) -> float:
        begin = self.clock()
        work()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.clock() - begin


def operations_of(work: Callable[[], Any]) -> float:
    """Operations of the matrix products of some work, those within fused attention included."""

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> int:
        return sdpa_flop_count(query, key, value)

    on_processors = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    with torch.no_grad(), FlopCounterMode(display=False, custom_mapping={on_processors: attention}) as counter:
        work()
    return float(counter.get_total_flops())


def n_parameters(network: nn.Module) -> int:
    """Number of trainable numbers."""
    return sum(parameter.numel() for parameter in network.parameters())
