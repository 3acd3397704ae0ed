"""Configs: composition by Hydra, plug-ins, checks against signatures, help, and objects built from them."""
