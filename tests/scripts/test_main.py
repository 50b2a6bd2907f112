import pytest

from plasticrl.scripts import evaluate
from plasticrl.scripts.main import main


def test_ctrl_c_ends_with_130_and_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "run", interrupted)
    assert main(["evaluate", "run"]) == 130
    assert capsys.readouterr().err.strip().count("\n") == 0


def test_defects_of_ours_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_: object) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(evaluate, "run", broken)
    with pytest.raises(ValueError, match="a defect"):
        main(["evaluate", "run"])
