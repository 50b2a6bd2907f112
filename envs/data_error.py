"""The error for data files that are missing, damaged, hostile or not what they should be."""


class DataError(ValueError):
    """A dataset's files cannot be used; the text names the file, what is wrong, and a way out."""
