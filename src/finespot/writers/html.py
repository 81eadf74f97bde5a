"""A page that explains itself: headings, text, tables and pictures in one HTML file.

Everything is in the file, pictures as base64: it can be sent, kept and opened without a network, and it runs no script.
All text is escaped; a page of hostile file names is a page of text.
"""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from finespot.errors import FineSpotError
from finespot.writers.atomic import write_atomic

Pixels = NDArray[np.uint8]
Picture = Pixels | bytes

_STYLE = """
:root { --ink: #1d2329; --soft: #4a545e; --ground: #fff; --rule: #c5ccd3; --line: #e6eaee; --link: #0b5cad;
  --error: #b3261e; --warning: #8a5a00; --note: #1f5f8b }
@media screen and (prefers-color-scheme: dark) { :root { color-scheme: dark; --ink: #e3e7eb; --soft: #a9b3bd;
  --ground: #16191d; --rule: #4a525b; --line: #2b3138; --link: #7db8f0; --error: #ff8a80; --warning: #f0b95a;
  --note: #8cc4ee } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 2rem auto;
  max-width: 76rem; padding: 0 1rem; overflow-wrap: anywhere }
h1 { font-size: 1.6rem } h2 { font-size: 1.15rem; margin: 2rem 0 .3rem } p { margin: .3rem 0 }
.table { overflow-x: auto; margin: .8rem 0 } table { border-collapse: collapse; overflow-wrap: normal }
th { text-align: left; border-bottom: 2px solid var(--rule) }
th, td { padding: .2rem .9rem .2rem 0; vertical-align: top } td { border-bottom: 1px solid var(--line) }
.number { text-align: right; font-variant-numeric: tabular-nums } a { color: var(--link) }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin: .8rem 0 }
figure { margin: 0; max-width: 100% }
figure div { display: flex; flex-wrap: wrap; gap: .4rem; align-items: flex-start }
figure img { display: block; max-width: 100%; max-height: 36rem; border: 1px solid var(--rule); background: #fff }
figcaption { font-size: .85rem; color: var(--soft); max-width: 30rem }
.error { color: var(--error); font-weight: 600 } .warning { color: var(--warning); font-weight: 600 }
.note { color: var(--note) }
@media print { body { margin: 0; max-width: none; font-size: 10pt } .table { overflow: visible; font-size: 7.5pt }
  th, td { padding-right: .4rem } figure img { max-height: 9cm } figure img + img { max-width: 8cm }
  figure, tr { break-inside: avoid } h2 { break-after: avoid } }
""".strip()

STYLES = ("error", "warning", "note")


class Link(NamedTuple):
    """A table cell that leads to a heading of the page."""

    text: str
    anchor: str


class Styled(NamedTuple):
    """A table cell in the color of an `error`, `warning` or `note`."""

    text: str
    style: str


class Number(NamedTuple):
    """A table cell with a measured value, a dash for none."""

    value: float | None
    digits: int = 3


class Figure(NamedTuple):
    """A picture, or several beside each other, with the line below.

    A picture is uint8 pixels (H, W, 3), or a finished JPEG or PNG file.
    """

    picture: Picture | tuple[Picture, ...]
    caption: str


Cell = str | int | float | Link | Number | Styled


