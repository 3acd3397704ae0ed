"""Positions to a latent."""
