"""Parts of a large molecule: threads change nothing, the sums are those of one part; and which kernel is chosen."""

import numpy as np
import pytest

from mdgen.errors import MdgenError
from mdgen.md.engines.kernel_engine import kernel_class
from mdgen.md.engines.lanes.molecule import molecule_kernel
from mdgen.md.engines.lanes.molecule.molecule_kernel import MoleculeKernel
from mdgen.md.engines.lanes.replicas.replica_kernel import ReplicaKernel
from tests.md.engines.lanes.systems import kernel_at, peptide


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(molecule_kernel, "_ATOMS_OF_PARTS", 1)


@pytest.mark.usefixtures("in_parts")
@pytest.mark.parametrize(("sequence", "solvent"), [("WDMK", "obc2"), ("A", "vacuum")])
def test_threads_that_share_a_molecule_change_nothing(sequence: str, solvent: str) -> None:
    system = peptide(sequence, solvent)
    frames = [kernel_at(system, 2, threads=threads, kind=MoleculeKernel).record(3, 20) for threads in (1, 2, 3, 20)]
    assert np.isfinite(frames[0]).all()
    for others in frames[1:]:
        np.testing.assert_array_equal(others, frames[0])


def test_a_molecule_in_parts_moves_as_in_one(monkeypatch: pytest.MonkeyPatch) -> None:
    system = peptide("WDMK", "gbn2")
    whole = kernel_at(system, 1, kind=MoleculeKernel)
    monkeypatch.setattr(molecule_kernel, "_ATOMS_OF_PARTS", 1)
    parts = kernel_at(system, 1, kind=MoleculeKernel, threads=2)
    for kernel in (whole, parts):
        kernel.advance(20)
    np.testing.assert_allclose(parts.positions(), whole.positions(), rtol=0, atol=1e-6)
    assert parts.potential_energy() == pytest.approx(whole.potential_energy(), rel=1e-5)


@pytest.mark.usefixtures("in_parts")
def test_a_failure_of_one_thread_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise MdgenError("broken")

    def fails_in_part_1(part: int, *_: object) -> None:
        if part == 1:
            raise MdgenError("broken")

    for name, broken in (("finish_phase", fails), ("pair_phase", fails_in_part_1)):
        with monkeypatch.context() as patched:
            patched.setattr(f"mdgen.md.engines.lanes.molecule.parts.{name}", broken)
            with pytest.raises(MdgenError, match="broken"):
                kernel_at(peptide("A", "vacuum"), 1, kind=MoleculeKernel, threads=2).advance(3)


def test_a_small_molecule_stays_on_one_thread() -> None:
    assert (MoleculeKernel.tasks(1, 138), MoleculeKernel.tasks(3, 138), MoleculeKernel.tasks(1, 2025)) == (1, 3, 8)
    assert (ReplicaKernel.tasks(16, 22), ReplicaKernel.tasks(17, 22)) == (1, 2)


def test_few_replicas_run_one_by_one_and_many_in_lanes() -> None:
    small, larger = (peptide(sequence, "vacuum").potential.parameters for sequence in ("A", "WDMK"))
    assert [kernel_class(small, n) for n in (1, 2, 16)] == [MoleculeKernel, ReplicaKernel, ReplicaKernel]
    assert [kernel_class(larger, n) for n in (1, 3, 4, 16)] == [*[MoleculeKernel] * 2, *[ReplicaKernel] * 2]
    assert kernel_class(larger, 17) is ReplicaKernel
