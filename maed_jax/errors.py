"""The one kind of error that a user is meant to read."""

LONGEST = 600  # characters of a message


class UserError(Exception):
    """A mistake or a missing thing on the user's side: one sentence that says what to do.

    The command line prints it without a traceback and exits with status 1. It stays one line that
    can be read whatever a file's content has put into it.
    """

    def __init__(self, message: object):
        text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(message))
        if len(text) > LONGEST:
            text = f"{text[: LONGEST * 2 // 3]} ... {text[-LONGEST // 3 :]}"
        super().__init__(text)
