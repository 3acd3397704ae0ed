"""Long trajectories of a mixture density network, compiled: sixteen walkers side by side in the lanes of the processor.

A step is 1e4 multiplications, far too few to be worth thirty tensor operations. A block of walkers is carried through
all its frames by one thread, its numbers in the nearest caches. The layers are matrix products with a walker a lane;
then the Gaussian is chosen first, so that only its own mean and widths are computed. Some samples are refused and drawn
again, some walkers' many times: those that wait are gathered anew for every draw, so that lanes seldom idle.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, no_type_check

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt64

from mdgen.models.propagators.rejection_filter import FilterTables
from mdgen.simd.jit import entry_point, lane_function, part_of_caller, source_digest
from mdgen.simd.lane_instructions import absolute, lane_sum, maximum
from mdgen.simd.lane_math import LOG2_E, exp2, log
from mdgen.simd.lanes import LANES, filled, gathered, load, store
from mdgen.simd.random import WORDS, fill_normal, fill_uniform, streams_of

WALKERS = 128
"""Walkers of a block: several times the lanes, so that draws of those that wait fill them."""

TILE = 6
"""Outputs of a layer that are summed at once: as many as leave room for the inputs in sixteen registers."""

ROWS = 3
"""Parameters of a Gaussian that are summed at once."""

NEVER = -1e30
"""Logit of a component that only fills a tile up."""


class MixtureWeights(NamedTuple):
    """Weights of the network in float32; a layer's matrix is (inputs, outputs)."""

    layers: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    weight_head: Float32[np.ndarray, "hidden component"]
    weight_bias: Float32[np.ndarray, "component"]
    shape_head: Float32[np.ndarray, "component parameter hidden"]
    shape_bias: Float32[np.ndarray, "component parameter"]
    width_floor: np.float32


class _Tables(NamedTuple):
    """Weights as the lanes read them: outputs of layers by tiles, inputs of the Gaussians' parameters by lanes."""

    layers: tuple[Float32[np.ndarray, "tile _input 6"], ...]
    biases: tuple[Float32[np.ndarray, "tile 6"], ...]
    weight_head: Float32[np.ndarray, "tile hidden 6"]
    weight_bias: Float32[np.ndarray, "tile 6"]
    shape_head: Float32[np.ndarray, "component parameter part 16"]
    shape_bias: Float32[np.ndarray, "component parameter"]
    bounds: Float32[np.ndarray, "component*well"]


def rollout(
    weights: MixtureWeights,
    start: Float32[np.ndarray, "walker channel"],
    seeds: UInt64[np.ndarray, "walker"],
    n_frames: int,
    limits: tuple[float, float, int],
    rejection: FilterTables,
    bounds: Float32[np.ndarray, "well component"],
) -> tuple[Float32[np.ndarray, "walker frame channel"], Int64[np.ndarray, "walker"]]:
    """Walk each walker from its start, in the scaled latent.

    Args:
        start: first frame of each walker; it counts among `n_frames`.
        seeds: seed of each walker's own random stream, so that no walker depends on how many others there are.
        limits: least and greatest value of the data's range, and how often a refused sample is drawn again;
            after that the walker stays where it is for a frame.
        rejection: which samples are refused beside those outside of the range.
        bounds: factor by which each Gaussian is proposed more often, see `ProposalEnvelope`.

    Returns:
        The trajectories, and how many samples of each walker left the range at the first draw.
    """
    out = np.empty((len(start), n_frames, start.shape[1]), np.float32)
    left = np.zeros(len(start), np.int64)
    rejection = rejection._replace(occupied=rejection.occupied.view(np.uint8))
    tables, streams = _tables(weights, bounds), streams_of(seeds)
    shares = np.array_split(np.arange(len(start)), min(len(start), torch.get_num_threads()))

    def walk(share: np.ndarray) -> None:
        own = slice(share[0], share[-1] + 1)
        settings = (weights.width_floor, *np.array(limits[:2], np.float32), limits[2])
        _walk(tables, settings, start[own], streams[own], rejection, out[own], left[own])

    # Plain threads: the compiled loop holds no interpreter lock, and needs no threading layer of its own.
    with ThreadPoolExecutor(len(shares)) as pool:
        list(pool.map(walk, shares))
    return out, left


