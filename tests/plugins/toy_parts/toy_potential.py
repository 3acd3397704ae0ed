"""A spring between the first atom and the last."""

from hashlib import sha256

from torch import Tensor

from mdgen.registry import register


@register
class EndToEndSpring:
    """Energy `k (r - r0)^2 / 2` of the distance r between the first and the last atom.

    Args:
        length_nm: distance r0 at rest.
        k: stiffness in kJ/mol/nm^2.
    """

    translation_invariant = True

    def __init__(self, length_nm: float, k: float = 100.0) -> None:
        self.length_nm, self.k = length_nm, k

    @property
    def fingerprint(self) -> str:
        """Hash of both numbers."""
        return sha256(f"end-to-end spring {self.length_nm} {self.k}".encode()).hexdigest()

    def energy(self, positions: Tensor, cell: Tensor | None = None) -> Tensor:
        """Energy of each replica in kJ/mol."""
        distance = (positions[:, 0] - positions[:, -1]).square().sum(-1).sqrt()
        return 0.5 * self.k * (distance - self.length_nm).square()
