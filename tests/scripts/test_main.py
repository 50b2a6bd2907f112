import signal

import pytest

from plasticrl.scripts import evaluate
from plasticrl.scripts.main import main


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
