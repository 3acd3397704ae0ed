"""The potential in torch, term by term: the reference, differentiable."""
