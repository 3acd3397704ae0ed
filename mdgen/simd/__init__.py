"""Sixteen numbers as one value in compiled code, for the kernels of dynamics and of long latent trajectories.

- `lanes`, `lane_instructions`, `lane_math`: the vector type, its operations and elementary functions;
- `random`: streams of random numbers, one a lane;
- `jit`: compilation, and the digest of sources that keys the cache on disk.
"""
