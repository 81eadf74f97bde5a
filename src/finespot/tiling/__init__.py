"""How a picture is cut into windows, which of them are looked at, and how what was found in them comes together."""

from finespot.tiling.choice import cover
from finespot.tiling.merge import Part, merge
from finespot.tiling.plan import grid, windows
from finespot.tiling.region import Mask, Polygons, Region, polygons_of, read_region

__all__ = [
    "Mask",
    "Part",
    "Polygons",
    "Region",
    "cover",
    "grid",
    "merge",
    "polygons_of",
    "read_region",
    "windows",
]
