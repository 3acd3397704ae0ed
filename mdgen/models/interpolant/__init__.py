"""Stochastic interpolants: paths from noise to data, the network of velocities, its training, and solvers."""
