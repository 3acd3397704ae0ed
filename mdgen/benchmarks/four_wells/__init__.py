"""Encoder and propagator on a Markov chain whose spectrum is known exactly."""