class Page:
    """Collects the parts of a page in order.

    Parameters
    ----------
    title:
        Of the window and the first heading.
    quality:
        Of the JPEGs that pixels become.
    """

    def __init__(self, title: str, quality: int = 85) -> None:
        self.title, self.quality = title, quality
        self._parts: list[str] = []
        self._anchors: set[str] = set()

    def heading(self, text: str, anchor: str = "") -> None:
        """A heading, which links with its `anchor` lead to."""
        if anchor:
            if anchor in self._anchors:
                raise ValueError(f"the anchor '{anchor}' is used twice")
            self._anchors.add(anchor)
        self._parts.append(f"<h2{_attribute('id', anchor)}>{_escape(text)}</h2>")

    def text(self, text: str, style: str = "") -> None:
        """A paragraph."""
        self._parts.append(f"<p{_attribute('class', _checked(style))}>{_escape(text)}</p>")

    def table(self, head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """A table; numbers stand right, as do the heads of columns that hold nothing else."""
        for row in rows:
            if len(row) != len(head):
                raise ValueError(f"expected {len(head)} cells in a row but got {len(row)}")
        numeric = [bool(rows) and all(_is_number(row[k]) for row in rows) for k in range(len(head))]
        titles = "".join(
            f"<th{_attribute('class', 'number' if right else '')}>{_escape(title)}</th>"
            for title, right in zip(head, numeric)
        )
        lines = "\n".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
        self._parts.append(f'<div class="table"><table>\n<tr>{titles}</tr>\n{lines}\n</table></div>')

    def figures(self, figures: Sequence[Figure]) -> None:
        """Pictures side by side, as many in a line as fit."""
        shown = "\n".join(self._figure(figure) for figure in figures)
        self._parts.append(f'<div class="figures">\n{shown}\n</div>')

    def html(self) -> str:
        """The page."""
        title = _escape(self.title)
        head = f'<meta charset="utf-8">\n<title>{title}</title>\n<style>\n{_STYLE}\n</style>'
        view = '<meta name="viewport" content="width=device-width, initial-scale=1">'
        body = "\n".join([f"<h1>{title}</h1>", *self._parts])
        return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n{view}\n</head>\n<body>\n{body}\n</body>\n</html>\n'

    def write(self, path: str | Path) -> Path:
        """Write the page in one step; returns its path."""
        # File names that are no text have half characters, which UTF-8 cannot hold.
        return write_atomic(path, self.html().encode("utf-8", "replace"))

    def _figure(self, figure: Figure) -> str:
        caption = _escape(figure.caption)
        parts = figure.picture if isinstance(figure.picture, tuple) else (figure.picture,)
        shown = "".join(self._image(part, caption) for part in parts)
        return f"<figure><div>{shown}</div><figcaption>{caption}</figcaption></figure>"

    def _image(self, picture: Picture, alternative: str) -> str:
        data = picture if isinstance(picture, bytes) else jpeg(picture, self.quality)
        return f'<img src="data:image/{_kind(data)};base64,{base64.b64encode(data).decode()}" alt="{alternative}">'


def jpeg(pixels: Pixels, quality: int) -> bytes:
    """Pixels as a JPEG file, in full color resolution: halved, the frames of boxes lose their color."""
    stream = io.BytesIO()
    picture = Pillow.fromarray(np.ascontiguousarray(pixels))
    # Not `optimize`: Pillow then fails for noise, whose file does not fit into the buffer that it reserves.
    picture.save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


def _kind(data: bytes) -> str:
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    raise FineSpotError("expected a JPEG or PNG for a figure but got neither")


def _cell(cell: Cell) -> str:
    if isinstance(cell, Link):
        return f'<td><a href="#{_escape(cell.anchor)}">{_escape(cell.text)}</a></td>'
    if isinstance(cell, Styled):
        return f"<td{_attribute('class', _checked(cell.style))}>{_escape(cell.text)}</td>"
    if isinstance(cell, str):
        return f"<td>{_escape(cell)}</td>"
    if isinstance(cell, Number):
        shown = "-" if cell.value is None else f"{cell.value:,.{cell.digits}f}"
        return f'<td class="number">{shown}</td>'
    return f'<td class="number">{cell:,}</td>'


def _is_number(cell: Cell) -> bool:
    return not isinstance(cell, str | Link | Styled)


def _checked(style: str) -> str:
    if style and style not in STYLES:
        raise ValueError(f"expected a style of {', '.join(STYLES)} but got '{style}'")
    return style


def _attribute(name: str, value: str) -> str:
    return f' {name}="{_escape(value)}"' if value else ""


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
