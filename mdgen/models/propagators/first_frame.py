"""What a forward simulation starts from."""

from jaxtyping import Float
from torch import Tensor

from mdgen.errors import MdgenError
from mdgen.interfaces import Condition, Context, LatentSpace


def first_frame(
    condition: Condition, context: Context, latent: LatentSpace, lag_ps: float
) -> tuple[Float[Tensor, "batch token channel"], int]:
    """The known first frame and the number of frames of a condition that knows nothing else.

    Raises:
        MdgenError: if more or less than the first frame is known, or the frame spacing is not the propagator's lag.
    """
    spacings = context.frame_spacing_ps
    if spacings is not None and bool(((spacings - lag_ps).abs() > 1e-6 * lag_ps).any()):
        raise MdgenError(
            f"the frames asked for are {float(spacings[0]):g} ps apart, but this propagator steps by {lag_ps:g} ps; "
            "ask for its own spacing"
        )
    if condition.values.shape[2:] != (latent.tokens, latent.channels):
        raise MdgenError(
            f"the start has {condition.values.shape[2]} tokens of {condition.values.shape[3]} channels, the propagator "
            f"{latent.tokens} of {latent.channels}; encode the start with the encoder it was trained with"
        )
    if not bool(condition.known[:, 0].all()) or bool(condition.known[:, 1:].any()):
        raise MdgenError("this propagator simulates forward only: the first frame, and nothing else, must be known")
    return condition.values[:, 0], condition.values.shape[1]
