"""Compiled dynamics of boxes and of anything with a cutoff: one replica a thread, sixteen atoms a SIMD value.

Boxes are large enough to fill the lanes by themselves, and every replica has neighbours of its own. Atoms are sorted in
space into blocks of sixteen; a list holds, for every atom, the blocks near it. State is kept in double precision
throughout, forces are computed in that of the run. `box_steps` has the compiled entry points, `box_kernel` the class
that everybody else uses.
"""
