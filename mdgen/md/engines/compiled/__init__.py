"""Forces and constraints as one graph that `torch.compile` makes into few kernels.

Inside, positions are `(3, atom, replica)`: replicas are the fastest axis, so each operation on an atom or a pair is a
vector over replicas. Every sum over pairs or terms runs over a table, in a fixed order, and never adds into an atom
from several places at once: results do not depend on how a device schedules its threads.
"""
