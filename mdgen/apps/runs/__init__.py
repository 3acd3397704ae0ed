"""Runs: their folders, provenance, threads, screen output, concurrent steps and sweeps."""