def _tables(weights: MixtureWeights, bounds: np.ndarray) -> _Tables:
    layers = [_tiles(matrix, bias, 0.0) for matrix, bias in zip(weights.layers, weights.biases, strict=True)]
    rows = -weights.shape_bias.shape[1] % ROWS
    head = np.pad(weights.shape_head, ((0, 0), (0, rows), (0, -weights.shape_head.shape[2] % LANES)))
    return _Tables(
        tuple(matrix for matrix, _ in layers),
        tuple(bias for _, bias in layers),
        *_tiles(weights.weight_head, weights.weight_bias, NEVER),
        head.reshape(*head.shape[:2], -1, LANES),
        np.pad(weights.shape_bias, ((0, 0), (0, rows))),
        np.pad(bounds.T, ((0, -bounds.shape[1] % TILE), (0, 0))).reshape(-1),
    )


def _tiles(matrix: np.ndarray, bias: np.ndarray, rest: float) -> tuple[np.ndarray, np.ndarray]:
    """A matrix (input, output) as (tile, input, output), the outputs filled up by ones whose bias is `rest`."""
    more = -len(bias) % TILE
    matrix, bias = np.pad(matrix, ((0, 0), (0, more))), np.pad(bias, (0, more), constant_values=rest)
    tiles = matrix.reshape(len(matrix), -1, TILE).swapaxes(0, 1)
    return np.ascontiguousarray(tiles), bias.reshape(-1, TILE)


@lane_function
@no_type_check
def _affine(matrix, bias, x, y, least):
    # y = max(x matrix + bias, least); x and y are (unit, lane).
    for tile in range(matrix.shape[0]):
        y0, y1 = filled(bias, load(bias, (tile, 0))), filled(bias, load(bias, (tile, 1)))
        y2, y3 = filled(bias, load(bias, (tile, 2))), filled(bias, load(bias, (tile, 3)))
        y4, y5 = filled(bias, load(bias, (tile, 4))), filled(bias, load(bias, (tile, 5)))
        for k in range(matrix.shape[1]):
            value = load(x, (k,))
            y0 = y0 + value * load(matrix, (tile, k, 0))
            y1 = y1 + value * load(matrix, (tile, k, 1))
            y2 = y2 + value * load(matrix, (tile, k, 2))
            y3 = y3 + value * load(matrix, (tile, k, 3))
            y4 = y4 + value * load(matrix, (tile, k, 4))
            y5 = y5 + value * load(matrix, (tile, k, 5))
        row = TILE * tile
        store(y, (row,), maximum(y0, least))
        store(y, (row + 1,), maximum(y1, least))
        store(y, (row + 2,), maximum(y2, least))
        store(y, (row + 3,), maximum(y3, least))
        store(y, (row + 4,), maximum(y4, least))
        store(y, (row + 5,), maximum(y5, least))


@lane_function
@no_type_check
def _accumulate(logits, bounds, wells, n_wells):
    # Logits (component, lane) become sums, up to each component, of how often it is proposed from the lane's well.
    top = load(logits, (0,))
    for j in range(1, logits.shape[0]):
        top = maximum(top, load(logits, (j,)))
    total = filled(logits, 0.0)
    for j in range(logits.shape[0]):
        total = total + exp2((load(logits, (j,)) - top) * LOG2_E) * gathered(bounds, wells + j * n_wells)
        store(logits, (j,), total)


@part_of_caller
@no_type_check
def _choose(sums, lane, n_components, point):
    # The component at which the sum of weights passes its share `point`: a bisection without branches.
    wanted = point * load(sums, (n_components - 1, lane))
    step, component = 1, 0
    while 2 * step < n_components:
        step *= 2
    while step > 0:
        last = component + step - 1
        passed = (last < n_components - 1) & (load(sums, (min(last, n_components - 1), lane)) < wanted)
        component += step * passed
        step >>= 1
    return component


