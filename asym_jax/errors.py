"""The one error that users are meant to read."""


class InputError(Exception):
    """Something the user gave is wrong; the message says what, where, and what to do.

    The programs print it as one message on stderr and exit with status 2.
    """


class Diverged(Exception):
    """A loss or a gradient was not finite; the message says at which step and what was saved."""
