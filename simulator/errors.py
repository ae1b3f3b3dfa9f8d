"""What all errors that a user can mend have in common."""


class UserError(Exception):
    """An error whose text is all that there is to say: where, what, must be, got, what to do."""
