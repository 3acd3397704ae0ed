"""A plug-in of three files: an encoder, two propagators and a decoder, as a user would write them outside of mdgen."""

from toy_parts import toy_decoder, toy_encoder, toy_propagator

__all__ = ["toy_decoder", "toy_encoder", "toy_propagator"]
