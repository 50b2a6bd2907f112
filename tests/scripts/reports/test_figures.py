"""Pictures as files."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure

from plasticrl.scripts.reports.figures import write_figure


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_same_figure_gives_the_same_file(ending: str, tmp_path: Path) -> None:
    """So that what is kept under version control changes only where the data do."""
    files = [tmp_path / folder / f"curves.{ending}" for folder in ("first", "second")]
    for file in files:
        file.parent.mkdir()
        figure = Figure()
        panel = figure.add_subplot()
        panel.plot([1, 3, 2], label="points")
        panel.fill_between([0, 1, 2], [0, 1, 2], [1, 3, 3])
        panel.legend()
        write_figure(figure, file)
    assert files[0].read_bytes() == files[1].read_bytes()
