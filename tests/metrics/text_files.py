"""Small sets of text files, for the tests of their readers."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def write(folder: Path, **files: str) -> Path:
    """A folder of text files; two underscores in a name stand for a dot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name.replace('__', '.')}.txt").write_text(text)
    return folder


def pictures(folder: Path, *names: str, size: tuple[int, int] = (40, 60)) -> Path:
    """Black pictures of (height, width)."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("L", (size[1], size[0])).save(folder / f"{name}.png")
    return folder
