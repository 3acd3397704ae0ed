"""HDF5 files of mdtraj, read through h5py alone.

PyTables unpickles attributes (TITLE, CLASS, FLAVOR, FILTERS and any other) when it opens a file or a node, so that a
file runs code. h5py never unpickles. Here only the named datasets and their `units` are touched, and only if they lie
in the file itself, hold plain numbers or text, and cannot expand beyond what their bytes on disk can encode.
"""

import json
import math
import operator
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import mdtraj

from mdgen.errors import MdgenError

SUFFIXES = (".h5", ".hdf5")

_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_LARGEST_RATIO = 1040
"""Deflate makes nothing more than 1032 times smaller."""
_LARGEST_TOPOLOGY = 2**26


@contextmanager
def open_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading.

    Raises:
        MdgenError: if the file, or what is read of it within the context, is damaged.
    """
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        if isinstance(error, MdgenError):
            raise
        raise MdgenError(f"{path} is truncated, or no h5 trajectory of mdtraj's; copy it again") from error


def plain_dataset(file: h5py.File, name: str, kinds: str) -> h5py.Dataset | None:
    """A dataset at the root of a file; None if there is none of that name.

    Args:
        file: open file.
        name: name of the dataset.
        kinds: numpy kinds of its elements, such as `f` for real numbers or `S` for text of fixed length.

    Raises:
        MdgenError: if it is a link, lies in another file, is of another kind, is compressed by a filter that HDF5 does
            not bring along (blosc, lzo, bzip2), or claims to be larger than its bytes on disk can be.
    """
    link = file.get(name, getlink=True)
    if link is None:
        return None
    if not isinstance(link, h5py.HardLink) or not isinstance(file[name], h5py.Dataset):
        raise MdgenError(f"{name} in {file.filename} is a link or a group; it must be a dataset in the file itself")
    dataset = file[name]
    if dataset.is_virtual or dataset.external:
        raise MdgenError(f"{name} in {file.filename} lies in another file; write a file that holds its own data")
    if dataset.dtype.kind not in kinds or dataset.dtype.hasobject:
        raise MdgenError(f"{name} in {file.filename} holds {dataset.dtype}, no plain numbers or text; write it again")
    properties = dataset.id.get_create_plist()
    if not {properties.get_filter(number)[0] for number in range(properties.get_nfilters())} <= _FILTERS:
        raise MdgenError(
            f"{name} in {file.filename} is compressed by another filter than zlib (such as blosc, lzo or bzip2), which "
            "cannot be read; write it with zlib, as mdtraj does"
        )
    stored = dataset.id.get_storage_size()
    # a whole chunk is allocated to read one of its elements
    chunk = dataset.dtype.itemsize * math.prod(dataset.chunks) if dataset.chunks and stored else 0
    if max(dataset.nbytes, chunk) > stored * _LARGEST_RATIO:
        raise MdgenError(
            f"{name} in {file.filename} claims shape {dataset.shape} but has {stored} bytes on disk; copy it again"
        )
    return dataset


def unit_of(dataset: h5py.Dataset, default: str) -> str:
    """The `units` of a dataset, or `default` where it names none.

    Raises:
        MdgenError: if the attribute is no text of fixed length.
    """
    if "units" not in dataset.attrs:
        return default
    attribute = dataset.attrs.get_id("units")
    text = h5py.check_string_dtype(attribute.dtype)
    if text is None or attribute.shape not in ((), (1,)):
        raise MdgenError(f"the units of {dataset.name} in {dataset.file.filename} are no text; write the file again")
    value = dataset.attrs["units"]
    value = value if isinstance(value, (str, bytes)) else value[0]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def read_topology(path: Path) -> mdtraj.Topology | None:
    """The topology that an mdtraj HDF5 file holds as JSON; None if it holds none.

    Raises:
        MdgenError: if it is damaged.
    """
    with open_hdf5(path) as file:
        dataset = plain_dataset(file, "topology", "S")
        if dataset is None:
            return None
        if dataset.shape not in ((), (1,)) or dataset.nbytes > _LARGEST_TOPOLOGY:
            raise MdgenError(f"the topology in {path} has shape {dataset.shape}; one text is needed")
        text = bytes(dataset[()] if dataset.shape == () else dataset[0])
    try:
        return _topology_of(json.loads(text.decode()))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, RecursionError) as error:
        reason = " ".join(repr(error).split())[:200]
        raise MdgenError(f"the topology in {path} is damaged ({reason}); write it again") from error


def _topology_of(document: dict) -> mdtraj.Topology:
    topology, by_index = mdtraj.Topology(), operator.itemgetter("index")
    for chain_document in sorted(document["chains"], key=by_index):
        chain = topology.add_chain()
        chain.chain_id = chain_document.get("chain_id")
        for residue_document in sorted(chain_document["residues"], key=by_index):
            number, segment = residue_document.get("resSeq"), residue_document.get("segmentID", "")
            residue = topology.add_residue(
                _text(residue_document["name"]), chain, resSeq=number, segment_id=_text(segment)
            )
            for atom in sorted(residue_document["atoms"], key=by_index):
                topology.add_atom(_text(atom["name"]), _element(_text(atom["element"])), residue)
    atoms = list(topology.atoms)
    for first, second in document["bonds"]:
        if not (isinstance(first, int) and isinstance(second, int) and 0 <= first != second >= 0):
            raise ValueError(f"a bond joins {first!r} and {second!r}")
        topology.add_bond(atoms[first], atoms[second])
    return topology


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a name is {value!r}")
    return value


def _element(symbol: str) -> mdtraj.element.Element:
    try:
        return mdtraj.element.get_by_symbol(symbol)
    except KeyError:
        return mdtraj.element.virtual
