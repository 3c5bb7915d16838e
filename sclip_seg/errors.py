"""The one exception for a user's mistake."""


class InputError(ValueError):
    """What is wrong, where, and what to do about it. Tools print the message and exit with status 2."""
