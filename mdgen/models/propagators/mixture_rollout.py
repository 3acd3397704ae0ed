"""Long trajectories of a mixture density network, compiled: the whole step of a walker stays in the nearest cache.

A step is 1e4 multiplications, far too few to be worth thirty tensor operations, so one walker is carried through all
its frames by one thread. Two things make it fast beyond that: half of the hidden units are zero after the ReLU and are
skipped, and the Gaussian is chosen first, so that only its own mean and width are computed.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, no_type_check

import numba
import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt64

from mdgen.models.propagators.rejection_filter import FilterTables

GOLDEN = np.uint64(0x9E3779B97F4A7C15)


class MixtureWeights(NamedTuple):
    """Weights of the network in float32; a layer's matrix is (inputs, outputs)."""

    layers: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    weight_head: Float32[np.ndarray, "hidden component"]
    weight_bias: Float32[np.ndarray, "component"]
    shape_head: Float32[np.ndarray, "component parameter hidden"]
    shape_bias: Float32[np.ndarray, "component parameter"]
    width_floor: np.float32


def rollout(
    weights: MixtureWeights,
    start: Float32[np.ndarray, "walker channel"],
    seeds: UInt64[np.ndarray, "walker"],
    n_frames: int,
    limits: tuple[float, float, int],
    rejection: FilterTables,
) -> tuple[Float32[np.ndarray, "walker frame channel"], Int64[np.ndarray, "walker"]]:
    """Walk each walker from its start, in the scaled latent.

    Args:
        start: first frame of each walker; it counts among `n_frames`.
        seeds: seed of each walker's own random stream, so that no walker depends on how many others there are.
        limits: least and greatest value of the data's range, and how often a refused sample is drawn again;
            after that the walker stays where it is for a frame.
        rejection: which samples are refused beside those outside of the range.

    Returns:
        The trajectories, and how many samples of each walker left the range at the first draw.
    """
    out = np.empty((len(start), n_frames, start.shape[1]), np.float32)
    left = np.zeros(len(start), np.int64)
    low, high, redraws = np.float32(limits[0]), np.float32(limits[1]), limits[2]
    shares = np.array_split(np.arange(len(start)), min(len(start), torch.get_num_threads()))

    def walk(share: np.ndarray) -> None:
        own = slice(share[0], share[-1] + 1)
        _walk(weights, start[own], seeds[own], low, high, redraws, rejection, out[own], left[own])

    # Plain threads: the compiled loop holds no interpreter lock, and needs no threading layer of its own.
    with ThreadPoolExecutor(len(shares)) as pool:
        list(pool.map(walk, shares))
    return out, left


