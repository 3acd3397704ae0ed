"""Compiled dynamics of few replicas of a molecule without a box: sixteen of its atoms are one SIMD value.

One replica fills the lanes by itself: each atom meets blocks of sixteen others, all pairs once. The state is in double
precision, pairs are computed in that of the run. A molecule of many atoms is divided into parts, which threads share.
`molecule_steps` has the compiled entry points, `molecule_kernel` the class that everybody else uses.
"""
