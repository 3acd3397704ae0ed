"""What a fault is, and what it may use: the honest frames it changes, the reference, the chain behind both."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float

from mdgen.benchmarks.evaluation.known_chain import Frames, KnownChain

Internal = dict[str, Float[np.ndarray, "frame coordinate"]]
"""`bonds` (nm), `angles` and `dihedrals` (radians) of the Z-matrix, frames of all trajectories one after the other."""

EMPTY_KT = 30.0
"""Energy of a well that is never visited."""

_CHUNK = 10_000


@dataclass(frozen=True)
class Dynamics:
    """The dynamics that a fault falsifies.

    Args:
        chain: law of the dynamics.
        reference: frames that the result is judged against; a model may have memorised them.
        rng: generator of everything random.
    """

    chain: KnownChain
    reference: Frames
    rng: np.random.Generator

    def altered(self, **law: float | Mapping[str, float]) -> Frames:
        """Trajectories as many and as long as the reference, from the chain with other arguments."""
        chain = replace(self.chain, **law)  # type: ignore[arg-type]
        n_trajectories, n_frames = self.reference.shape[:2]
        return chain.draw(n_trajectories, n_frames, self.rng)

    def atom(self, name: str, residue: str) -> int:
        """Index of an atom such as `CA` of `ALA2`."""
        atoms = self.chain.molecule.topology.atoms
        return next(each.index for each in atoms if each.name == name and str(each.residue) == residue)

    def to_internal(self, frames: Frames) -> Internal:
        """Internal coordinates of frames."""
        flat = torch.from_numpy(frames.reshape(-1, *frames.shape[2:]))
        parts = [self.chain.zmatrix.to_internal(chunk) for chunk in flat.split(_CHUNK)]
        names = ("bonds", "angles", "dihedrals")
        return {name: torch.cat(each).numpy() for name, each in zip(names, zip(*parts, strict=True), strict=True)}

    def to_frames(self, internal: Internal) -> Frames:
        """Positions from internal coordinates, in trajectories as long as those of the reference."""
        columns = [torch.from_numpy(internal[name]).float() for name in ("bonds", "angles", "dihedrals")]
        parts = zip(*(column.split(_CHUNK) for column in columns), strict=True)
        flat = torch.cat([self.chain.zmatrix.to_cartesian(*part) for part in parts]).numpy()
        return flat.reshape(-1, self.reference.shape[1], *flat.shape[1:])

    def column(self, torsion: str) -> int:
        """Column of a torsion such as `phi ALA2` among the dihedrals of the Z-matrix."""
        return self.chain.columns[torsion][0]

    def some(self, share: float) -> np.ndarray:
        """Mask `(trajectory, frame)` of a random share of all frames."""
        return self.rng.random(self.reference.shape[:2]) < share


Change = Callable[[Frames, Dynamics], Frames]


@dataclass(frozen=True)
class Fault:
    """One way in which generated trajectories can be wrong.

    Args:
        name: name of the function that makes it.
        meaning: one plain sentence.
        change: function of honest frames and the dynamics; it leaves both as they are.
        visible: False for what no comparison of equilibrium dynamics can see, which must pass.
        weight: well and factor of its weight, for a fault of populations alone; it is also judged with as many
            trajectories as an ideal test of that population needs.
        omitted: wells that are never visited, where they are so rare that it takes as many trajectories as an ideal
            test of their visits needs.
    """

    name: str
    meaning: str
    change: Change
    visible: bool = True
    weight: tuple[str, float] | None = None
    omitted: tuple[str, ...] = ()


class Catalogue(dict[str, Fault]):
    """Faults by name: a function that makes one is entered under its own name, with its docstring for the meaning."""

    def add(self, change: Change) -> Change:
        """Enter a fault; a decorator."""
        return self._enter(change, visible=True)

    def add_invisible(self, change: Change) -> Change:
        """Enter what no comparison of equilibrium dynamics can see; a decorator."""
        return self._enter(change, visible=False)

    def add_law(self, name: str, meaning: str, **law: float | Mapping[str, float]) -> None:
        """Enter honest trajectories of a chain with another law, given by arguments of `KnownChain`."""
        self[name] = Fault(name, meaning, lambda frames, dynamics: dynamics.altered(**law))

    def add_weight(self, name: str, meaning: str, well: str, factor: float) -> None:
        """Enter honest trajectories of a chain in which a well has `factor` times its weight."""
        self.add_law(name, meaning, offsets={well: -float(np.log(factor))})
        self[name] = replace(self[name], weight=(well, factor))

    def add_omission(self, name: str, meaning: str, *wells: str) -> None:
        """Enter honest trajectories of a chain that never visits some rare wells."""
        self.add_law(name, meaning, offsets=dict.fromkeys(wells, EMPTY_KT))
        self[name] = replace(self[name], omitted=wells)

    def _enter(self, change: Change, visible: bool) -> Change:
        name, meaning = getattr(change, "__name__", ""), (change.__doc__ or "").split("\n")[0]
        self[name] = Fault(name, meaning, change, visible)
        return change


def turned(frames: Frames, torsion: str, by: Float[np.ndarray, "frame"] | float, dynamics: Dynamics) -> Frames:
    """Frames with one torsion turned by some radians, everything beyond it moving along."""
    internal = dynamics.to_internal(frames)
    internal["dihedrals"][:, dynamics.column(torsion)] += by
    return dynamics.to_frames(internal)
