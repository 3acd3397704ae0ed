"""A latent trajectory from its beginning."""
