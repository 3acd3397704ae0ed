"""Rejection by a density ratio turns one distribution into the other."""

import torch

from mdgen.models.decoders.density_ratio import DensityRatio


def drawn(count: int, generator: torch.Generator) -> torch.Tensor:
    return 1.3 * torch.randn(count, 1, generator=generator) + 0.3


def test_accepted_draws_have_the_distribution_of_the_data() -> None:
    generator = torch.Generator().manual_seed(0)
    ratio = DensityRatio(1, 1)
    ratio.initialise(generator)
    condition = torch.zeros(2000, 1)
    assert not ratio.rejected(drawn(2000, generator), condition, generator).any()
    optimizer = torch.optim.Adam(ratio.parameters(), lr=3e-3)
    for _ in range(600):
        optimizer.zero_grad()
        real = torch.randn(2000, 1, generator=generator)
        ratio.loss(real, drawn(2000, generator), condition).backward()
        optimizer.step()
    # log of N(0, 1) over N(0.3, 1.3^2)
    points = torch.linspace(-2, 2, 9)[:, None]
    exact = -0.5 * points**2 + 0.5 * ((points - 0.3) / 1.3) ** 2 + torch.tensor(1.3).log()
    assert (ratio.log_ratio(points, torch.zeros(9, 1)) - exact[:, 0]).abs().max() < 0.12
    ratio.fit_ceiling(drawn(50_000, generator), torch.zeros(50_000, 1))
    values = drawn(200_000, generator)
    accepted = values[~ratio.rejected(values, torch.zeros(200_000, 1), generator)]
    assert len(accepted) > 100_000
    assert abs(float(accepted.mean())) < 0.05
    assert abs(float(accepted.std()) - 1) < 0.03
