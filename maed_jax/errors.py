"""The one kind of error that a user is meant to read."""


class UserError(Exception):
    """A mistake or a missing thing on the user's side: one sentence that says what to do.

    The command line prints it without a traceback and exits with status 1.
    """
