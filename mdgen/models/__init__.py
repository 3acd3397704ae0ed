"""Trainable parts."""
