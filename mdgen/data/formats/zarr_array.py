"""zarr arrays on this disk, of format 2 and 3, by the package zarr (the extra `zarr`).

An array names the codecs that decode it, and one of those that zarr knows is pickle, which runs code. So what a
stranger's array says is compared with a list of codecs that only move and compress bytes, before zarr opens it.
"""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mdgen.errors import MdgenError

_CODECS = {"bytes", "transpose", "sharding_indexed", "crc32c", "blosc", "bz2", "gzip", "lz4", "lzma", "zlib", "zstd"}
_DESCRIPTIONS = ("zarr.json", ".zarray")
"""Files that say what an array is, of format 3 and 2."""

_LARGEST_CHUNK = 2**28
"""Numbers in a chunk, which is decoded as a whole."""


def is_zarr(path: Path) -> bool:
    """Whether a folder is one of zarr's."""
    return any((path / name).is_file() for name in _DESCRIPTIONS)


def open_zarr(path: Path) -> Any:
    """The array of a folder, whose chunks are read as they are asked for.

    Raises:
        MdgenError: if it is damaged, lacks chunks, which zarr would make up, or zarr is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise MdgenError(f"zarr is needed to read {path} and not installed; pip install 'mdgen[zarr]'") from error
    try:
        (described, *_) = (path / name for name in _DESCRIPTIONS if (path / name).is_file())
        document = json.loads(described.read_bytes())
        if document.get("node_type") == "group":
            raise ValueError(f"it is a group: name an array in it, as {path}/positions")
        unknown = sorted({str(each) for each in _codecs(document)} - _CODECS)
        if not unknown:
            array = zarr.open_array(store=str(path), mode="r")
            largest, missing = math.prod(array.chunks), array.nchunks - array.nchunks_initialized
    except Exception as error:  # zarr raises whatever a damaged description happens to cause
        reason = " ".join(str(error).split())[:160]
        raise MdgenError(f"{path} is damaged or no zarr array of numbers ({reason}); write it again") from error
    if unknown:
        raise MdgenError(f"{path} is encoded by {', '.join(unknown)}; expected {', '.join(sorted(_CODECS))} at most")
    if missing > 0:  # below 0 where the last shard has room for more
        raise MdgenError(f"{path} lacks {missing} of its {array.nchunks} chunks; copy it again")
    if largest > _LARGEST_CHUNK:
        raise MdgenError(f"{path} has chunks of {largest} numbers; write it in chunks of at most {_LARGEST_CHUNK}")
    return array


def _codecs(document: dict[str, Any]) -> Iterator[Any]:
    """Names of the codecs that a description asks for, those within shards included."""
    for codec in [*(document.get("filters") or []), *filter(None, [document.get("compressor")])]:
        yield codec["id"]
    for codec in document.get("codecs", []) + document.get("index_codecs", []):
        yield codec["name"]
        yield from _codecs(codec.get("configuration", {}))
