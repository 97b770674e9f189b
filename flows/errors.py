"""The exceptions that a user meets as one line."""


class UserError(Exception):
    """Something the user can put right: one line that says what, where and what to do. The command exits with
    1.
    """


class Interrupted(KeyboardInterrupt):
    """SIGINT or SIGTERM while no dataflow runs. What is half done is undone on the way out."""
