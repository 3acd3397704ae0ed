"""Sampling beyond plain dynamics: reweighting from one ensemble to another, and adaptive choice of where runs start."""
