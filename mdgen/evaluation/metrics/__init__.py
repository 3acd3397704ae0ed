"""Metrics of trajectories, one family a file.

A new family is a subclass of `target.MetricFamily` and a line in `catalogue.FAMILIES`; tables, noise
floors, `metrics.md` and the report take its names from its descriptions.
"""
