"""The exceptions that a user sees as one line."""


class UserError(Exception):
    """A mistake that the user can correct. Its one line says what, where and what to do.

    The command then exits with 1.
    """


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM while no dataflow runs. The code that it ends undoes what is half done."""
