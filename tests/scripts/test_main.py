import signal
import warnings

import pytest

from plasticrl.scripts import evaluate
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.terminal import one_line_warnings


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_with_130_and_a_line(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> None:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(signal.SIGTERM)  # too late to matter

    monkeypatch.setattr(evaluate, "run", interrupted)
    usual = signal.getsignal(number)
    assert main(["evaluate", "run"]) == 130
    assert capsys.readouterr().err == "\nplasticrl: stopped; everything written so far is kept\n"
    assert signal.getsignal(number) is usual


def test_defects_of_ours_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(evaluate, "run", broken)
    with pytest.raises(ValueError, match="a defect"):
        main(["evaluate", "run"])


def test_a_warning_is_one_line_without_colours() -> None:
    usual = warnings.formatwarning
    with one_line_warnings():
        shown = warnings.formatwarning("\x1b[33mWARN: this\n is old\x1b[0m", UserWarning, "module.py", 3)
    assert shown == "plasticrl: warning: WARN: this is old\n"
    assert warnings.formatwarning is usual
