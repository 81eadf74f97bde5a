"""How a picture is cut into windows and how what was found in them comes together again."""

from finespot.tiling.merge import Part, merge
from finespot.tiling.plan import grid, windows

__all__ = ["Part", "grid", "merge", "windows"]
