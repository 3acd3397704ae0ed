"""Whether parts that were trained apart belong together, and under which conditions they generate."""

import json
import math
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from torch import nn

from mdgen.data.spacing import SAME
from mdgen.errors import MdgenError
from mdgen.interfaces import LatentSpace
from mdgen.models.checkpoint import describe
from mdgen.models.fingerprint import fingerprint
from mdgen.registry import name_of


def require_same_latent(expected: LatentSpace, found: LatentSpace, part: str) -> None:
    """Raise unless a part was made for the encoder's latent.

    Raises:
        MdgenError: saying what differs: kind, size, encoder or molecule.
    """
    words = {"kind": "latents of kind", "origin": "the encoder", "molecule": "the molecule"}
    for name, wanted in vars(expected).items():
        given = getattr(found, name)
        # What a part leaves open, it takes as it is.
        optional = name in ("tokens", "origin", "molecule") and not (wanted and given)
        if wanted != given and not optional:
            raise MdgenError(
                f"the {part} was made for {words.get(name, name)} {given}, but the encoder has {wanted}; "
                "compose parts of one training run"
            )


def identity_of(part: Any) -> str:
    """What tells a part from any other: its weights, and a hash of its class and its constructor's arguments."""
    kind = name_of(type(part))
    if not isinstance(part, nn.Module):
        return kind
    recipe = json.dumps(describe(part)) if hasattr(part, "arguments") else kind
    return f"{fingerprint(part)}-{sha256(recipe.encode()).hexdigest()[:16]}"


def trained_temperature_K(parts: Mapping[str, Any]) -> tuple[float, float] | None:
    """The least and the largest temperature at which all parts were trained; None where no part says.

    A part that does not say is taken to be trained where the others were: with an encoder of 300 K alone, what is
    generated is labelled 300 K.

    Args:
        parts: each part by its role; its `metadata`, if it has any, holds a temperature, or the least and the largest.

    Raises:
        MdgenError: if there is no temperature at which all of them were trained.
    """
    ranges = {}
    for role, part in parts.items():
        given = (getattr(part, "metadata", None) or {}).get("temperature_K")
        if given is not None:
            several = given if isinstance(given, (list, tuple)) else (given,)
            if not several or not all(isinstance(each, (int, float)) for each in several):
                raise MdgenError(
                    f"the file of the {role} says temperature_K={given!r}, no number; train the part again"
                )
            ranges[role] = float(min(several)), float(max(several))
    if not ranges:
        return None
    warm, cold = max(ranges, key=lambda role: ranges[role][0]), min(ranges, key=lambda role: ranges[role][1])
    least, largest = ranges[warm][0], ranges[cold][1]
    if least > largest * (1 + SAME):
        raise MdgenError(
            f"the {warm} was trained at {_shown(*ranges[warm])} K and the {cold} at {_shown(*ranges[cold])} K; "
            "compose parts that were trained at one temperature"
        )
    return least, max(least, largest)


def chosen_temperature_K(asked: float | None, trained: tuple[float, float] | None) -> float | None:
    """The temperature of what is generated; where the parts do not say theirs, what is asked for is taken to be it.

    Raises:
        MdgenError: if the parts were not trained at the one asked for, or at several where none is asked for, or for
            what is no temperature.
    """
    if trained is None:
        if asked is not None and not 0 < asked < float("inf"):
            raise MdgenError(f"temperature_K is {asked}; it must be a positive number")
        return asked
    if asked is None and trained[0] != trained[1]:
        raise MdgenError(f"the parts were trained at {_shown(*trained)} K; say at which temperature_K to generate")
    return _within("temperature_K", "K", asked if asked is not None else trained[0], trained, "the parts were")


def chosen_spacing_ps(asked: float | None, implied: float | None, trained: tuple[float, float]) -> float:
    """The time between generated frames.

    Args:
        asked: what the caller asks for, if anything.
        implied: what follows from the times of known trajectories, if anything does; used where none is asked for.
        trained: the least and the largest that the propagator was trained for; the least is used where nothing is said.

    Raises:
        MdgenError: if the propagator was not trained for it.
    """
    follows = asked is None and implied is not None
    source = "follows from the times of the known trajectories" if follows else "was asked for"
    value = next(each for each in (asked, implied, trained[0]) if each is not None)
    return _within("frame_spacing_ps", "ps", value, trained, "the propagator was", source)


def training_data_of(part: Any) -> str:
    """What the file of a part says of its training data: where they lie, or how many frames they are."""
    metadata = getattr(part, "metadata", None) or {}
    data = metadata.get("data")
    data = data if isinstance(data, dict) else {}
    named = data.get("trajectories") or data.get("molecules") or ""
    where = ", ".join(map(str, named)) if isinstance(named, list) else str(named)
    spacing = metadata.get("frame_spacing_ps")
    return where + (f", frames {spacing:g} ps apart" if where and isinstance(spacing, (int, float)) else "")


def _within(
    key: str, unit: str, value: float, trained: tuple[float, float], who: str, source: str = "was asked for"
) -> float:
    least, largest = trained
    if not least * (1 - SAME) <= value <= largest * (1 + SAME):
        raise MdgenError(
            f"{key}={value:g} {source}, but {who} trained at {_shown(least, largest)} {unit}; ask for that, or train "
            "on such trajectories"
        )
    return min(max(float(value), least), largest)


def _shown(least: float, largest: float) -> str:
    return f"{least:g}" if math.isclose(least, largest, rel_tol=SAME) else f"{least:g} to {largest:g}"
