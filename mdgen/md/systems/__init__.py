"""Molecules and boxes from files and sequences, each with its force field."""
