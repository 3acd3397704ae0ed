"""Published evaluation protocols, reproduced so that our numbers stand beside those of the papers.

Each protocol keeps its paper's definitions, faults included; what a paper leaves open is said where it is decided.
`mdgen evaluate protocol=mdgen` or `protocol=proteins` adds one to an evaluation.
"""

from mdgen.evaluation.protocols.mdgen_protocol import MdgenProtocol
from mdgen.evaluation.protocols.protein_protocol import ProteinProtocol
from mdgen.evaluation.protocols.protocol import Protocol, ProtocolResult, ProtocolRow

__all__ = ["MdgenProtocol", "ProteinProtocol", "Protocol", "ProtocolResult", "ProtocolRow"]
