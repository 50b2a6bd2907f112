"""Tables on standard output."""

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

_WIDTH_OF_FILES = 200


def percent(share: float) -> str:
    """Format a share as whole percent, never "-0%"."""
    return f"{round(100 * share)}%"


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text, the first column left-aligned, the others right-aligned.

    On a terminal, the table has its width; elsewhere, lines are neither cut nor wrapped.
    """
    table = Table(box=box.SIMPLE_HEAD)
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH_OF_FILES)
    console.print(title, style="bold", soft_wrap=True, markup=False)
    console.print(table)
