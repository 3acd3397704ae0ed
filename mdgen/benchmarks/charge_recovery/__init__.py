"""Partial charges fitted through differentiable dynamics, with known true values."""
