"""Each condition knows exactly what its task knows."""

import inspect

import pytest
import torch

from mdgen.data import conditions
from mdgen.data.conditions import both_ends, every_kth, first_frame, tokens
from mdgen.errors import MdgenError
from mdgen.interfaces import Condition


def latent(frames: int = 5) -> torch.Tensor:
    return torch.randn(2, frames, 3, 4, generator=torch.Generator().manual_seed(0))


def known_frames(condition: Condition) -> list[int]:
    assert condition.values.shape == condition.known.shape
    whole = condition.known.all(-1).all(-1).all(0)
    assert (condition.known.any(-1).any(-1).any(0) == whole).all()
    return torch.nonzero(whole).flatten().tolist()


def test_first_frame() -> None:
    condition = first_frame(latent()[:, 0], 7)
    assert known_frames(condition) == [0]
    assert condition.values.shape == (2, 7, 3, 4)
    torch.testing.assert_close(condition.values[:, 0], latent()[:, 0])


def test_both_ends() -> None:
    condition = both_ends(latent()[:, 0], latent()[:, 4], 7)
    assert known_frames(condition) == [0, 6]
    torch.testing.assert_close(condition.values[:, [0, -1]], latent()[:, [0, 4]])


@pytest.mark.parametrize("k", [1, 3])
def test_every_kth(k: int) -> None:
    condition = every_kth(latent(), k)
    assert known_frames(condition) == list(range(0, 4 * k + 1, k))
    torch.testing.assert_close(condition.values[:, ::k], latent())


@pytest.mark.parametrize("chosen", [[0, 2], torch.tensor([True, False, True])])
def test_tokens(chosen: list[int] | torch.Tensor) -> None:
    condition = tokens(latent(), chosen)
    assert condition.known[:, :, [0, 2]].all()
    assert not condition.known[:, :, 1].any()
    torch.testing.assert_close(condition.values, latent() * condition.known)


def test_a_condition_of_any_length_is_no_larger_than_what_is_known() -> None:
    condition = first_frame(latent()[:, 0], 10**6)
    assert condition.values.untyped_storage().nbytes() == latent().untyped_storage().nbytes()
    assert condition.values.shape == condition.known.shape == (2, 10**6, 3, 4)


def test_mistakes_are_refused() -> None:
    with pytest.raises(MdgenError, match="tokens 0 to 2; there is no 3"):
        tokens(latent(), [3])
    with pytest.raises(MdgenError, match="at least 2"):
        both_ends(latent()[:, 0], latent()[:, 1], 1)
    with pytest.raises(MdgenError, match="at least 1"):
        first_frame(latent()[:, 0], 0)
    with pytest.raises(MdgenError, match="at least 1"):
        every_kth(latent()[:, :0], 2)
    with pytest.raises(MdgenError, match="k must be at least 1"):
        every_kth(latent(), 0)


def test_a_length_that_is_no_whole_number_is_refused() -> None:
    require = inspect.unwrap(conditions._require_frames)  # the type check of the tests would be first
    with pytest.raises(MdgenError, match="must be a whole number"):
        require(2.5, 1)
