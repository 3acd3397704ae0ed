"""Sweeps: many runs of one verb, in turn or by a launcher, and what all of them say together."""
