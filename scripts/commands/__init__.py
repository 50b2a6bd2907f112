"""The command line: commands, options and parsing."""
