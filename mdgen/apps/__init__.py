"""The verbs of the `mdgen` command; Hydra lives here and nowhere else."""
