"""Compiled dynamics on processors: one set of SIMD functions, and three kernels that differ in what the lanes hold.

`replicas` gives sixteen replicas of a small molecule one lane each; `molecule` and `box` give sixteen atoms, or terms,
of one replica one lane each, over all pairs and over lists of near ones. What they share, from below to above:

- `jit`: compilation, and the digest of sources that keys the cache on disk;
- `lanes`, `lane_instructions`, `lane_math`, `vectors`: the vector type, its operations, functions and space vectors;
- `random`: streams of random numbers;
- `pair_laws`, `born_laws`, `bonded_forces`, `rigid`, `integration`: the physical laws, each written once;
- `layouts`, `bonded_terms`, `born_tables`: atoms and numbers of terms as the kernels hold them;
- `lane_kernel`: state, checks and threads of a kernel.
"""
