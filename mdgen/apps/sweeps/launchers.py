"""Hydra's launchers that `--multirun` may choose."""

LAUNCHERS = ("basic", "joblib", "submitit_local", "submitit_slurm")
