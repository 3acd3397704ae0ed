"""Simulators composed of trained parts."""
