"""The one exception whose text a user reads."""


class UserError(Exception):
    """Something the user can put right: one line that says what, where and what to do. The command exits with 1."""
