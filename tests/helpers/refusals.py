"""The check of an error of the command line."""

import pytest

from plasticrl.scripts.main import main


def check_refused(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that a command ends with one line that says this."""
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert shown.err.startswith("plasticrl: error: ")
    assert says in shown.err
