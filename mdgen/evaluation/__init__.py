"""Judges any trajectory against any other."""
