"""Diagrams: names are drawn as they are, files are whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from finespot.errors import FineSpotError
from finespot.writers.figures import blank_figure, figure_png, literal, save_figure


@pytest.mark.parametrize("name", ["$x$", "a$b", "_hidden", "$_{$", r"\$", "two words"])
def test_names_are_drawn_as_they_are(name: str, tmp_path: Path) -> None:
    figure = blank_figure(3, 2)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], label=literal(name))
    axes.set_title(literal(name))
    assert [text.get_text() for text in axes.legend().get_texts()] == [literal(name)]
    save_figure(figure, tmp_path / "a.png")
    shown, formula = axes.title._preprocess_math(literal(name))
    assert (shown.strip(), bool(formula)) == (name, False)


@pytest.mark.slow
def test_kinds_of_files(tmp_path: Path) -> None:
    starts = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}
    for suffix, start in starts.items():
        assert save_figure(blank_figure(2, 2), tmp_path / f"new/a.{suffix}").read_bytes().startswith(start)
    assert save_figure(blank_figure(2, 2), tmp_path / "a").read_bytes().startswith(starts["png"])
    with pytest.raises(FineSpotError, match=r"a\.doc: cannot draw a picture of this kind"):
        save_figure(blank_figure(2, 2), tmp_path / "a.doc")


def test_png_bytes_are_those_of_the_file(tmp_path: Path) -> None:
    figure = blank_figure(2, 2)
    assert figure_png(figure) == save_figure(figure, tmp_path / "a.png").read_bytes()