@part_of_caller
@no_type_check
def _parameters(head, bias, component, inputs, walker, parameters, lane):
    # Means, widths and the rest of one Gaussian, down a column of `parameters` (row, lane).
    for row in range(0, head.shape[1], ROWS):
        y0, y1, y2 = filled(bias, 0.0), filled(bias, 0.0), filled(bias, 0.0)
        for part in range(head.shape[2]):
            values = load(inputs, (walker, part))
            y0 = y0 + values * load(head, (component, row, part))
            y1 = y1 + values * load(head, (component, row + 1, part))
            y2 = y2 + values * load(head, (component, row + 2, part))
        store(parameters, (row, lane), load(bias, (component, row)) + lane_sum(y0))
        store(parameters, (row + 1, lane), load(bias, (component, row + 1)) + lane_sum(y1))
        store(parameters, (row + 2, lane), load(bias, (component, row + 2)) + lane_sum(y2))


@lane_function
@no_type_check
def _sample(parameters, normals, points, width_floor):
    # point = sigmoid(mean) + factor @ normals
    channels = points.shape[0]
    row = 2 * channels
    for c in range(channels):
        mean, width = load(parameters, (c,)), load(parameters, (channels + c,))
        softplus = maximum(width, 0.0) + log(1.0 + exp2(absolute(width) * -LOG2_E))
        value = 1.0 / (1.0 + exp2(mean * -LOG2_E)) + (softplus + width_floor) * load(normals, (c,))
        for earlier in range(c):
            value = value + load(parameters, (row,)) * load(normals, (earlier,))
            row += 1
        store(points, (c,), value)


@part_of_caller
@no_type_check
def _outside(n_cells, occupied, low, high, points, lane):
    outside = False
    cell = 0
    for c in range(points.shape[0]):
        value = load(points, (c, lane))
        outside = outside | (value < low) | (value > high)
        cell = cell * n_cells + min(max(int(value * np.float32(n_cells)), 0), max(n_cells - 1, 0))
    return outside | (load(occupied, (cell,)) == 0)


@part_of_caller
@no_type_check
def _well(thresholds, points, lane):
    well = 0
    for c in range(points.shape[0]):
        well += (load(points, (c, lane)) > load(thresholds, (c,))) << c
    return well


@part_of_caller
@no_type_check
def _chance(thresholds, acceptance, weights, well, points, lane):
    chance = load(acceptance, (well, _well(thresholds, points, lane)))
    n_bins = weights.shape[1]
    for c in range(points.shape[0]):
        place = int(load(points, (c, lane)) * np.float32(n_bins))
        chance *= load(weights, (c, min(max(place, 0), n_bins - 1)))
    return chance


