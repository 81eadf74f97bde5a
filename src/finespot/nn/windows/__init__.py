"""Windows of a feature map: where they lie, which are computed, how they are cut, what their heads learn and find."""

from finespot.nn.windows.cells import cells_of_level, object_cells, peak_cells
from finespot.nn.windows.changed import changed_layers
from finespot.nn.windows.gather import gather
from finespot.nn.windows.grid import UNIT, Grid, Places, shifted, widened
from finespot.nn.windows.regroup import by_picture
from finespot.nn.windows.selection import choose, for_training, indices, object_cores, peaks
from finespot.nn.windows.targets import in_windows

__all__ = [
    "UNIT",
    "Grid",
    "Places",
    "by_picture",
    "cells_of_level",
    "changed_layers",
    "choose",
    "for_training",
    "gather",
    "in_windows",
    "indices",
    "object_cells",
    "object_cores",
    "peak_cells",
    "peaks",
    "shifted",
    "widened",
]
