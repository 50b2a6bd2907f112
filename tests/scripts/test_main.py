import signal
import warnings
from types import ModuleType

import pytest

from plasticrl.scripts import benchmark, demo, evaluate, train
from plasticrl.scripts.main import main
from plasticrl.scripts.runs.terminal import one_line_warnings


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("module", "words", "resumes"),
    [
        (evaluate, ["evaluate", "run"], ""),
        (demo, ["demo"], ""),
        (benchmark, ["benchmark", "speed"], ""),
        (benchmark, ["benchmark", "memory"], "; the same command resumes"),
        (train, ["train", "maze"], "; the same command resumes"),
        (train, ["train", "maze", "--overwrite"], "; the same command without --overwrite resumes"),
    ],
    ids=["evaluate", "demo", "speed", "memory", "train", "overwrite"],
)
def test_a_signal_ends_with_130_and_a_line(
    number: signal.Signals,
    module: ModuleType,
    words: list[str],
    resumes: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(_: object) -> None:
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(signal.SIGTERM)  # too late to matter

    monkeypatch.setattr(module, "run", interrupted)
    usual = signal.getsignal(number)
    assert main(words) == 130
    line = f"\nplasticrl: stopped; everything written so far is kept{resumes}\n"
    assert capsys.readouterr().err == line
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
    assert shown == "plasticrl: warning: this is old\n"
    assert warnings.formatwarning is usual
