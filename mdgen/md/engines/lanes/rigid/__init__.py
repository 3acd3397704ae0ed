"""Rigid bonds and triangles: of sixteen replicas with a fixed number of sweeps, and of one replica by itself."""
