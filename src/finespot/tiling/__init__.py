"""How a picture is cut into windows, which of them are looked at, and how what was found in them comes together."""

from finespot.tiling.choice import UNIFORM_ABOVE, cover, looked_at
from finespot.tiling.merge import Part, merge
from finespot.tiling.parting import needed
from finespot.tiling.plan import grid, windows, worth
from finespot.tiling.region import GEOJSON, Mask, Polygons, Region, polygons_of, read_region, touched_cells
from finespot.tiling.rows import RowMerge, rows_of

__all__ = [
    "GEOJSON",
    "UNIFORM_ABOVE",
    "Mask",
    "Part",
    "Polygons",
    "Region",
    "RowMerge",
    "cover",
    "grid",
    "looked_at",
    "merge",
    "needed",
    "polygons_of",
    "read_region",
    "rows_of",
    "touched_cells",
    "windows",
    "worth",
]
