"""Compiled dynamics of boxes and of anything with a cutoff, on processors: one replica a thread.

Here sixteen atoms, not sixteen replicas, share a SIMD value: boxes are large enough to fill the lanes by themselves,
and every replica has neighbours of its own. Atoms are sorted in space into blocks of sixteen; a list holds, for every
atom, the blocks near it. State is kept in double precision throughout, forces are computed in that of the run. From
below to above:

- `selection`: what lanes need here beside the operations of `kernels.lanes`;
- `lists`: the order in space and the list of blocks;
- `sweep`: Lennard-Jones and reaction field of the listed blocks;
- `bonded`, `bonded_tables`: bonded terms and exceptions, sixteen terms at a time;
- `rigid`, `rigid_tables`: rigid water, sixteen at a time, and rigid bonds;
- `step`: the integrator and the compiled entry points;
- `box_kernel`: the class that everybody else uses.
"""