@numba.njit(cache=True, inline="always")
@no_type_check
def _uniform(stream):
    # SplitMix64 (Steele, Lea, Flood 2014): 2^53 equal steps of (0, 1].
    stream[0] += GOLDEN
    z = stream[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return (float(z >> np.uint64(11)) + 1.0) * (1.0 / 9007199254740992.0)


@numba.njit(cache=True, fastmath=True)
@no_type_check
def _affine(x, matrix, bias, y, active):
    count = 0
    for k in range(x.shape[0]):
        active[count] = k
        count += x[k] != 0.0
    for j in range(y.shape[0]):
        y[j] = bias[j]
    # Four inputs at a time: the sums then travel between register and cache a quarter as often.
    whole = count - count % 4
    for i in range(0, whole, 4):
        k0, k1, k2, k3 = active[i], active[i + 1], active[i + 2], active[i + 3]
        a0, a1, a2, a3 = x[k0], x[k1], x[k2], x[k3]
        for j in range(y.shape[0]):
            y[j] += a0 * matrix[k0, j] + a1 * matrix[k1, j] + a2 * matrix[k2, j] + a3 * matrix[k3, j]
    for i in range(whole, count):
        k0 = active[i]
        a0 = x[k0]
        for j in range(y.shape[0]):
            y[j] += a0 * matrix[k0, j]


@numba.njit(cache=True, fastmath=True)
@no_type_check
def _dot(x, y):
    total = np.float32(0.0)
    for k in range(x.shape[0]):
        total += x[k] * y[k]
    return total


@numba.njit(cache=True, fastmath=True)
@no_type_check
def _accumulate(logits):
    # Logits become sums of weights up to each component, relative to the largest weight. exp(x) is taken as
    # (exp(x / 64))^64 with seven terms of its series, which compiles to vectors as a call of the library does not. Its
    # error, measured: 1e-5 of a weight above 2e-9, 3e-3 of one above 1e-20 and 2e-2 of one above 1e-26, where the
    # logits are cut off; 1e-6 of the sum.
    top = logits[0]
    for j in range(1, logits.shape[0]):
        top = max(top, logits[j])
    for j in range(logits.shape[0]):
        x = max(logits[j] - top, np.float32(-60.0)) * np.float32(1.0 / 64.0)
        y = np.float32(1.0 / 120.0) + x * np.float32(1.0 / 720.0)
        y = np.float32(1.0 / 24.0) + x * y
        y = np.float32(1.0 / 6.0) + x * y
        y = np.float32(0.5) + x * y
        y = np.float32(1.0) + x * (np.float32(1.0) + x * y)
        y *= y
        y *= y
        y *= y
        y *= y
        y *= y
        logits[j] = y * y
    for j in range(1, logits.shape[0]):
        logits[j] += logits[j - 1]


@numba.njit(cache=True, fastmath=True)
@no_type_check
def _choose(sums, point):
    # The component at which the sum of weights passes its share `point`.
    wanted, chosen = point * sums[-1], 0
    for j in range(sums.shape[0] - 1):
        chosen += sums[j] < wanted
    return chosen


@numba.njit(cache=True, fastmath=True)
@no_type_check
def _softplus(x):
    return max(x, np.float32(0.0)) + np.log1p(np.exp(-abs(x)))


@numba.njit(cache=True, fastmath=True)
@no_type_check
def _gaussian(weights, hidden, component, stream, normals, point):
    # point = sigmoid(mean) + factor @ normals, with only this component's parameters computed.
    channels = point.shape[0]
    rows, bias = weights.shape_head[component], weights.shape_bias[component]
    for c in range(0, channels, 2):
        radius = np.sqrt(np.float32(-2.0) * np.log(np.float32(_uniform(stream))))
        angle = np.float32(2.0 * math.pi * _uniform(stream))
        normals[c] = radius * np.cos(angle)
        if c + 1 < channels:
            normals[c + 1] = radius * np.sin(angle)
    parameter = 2 * channels
    for c in range(channels):
        mean = bias[c] + _dot(rows[c], hidden)
        width = bias[channels + c] + _dot(rows[channels + c], hidden)
        value = (
            np.float32(1.0) / (np.float32(1.0) + np.exp(-mean)) + (weights.width_floor + _softplus(width)) * normals[c]
        )
        for earlier in range(c):
            value += (bias[parameter] + _dot(rows[parameter], hidden)) * normals[earlier]
            parameter += 1
        point[c] = value


@numba.njit(cache=True, fastmath=True)
@no_type_check
def _occupied(rejection, point):
    if rejection.n_cells == 0:
        return True
    cell = 0
    for c in range(point.shape[0]):
        place = int(point[c] * rejection.n_cells)
        cell = cell * rejection.n_cells + min(max(place, 0), rejection.n_cells - 1)
    return rejection.occupied[cell]


@numba.njit(cache=True, fastmath=True)
@no_type_check
def _kept(rejection, now, following, stream):
    before, after = 0, 0
    for c in range(now.shape[0]):
        before += (now[c] > rejection.thresholds[c]) << c
        after += (following[c] > rejection.thresholds[c]) << c
    chance = rejection.acceptance[before, after]
    n_bins = rejection.weights.shape[1]
    for c in range(now.shape[0]):
        place = int(following[c] * n_bins)
        chance *= rejection.weights[c, min(max(place, 0), n_bins - 1)]
    return chance >= 1.0 or _uniform(stream) < chance


@numba.njit(cache=True, nogil=True, fastmath=True)
@no_type_check
def _walk(weights, start, seeds, low, high, redraws, rejection, out, left):
    channels = start.shape[1]
    n_layers = len(weights.layers)
    width = channels
    for layer in range(n_layers):
        width = max(width, weights.layers[layer].shape[1])
    for walker in range(start.shape[0]):
        stream = np.empty(1, np.uint64)
        stream[0] = seeds[walker]
        buffers = np.empty((2, width), np.float32)
        active = np.empty(width + 1, np.int64)
        sums = np.empty(weights.weight_bias.shape[0], np.float32)
        normals = np.empty(channels, np.float32)
        out[walker, 0] = start[walker]
        for frame in range(1, out.shape[1]):
            hidden = out[walker, frame - 1]
            for layer in range(n_layers):
                following = buffers[layer % 2, : weights.layers[layer].shape[1]]
                _affine(hidden, weights.layers[layer], weights.biases[layer], following, active)
                for j in range(following.shape[0]):
                    following[j] = max(following[j], np.float32(0.0))
                hidden = following
            _affine(hidden, weights.weight_head, weights.weight_bias, sums, active)
            _accumulate(sums)
            for attempt in range(redraws + 1):
                component = _choose(sums, np.float32(_uniform(stream)))
                _gaussian(weights, hidden, component, stream, normals, out[walker, frame])
                outside = False
                for c in range(channels):
                    value = out[walker, frame, c]
                    outside = outside or value < low or value > high
                outside = outside or not _occupied(rejection, out[walker, frame])
                if attempt == 0:
                    left[walker] += outside
                if redraws == 0 or (
                    not outside and _kept(rejection, out[walker, frame - 1], out[walker, frame], stream)
                ):
                    break
                if attempt == redraws:
                    out[walker, frame] = out[walker, frame - 1]
