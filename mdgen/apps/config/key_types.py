"""Types of config keys: those of a part from its signature, those of a verb from its defaults and a table."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from mdgen.apps.config.signatures import MISSING, annotations_of
from mdgen.registry import resolve

Path = Annotated[str, "path"]
"""Text that the messages call a path."""

OWN: dict[str, Any] = {
    **dict.fromkeys(("output", "run", "first", "second"), Path),
    **dict.fromkeys(("topology", "encoder_run", "start", "end", "pairs"), Path | None),
    **dict.fromkeys(("model", "pdb", "propagator_run", "decoder_run", "initial"), Path | None),
    **dict.fromkeys(("trajectories", "coarse", "known", "training_runs"), Path | list[Path] | None),
    **dict.fromkeys(("frame_spacing_ps", "hop_ps", "temperature_K"), float | None),
    **dict.fromkeys(("pressure_bar", "anneal_temperature_K"), float | None),
    **dict.fromkeys(("fraction", "training_fraction", "reference_fraction", "replicate_fraction"), tuple[float, float]),
    **dict.fromkeys(("threads", "factor", "n_designs"), int | None),
    "window_spacing_ps": float | list[float] | None,
    **dict.fromkeys(("molecules", "validation_molecules"), Path | list[dict[str, Any]] | None),
    "frames": int,
    "split_by": Literal["molecule", "trajectory"],
    "precision": Literal["single", "double"],
    "task": Literal["rollout", "interpolate", "upsample", "inpaint", "design"],
    "design_by": Literal["flow", "rejection"] | None,
    "tell_types": bool | None,
    "tokens": list[int] | None,
    "export": Literal["xtc", "dcd", "h5", "pdb"] | None,
    "to": Literal["xtc", "dcd", "h5", "pdb"],
    **dict.fromkeys(("atoms", "save_atoms"), str | None),
    "seeds": list[Path] | None,
    "row": str | None,
    "four_wells": dict[str, Any] | None,
    "tolerances": dict[str, float] | None,
}
"""Types of those keys of verbs that are not just of the type of their default."""

TABLES = ("tolerances",)
"""Keys of verbs that take a table, of names that no config lists."""


def key_types(
    node: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str = "", own: bool = True
) -> Iterator[tuple[str, Any]]:
    """Every dotted key of a config with its type; None where what the node names has no such parameter.

    Args:
        node: config as plain data. What it names as `_target_` says which keys it takes.
        defaults: values before any was given, by dotted key.
        prefix: dotted name of the node, with a dot at its end.
        own: whether keys are the verb's own where the node names nothing, rather than part of an argument.

    Raises:
        MdgenError: if a node names what is not registered.
    """
    target = node.get("_target_", MISSING)
    annotations = None if target == MISSING else annotations_of(resolve(str(target)))
    own = own and "_target_" not in node
    for key, value in node.items():
        name = f"{prefix}{key}"
        if own:
            found = OWN.get(key) or _type_of(defaults.get(name))
        else:
            found = {"_target_": str, "_partial_": bool}.get(key) or (
                Any if annotations is None else annotations.get(key)
            )
        if isinstance(value, dict) and found is not None:
            yield from key_types(value, defaults, f"{name}.", own)
        else:
            yield name, found
        for index, item in enumerate(value if isinstance(value, list) else ()):
            if isinstance(item, dict) and "_target_" in item:
                yield from key_types(item, defaults, f"{name}[{index}].", own)


def _type_of(default: Any) -> Any:
    return type(default) if isinstance(default, bool | int | float | str) and default != MISSING else Any
