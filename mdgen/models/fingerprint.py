"""A short name for the weights of a module, by which parts that were trained apart recognise one another."""

import hashlib

from torch import nn


def fingerprint(module: nn.Module) -> str:
    """First 16 hex digits of the SHA-256 over every parameter and buffer, in order; the device does not matter."""
    digest = hashlib.sha256()
    for name, value in module.state_dict().items():
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