@part_of_caller
@no_type_check
def _weigh(layers, biases, weight_head, weight_bias, bounds, n_wells, now, wells, one, two, sums, inputs, group):
    # Sums of the weights of the walkers of a group, and their last hidden layer, a walker a row of `inputs`.
    first_layer, first_bias = layers[0], biases[0]
    _affine(first_layer, first_bias, now[group], one, 0.0)
    hidden, following = one, two
    for layer in range(1, len(layers)):
        _affine(layers[layer], biases[layer], hidden, following, 0.0)
        hidden, following = following, hidden
    _affine(weight_head, weight_bias, hidden, sums[group], NEVER)
    _accumulate(sums[group], bounds, load(wells, (group,)), n_wells)
    for lane in range(LANES):
        for k in range(weight_head.shape[1]):
            inputs[group * LANES + lane, k // LANES, k % LANES] = load(hidden, (k, lane))


@part_of_caller
@no_type_check
def _draw(
    drawn, streams, sums, inputs, shape_head, shape_bias, width_floor,
    state, normals, uniforms, chosen, parameters, points,
):  # fmt: skip
    # A sample of each walker that is named, from its own stream, down a column of `points`, of the Gaussian `chosen`.
    n_components = shape_head.shape[0]
    for lane in range(drawn.shape[0]):
        for word in range(WORDS):
            state[word, lane] = streams[drawn[lane], word]
    fill_normal(state, normals)
    fill_uniform(state, uniforms)
    for lane in range(drawn.shape[0]):
        walker = drawn[lane]
        for word in range(WORDS):
            streams[walker, word] = state[word, lane]
        point = load(uniforms, (0, lane))
        chosen[lane] = _choose(sums[walker // LANES], walker % LANES, n_components, point)
        _parameters(shape_head, shape_bias, chosen[lane], inputs, walker, parameters, lane)
    _sample(parameters, normals, points, width_floor)


def _entry_point(digest: str) -> Callable[..., Any]:
    """The compiled function that Python calls; see `jit.source_digest`."""

    @entry_point
    @no_type_check
    def walk(tables, settings, start, streams, rejection, out, left):
        digest  # noqa: B018  closed over
        # Fields are read once: every access would count references anew.
        layers, biases, weight_head, weight_bias, shape_head, shape_bias, bounds = tables
        n_layers = len(layers)
        n_cells, occupied, thresholds, acceptance, bin_weights = rejection
        n_wells = acceptance.shape[0]
        width_floor, low, high, redraws = settings
        channels, n_parts = start.shape[1], shape_head.shape[2]
        n_groups = WALKERS // LANES
        width = 0
        for layer in range(n_layers):
            width = max(width, TILE * layers[layer].shape[0])
        one, two = np.empty((width, LANES), np.float32), np.empty((width, LANES), np.float32)
        now = np.zeros((n_groups, channels, LANES), np.float32)
        sums = np.empty((n_groups, TILE * weight_head.shape[0], LANES), np.float32)
        inputs = np.zeros((WALKERS, n_parts, LANES), np.float32)
        wells = np.zeros((n_groups, LANES), np.int64)
        waiting, draws = np.empty(WALKERS, np.int64), np.empty(WALKERS, np.int64)
        # Of the walkers that are drawn for at once:
        state = np.zeros((WORDS, LANES), np.uint32)
        normals = np.empty((channels + channels % 2, LANES), np.float32)
        uniforms, chosen = np.empty((2, LANES), np.float32), np.empty(LANES, np.int64)
        parameters = np.zeros((shape_head.shape[1], LANES), np.float32)
        points = np.empty((channels, LANES), np.float32)
        for first in range(0, start.shape[0], WALKERS):
            n = min(WALKERS, start.shape[0] - first)
            own = streams[first : first + n]
            for walker in range(n):
                for c in range(channels):
                    now[walker // LANES, c, walker % LANES] = start[first + walker, c]
                    out[first + walker, 0, c] = start[first + walker, c]
            for frame in range(1, out.shape[1]):
                for group in range((n + LANES - 1) // LANES):
                    for lane in range(min(LANES, n - group * LANES)):
                        walker = group * LANES + lane
                        wells[group, lane] = _well(thresholds, now[group], lane)
                        waiting[walker], draws[walker] = walker, 0
                    _weigh(
                        layers, biases, weight_head, weight_bias, bounds, n_wells,
                        now, wells, one, two, sums, inputs, group,
                    )  # fmt: skip
                n_waiting = n
                while n_waiting > 0:
                    n_refused = 0
                    for begin in range(0, n_waiting, LANES):
                        n_drawn = min(LANES, n_waiting - begin)
                        drawn = waiting[begin : begin + n_drawn]
                        _draw(
                            drawn, own, sums, inputs, shape_head, shape_bias, width_floor,
                            state, normals, uniforms, chosen, parameters, points,
                        )  # fmt: skip
                        for lane in range(n_drawn):
                            walker = waiting[begin + lane]
                            outside = _outside(n_cells, occupied, low, high, points, lane)
                            if draws[walker] == 0:
                                left[first + walker] += outside
                            kept = redraws == 0
                            if not (kept or outside):
                                well = wells[walker // LANES, walker % LANES]
                                chance = _chance(thresholds, acceptance, bin_weights, well, points, lane)
                                bound = load(bounds, (chosen[lane] * n_wells + well,))
                                kept = load(uniforms, (1, lane)) * bound < chance
                            if kept:
                                for c in range(channels):
                                    now[walker // LANES, c, walker % LANES] = load(points, (c, lane))
                            elif draws[walker] < redraws:
                                draws[walker] += 1
                                waiting[n_refused] = walker
                                n_refused += 1
                    n_waiting = n_refused
                for walker in range(n):
                    for c in range(channels):
                        out[first + walker, frame, c] = now[walker // LANES, c, walker % LANES]

    return walk


_walk = _entry_point(source_digest())
