"""Tensors without chemistry: dihedrals, superposition, internal coordinates."""
