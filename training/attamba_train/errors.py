"""The only exception that a user's mistake may cause."""


class KitError(Exception):
    """A mistake in a file, a setting or an argument, reported in one sentence with the numbers in it."""
