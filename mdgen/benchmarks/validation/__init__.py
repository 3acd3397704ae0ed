"""Validation of the engine: one file per kind of fault, each check with its figure and its bound."""
