"""Compiled dynamics on processors: one set of SIMD functions, and three kernels that differ in what the lanes hold.

`replicas` gives sixteen replicas of a small molecule one lane each; `molecule` and `box` give sixteen atoms, or terms,
of one replica one lane each, over all pairs and over lists of near ones. What they share, from below to above:

- `mdgen.simd`: the vector type, its operations, elementary functions and random numbers; compilation;
- `vectors`: vectors in space;
- `pair_laws`, `born_laws`, `bonded_forces`, `rigid`, `integration`: the physical laws, each written once;
- `layouts`, `bonded_terms`, `born_tables`: atoms and numbers of terms as the kernels hold them;
- `lane_kernel`: state, checks and threads of a kernel.
"""
