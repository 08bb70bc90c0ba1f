"""The errors that users are meant to read."""


class InputError(Exception):
    """Something the user gave is wrong; the message says what, where, and what to do.

    The programs print it as one message on stderr and exit with status 2.
    """


class CannotSave(Exception):
    """Nothing could be written for longer than the run may go on without; the message says why, and what is lost."""


class OutOfPictures(Exception):
    """The pictures stopped coming in the middle of a run; the message says why, and what was saved."""


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to stop; the message says what was saved.

    Attributes:
        status: what the program exits with: 128 plus the number of the signal, as shells say it.
        at_once: threads may still be busy with what was given up; the program must not wait for them.
    """

    def __init__(self, message: str, *, status: int, at_once: bool) -> None:
        super().__init__(message)
        self.status, self.at_once = status, at_once


class Diverged(Exception):
    """A loss or a gradient was not finite; the message says at which step and what was saved."""
