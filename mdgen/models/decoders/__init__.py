"""A latent trajectory to atoms."""
