"""Pieces that several trainable parts are built of."""
