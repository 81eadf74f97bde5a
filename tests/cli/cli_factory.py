"""What the tests of verbs share beside fixtures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from finespot import images
from finespot.structures import Size

Said = tuple[int, str, str]
Run = Callable[..., Said]
# Class names that a terminal library would take for styles.
STRANGE = ("[/red] car", "[class] 3")
MAIN = "import sys, finespot.cli; finespot.cli.main(sys.argv[1:])"


def refused(said: Said, *words: str) -> None:
    """Exit code 2 and one line on standard error that holds the words."""
    code, _, error = said
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    for word in words:
        assert word in error


def dark_clip(path: Path, frames: int, size: Size) -> Path:
    """A video of black frames of `size` (height, width)."""
    writer = images.VideoWriter(path, 10, size)
    for _ in range(frames):
        writer.write(np.zeros((*size, 3), np.uint8))
    writer.close()
    return path


def process(*words: str | Path, code: str = MAIN, **options: Any) -> subprocess.CompletedProcess[Any]:
    """A command line in a process of its own."""
    return subprocess.run([sys.executable, "-c", code, *map(str, words)], check=False, **options)
