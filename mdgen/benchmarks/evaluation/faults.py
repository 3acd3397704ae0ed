"""The catalogue of faults: what `mdgen evaluate` must see, and the few that nothing at equilibrium can show."""

from mdgen.benchmarks.evaluation.altered_dynamics import ALTERED_DYNAMICS
from mdgen.benchmarks.evaluation.altered_ensembles import ALTERED_ENSEMBLES
from mdgen.benchmarks.evaluation.altered_structures import ALTERED_STRUCTURES
from mdgen.benchmarks.evaluation.copied_frames import COPIED_FRAMES
from mdgen.benchmarks.evaluation.fault import Fault

FAULTS: dict[str, Fault] = {**COPIED_FRAMES, **ALTERED_DYNAMICS, **ALTERED_STRUCTURES, **ALTERED_ENSEMBLES}
"""Every fault by name."""

PEPTIDE = "ace_ala_leu_nme"
"""The molecule that they are made for: two residues, a CH2 group, two prochiral methyls, a side chain that turns."""
