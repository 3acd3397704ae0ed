"""Compiled dynamics of many replicas of one small molecule, on processors.

Sixteen replicas are one block, and every number of a block is one SIMD value (`lanes`), so each pair of atoms costs the
same few vector instructions for all sixteen. A block runs through all steps asked before the next one starts: its
state and its work space stay in the cache, and threads share nothing. From below to above:

- `lanes`, `lane_instructions`, `lane_math`, `vectors`: the vector type, its operations, functions and space vectors;
- `random`: a stream of random numbers a replica;
- `tables`, `born_radii`, `pair_sweeps`, `bonded`, `forces`: a force field laid out flat, and what it does to a block;
- `constraints`, `step`: rigid bonds, the integrator and the two compiled entry points;
- `replica_kernel`: the class that everybody else uses.
"""
