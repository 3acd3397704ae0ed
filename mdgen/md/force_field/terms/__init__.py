"""The energy terms of a force field, one a file; each is a function of positions that vectorises over replicas."""
