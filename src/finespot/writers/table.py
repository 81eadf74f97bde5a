"""Tables of results for the terminal, whose numbers are never cut.

Differs from a plain `rich` table, which shortens every column alike where the output is narrow: here texts fold and
numbers keep their width. Where nobody watches (a file, a pipe) every line comes in full. Cells are plain text:
square brackets and colons of a class name mean nothing.
"""

from __future__ import annotations

from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

# Texts fold down to this; a terminal that is narrower still wraps the lines itself.
_LEAST_TEXT = 8
_ANY_WIDTH = 1_000_000


class ResultTable(Table):
    """Columns of texts, then columns of numbers; `options` are those of `rich.table.Table`."""

    def __init__(self, texts: tuple[str, ...], numbers: tuple[str, ...], **options: Any) -> None:
        super().__init__(header_style="bold", **options)
        self._texts = [cell_len(title) for title in texts]
        for title in texts:
            self.add_column(Text(title), overflow="fold")
        for title in numbers:
            self.add_column(Text(title), justify="right", no_wrap=True)

    def row(self, *cells: str, style: str | None = None) -> None:
        """Add a line, texts first."""
        self._texts = [max(widest, cell_len(cell)) for widest, cell in zip(self._texts, cells)]
        self.add_row(*map(Text, cells), style=style)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = Measurement.get(console, options.update_width(_ANY_WIDTH), self).maximum
        if console.is_terminal:
            folded = sum(max(0, widest - _LEAST_TEXT) for widest in self._texts)
            width = max(options.max_width, width - folded)
        yield from super().__rich_console__(console, options.update_width(width))
