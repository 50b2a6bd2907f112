import json
from pathlib import Path

import pytest
from PIL import Image

from plasticrl.scripts.main import main


def test_demo_prints_the_table_and_writes_the_pictures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["demo", "--root", str(tmp_path), "--seeds", "1", "--jobs", "1", "--total-timesteps", "4000"]
    assert main([*words, "--quiet"]) == 0
    shown = capsys.readouterr().out
    rows = [line.split()[0] for line in shown.splitlines() if line.startswith("  ") and line.strip()]
    assert {"oracle", "belief", "plastic_lstm", "plastic", "lstm", "rnn", "random"} <= set(rows)
    assert f"tensorboard --logdir {tmp_path}" in shown
    assert (tmp_path / "maze_ppo" / "learning_curves.png").is_file()
    assert (tmp_path / "plastic.gif").stat().st_size < 2_000_000
    with Image.open(tmp_path / "plastic.gif") as image:
        assert getattr(image, "n_frames", 1) > 100
    results = sorted(tmp_path.glob("maze_ppo/*/seed_0/result.json"))
    assert [path.parent.parent.name for path in results] == ["lstm", "plastic", "plastic_lstm", "rnn"]

    before = [path.stat().st_mtime_ns for path in results]
    assert main(words) == 0
    assert "kept" in capsys.readouterr().err
    assert [path.stat().st_mtime_ns for path in results] == before
    assert json.loads(results[0].read_text())["steps"] == 8_000
