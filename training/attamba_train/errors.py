"""The one exception that a user's mistake may cause."""


class KitError(Exception):
    """A mistake in a file, a setting or an argument, told in one sentence with the numbers in it."""
