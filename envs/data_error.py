"""The error for data files that are missing, damaged, hostile or malformed."""


class DataError(ValueError):
    """Dataset files that cannot be used; the message names the file, the problem and a way out."""
