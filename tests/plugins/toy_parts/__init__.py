"""A plug-in as a user would write it outside of mdgen: one file a part, and their configs in the folder `conf`."""

from toy_parts import toy_decoder, toy_encoder, toy_integrator, toy_potential, toy_propagator, toy_windows

__all__ = ["toy_decoder", "toy_encoder", "toy_integrator", "toy_potential", "toy_propagator", "toy_windows"]
