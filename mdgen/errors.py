"""The one error that a user can cause and mend."""


class MdgenError(ValueError):
    """A mistake in the input: one sentence saying what was wrong, what was expected and what to do.

    The command line shows the sentence alone, without a traceback, and exits with status 2. Anything else that is
    raised is a fault of ours and keeps its traceback.
    """
