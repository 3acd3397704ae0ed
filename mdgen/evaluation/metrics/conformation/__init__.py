"""Metrics of the conformation: bonds, angles, planes, size, pair distances, coupling, and copied frames."""
