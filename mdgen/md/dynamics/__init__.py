"""Integrators, constraints, minimisation, replica exchange, checkpoints and the one loop."""
