"""Encoder and propagator on a ring of four wells in the plane, whose spectrum is known exactly."""
