"""Compiled dynamics on processors: one set of SIMD functions, and two kernels that differ in what the lanes hold.

`replicas` gives sixteen replicas of a small molecule one lane each; `box` gives sixteen atoms, or terms, of one replica
with a cutoff one lane each. What both share, from below to above:

- `jit`: compilation, and the digest of sources that keys the cache on disk;
- `lanes`, `lane_instructions`, `lane_math`, `vectors`: the vector type, its operations, functions and space vectors;
- `random`: streams of random numbers;
- `pair_laws`, `bonded_forces`, `rigid_bonds`, `integration`: the physical laws, each written once;
- `layouts`, `bonded_terms`: atoms and numbers of bonded terms as either kernel holds them;
- `lane_kernel`: state, checks and threads of a kernel.
"""
