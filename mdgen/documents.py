"""JSON and YAML files as data: of bounded size, validated against a type, and with a checksum of their own.

Everything that this package reads from its own folders comes through here, since a folder may be a stranger's: what a
file may say is a frozen dataclass beside the code that uses it, and anything else is refused in a sentence.
"""

import functools
import re
import zlib
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

import yaml
from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from mdgen.errors import MdgenError

Document = TypeVar("Document")

Count = Annotated[int, Field(ge=0, le=2**53)]
"""A whole number from 0 on, such as of frames."""

Finite = Annotated[float, Field(allow_inf_nan=False)]
"""A finite number."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
"""A finite number above 0."""


def _as_path(text: str) -> str:
    if "\0" in text or not text or max(len(part.encode()) for part in text.split("/")) > 255 or len(text) > 4_000:
        raise ValueError("expected the path of a file")
    return text


FilePath = Annotated[str, AfterValidator(_as_path)]
"""The path of a file, relative or not."""

_LARGEST = 2**28
_LARGEST_YAML, _DEEPEST_YAML = 2**23, 64
_SEAL = re.compile(rb'"crc32": ?"([0-9a-f]{8})"')
_UNSEALED = b"00000000"


def parse(kind: type[Document], content: bytes | str) -> Document:
    """A JSON text as an object of a type.

    Args:
        kind: type to validate against, such as a frozen dataclass.
        content: JSON text.

    Raises:
        ValueError: in a short sentence, if it is not JSON or not of that type.
    """
    if len(content) > _LARGEST:
        raise ValueError(f"it is larger than {_LARGEST >> 20} MiB")
    try:
        return cast(Document, _adapter(cast(Hashable, kind)).validate_json(content, strict=True))
    except ValidationError as error:
        raise ValueError(_first_of(error)) from None


def as_type(kind: type[Document], value: Any, what: str) -> Document:
    """Plain data, such as a value of a YAML file, as an object of a type; numbers may be written as text.

    Raises:
        MdgenError: if it is not of that type, beginning with `what` it is.
    """
    try:
        return cast(Document, _adapter(cast(Hashable, kind)).validate_python(value))
    except ValidationError as error:
        raise MdgenError(f"{what}: {_first_of(error)}; mend it there") from None


def _first_of(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    place = ".".join(str(each) for each in first["loc"])[:80]
    return f"{place}: {first['msg']}" if place else str(first["msg"])


def read_json(path: Path, kind: type[Document], advice: str) -> Document:
    """A JSON file as an object of a type.

    Args:
        path: file.
        kind: type to validate against.
        advice: end of the message, which says what to do.

    Raises:
        MdgenError: if it cannot be read, or is not of that type.
    """
    return parsed_file(path, kind, content_of(path, advice), advice)


def parsed_file(path: Path, kind: type[Document], content: bytes, advice: str) -> Document:
    """`parse`, with the file in the message of its error."""
    try:
        return parse(kind, content)
    except ValueError as error:
        raise MdgenError(f"{path} is damaged, or no such file as mdgen writes ({error}); {advice}") from error


def content_of(path: Path, advice: str) -> bytes:
    """The bytes of a file of moderate size.

    Raises:
        MdgenError: if it cannot be read, or is larger than any document.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise MdgenError(f"{path} is larger than {_LARGEST >> 20} MiB; {advice}")
        return path.read_bytes()
    except OSError as error:
        raise MdgenError(f"{path} cannot be read ({error.strerror}); {advice}") from error


def yaml_text(path: Path, advice: str) -> str:
    """The text of a YAML file that holds plain data: no aliases, which can expand to any size, and no deep nesting.

    Raises:
        MdgenError: if it is anything else.
    """
    content = content_of(path, advice)
    try:
        if len(content) > _LARGEST_YAML:
            raise ValueError(f"it is larger than {_LARGEST_YAML >> 20} MiB")
        text, depth = content.decode(), 0
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError(f"it holds the alias *{event.anchor[:40]}, where plain values are expected")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > _DEEPEST_YAML:
                raise ValueError(f"its values are nested more than {_DEEPEST_YAML} deep")
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise MdgenError(f"{path} is no plain YAML ({reason}); {advice}") from error
    return text


def read_yaml(path: Path, advice: str) -> Any:
    """A YAML file of plain data, see `yaml_text`."""
    text = yaml_text(path, advice)
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # a date of month 13, a key that is a list
        reason = " ".join(str(error).split())[:160]
        raise MdgenError(f"{path} is no plain YAML ({reason}); {advice}") from error


def unsealed_field() -> dict[str, str]:
    """The field of a document that `seal` fills in; it must stand before anything that others write."""
    return {"crc32": _UNSEALED.decode()}


def seal(content: bytes) -> bytes:
    """The content with its CRC-32 in the first field `crc32`, which is taken as zeros where the sum is made."""
    place = _place_of_seal(content)
    if place is None:
        raise AssertionError("the document has no field for its checksum")
    return b"".join((content[: place[0]], b"%08x" % _sum_around(content, place), content[place[1] :]))


def is_sealed(content: bytes) -> bool:
    """Whether the content is what `seal` made, to the last bit."""
    place = _place_of_seal(content)
    return place is not None and content[slice(*place)] == b"%08x" % _sum_around(content, place)


def _place_of_seal(content: bytes) -> tuple[int, int] | None:
    found = _SEAL.search(content)
    return found.span(1) if found else None


def _sum_around(content: bytes, place: tuple[int, int]) -> int:
    view = memoryview(content)
    return zlib.crc32(view[place[1] :], zlib.crc32(_UNSEALED, zlib.crc32(view[: place[0]])))


@functools.lru_cache(maxsize=64)
def _adapter(kind: Hashable) -> TypeAdapter[Any]:
    return TypeAdapter(cast(Any, kind))
