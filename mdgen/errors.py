"""The one error that a user can cause and mend, and a kind of it that code mends."""


class MdgenError(ValueError):
    """A mistake in the input: one sentence saying what was wrong, what was expected and what to do.

    The command line shows the sentence alone, without a traceback, and exits with status 2. Anything else that is
    raised is a fault of ours and keeps its traceback.
    """


class OnlyOpenMMError(MdgenError):
    """What OpenMM computes and this package's own force field does not: engine=openmm runs it all the same."""
