"""Configs: composition by Hydra, plug-ins, checks against signatures, help, and objects built from them."""

from mdgen.registry import register_library

# What configs may name of other libraries.
register_library("torch.optim.Adam", "torch.optim.AdamW", "torch.optim.SGD")
register_library("lightning.pytorch.loggers.CSVLogger", "lightning.pytorch.loggers.WandbLogger")
