"""Learn from molecular dynamics trajectories and generate new ones."""

__version__ = "0.1.0"
