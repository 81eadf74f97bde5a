"""Heat-map truth: where on a coarse grid objects are, for a network that learns where to look.

As the seeker of "ESOD: Efficient Small Object Detection on High-Resolution Images" (IEEE TIP 34, 2025) learns it.

Drawn from the boxes of a batch after augmentation, straight on the grid. Each box is an axis-aligned ellipse whose
value falls from 1 at the center to `RIM` at the rim, `RIM ** ((dx / a)^2 + (dy / b)^2)` with the half sides a and b,
and is 0 outside; boxes join by their maximum. Differs from the released code, which draws at full resolution into
files, then resizes, warps and pools them: small peaks shrink on the way, and a missing file teaches that nothing is
there. Here an object always has at least one cell of value 1, that of its center.

Where the shapes of the objects are known, an ellipse is multiplied by the shape, as equation 4 of the paper says; an
object without a shape keeps its ellipse. The released code then adds half of the shape again, also where the ellipse is
0; that form is not offered. Other than in both, the cell of the center stays 1 also where the shape leaves it out (a
ring, a bent object, a mask that is a pixel off): it is where the detector has to look, and without it a small object
could lose its only cell.

The weight of a cell makes up for small objects: 1 + ln(max(1600 / area, 1)^2), the area in pixels of a picture of
1920 x 1080 (as in the released data script, without its class weights); cells in ignore regions and outside the picture
weigh 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from finespot.errors import FineSpotError
from finespot.structures import Size, Targets

RIM = 0.5
# The area below which an object's cells weigh more, of a picture of so many pixels.
_SMALL_AREA, _PICTURE_AREA = 1600.0, 1920.0 * 1080.0


class HeatMap(NamedTuple):
    """Values 0 to 1 and weights of the loss, both (B, 1, rows, columns) float32."""

    values: Tensor
    weights: Tensor


def heat_map(
    targets: Targets, size: Size, stride: int = 8, content: Tensor | None = None, shapes: Tensor | None = None
) -> HeatMap:
    """The map of a batch of inputs of `size` (height, width), one cell for `stride` x `stride` pixels.

    Parameters
    ----------
    targets:
        Boxes in pixels of the input. Ignored ones draw nothing and take the weight of cells whose center they hold,
        unless an object is drawn there.
    content:
        (B, 4) xyxy in pixels: where the picture lies in the input; cells whose center is outside weigh 0. None: all.
    shapes:
        (B, 1, height, width), not 0 on the pixels of objects, as a batch has them. A cell belongs to the shape if one
        of its pixels does; an object whose ellipse no such cell touches keeps the whole ellipse. None: ellipses.

    Raises
    ------
    FineSpotError
        `shapes` has another form.
    """
    rows, columns = -(-size[0] // stride), -(-size[1] // stride)
    device = targets.boxes.device
    values = torch.zeros(targets.batch * rows * columns, device=device)
    weights = torch.ones_like(values)
    grid = _Grid(rows, columns, stride)
    if content is not None:
        inside = torch.zeros_like(values)
        inside[grid.cells(content, torch.arange(targets.batch, device=device), centers=True).place] = 1
        weights *= inside
    boxes, ignored = targets.boxes, targets.ignore
    weights[grid.cells(boxes[ignored], targets.image[ignored], centers=True).place] = 0
    objects, image = boxes[~ignored], targets.image[~ignored]
    drawn = grid.cells(objects, image, centers=False)
    shaped = None if shapes is None else _shape_cells(shapes, (targets.batch, 1, *size), stride)[drawn.place]
    value = _ellipse(objects / stride, drawn, shaped)
    kept = value > 0
    index, which = drawn.place[kept], drawn.box[kept]
    values.scatter_reduce_(0, index, value[kept], "amax")
    weight = _small_weight(objects, size)[which]
    # Where an object is drawn, what the region or the padding took back is given again.
    weights.scatter_reduce_(0, index, weight, "amax")
    shape = (targets.batch, 1, rows, columns)
    return HeatMap(values.view(shape), weights.view(shape))


def _small_weight(boxes: Tensor, size: Size) -> Tensor:
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) * (_PICTURE_AREA / (size[0] * size[1]))
    return 1 + 2 * torch.log((_SMALL_AREA / area.clamp(min=1e-6)).clamp(min=1))


class _Cells(NamedTuple):
    """Cells of boxes, one below the other: which box, column, row, and position in the flat map of the batch."""

    box: Tensor
    x: Tensor
    y: Tensor
    place: Tensor


class _Grid(NamedTuple):
    rows: int
    columns: int
    stride: int

    def cells(self, boxes: Tensor, image: Tensor, *, centers: bool) -> _Cells:
        """All cells that boxes (n, 4) in pixels touch, or, with `centers`, whose centers they hold."""
        shift = 0.5 if centers else 0.0
        low = torch.floor(boxes[:, :2] / self.stride + shift)
        high = torch.ceil(boxes[:, 2:] / self.stride - shift)
        limit = torch.tensor([self.columns, self.rows], device=boxes.device)
        low, high = low.clamp(min=0).minimum(limit).long(), high.clamp(min=0).minimum(limit).long()
        wide, high_count = (high - low).clamp(min=0).unbind(1)
        counts = wide * high_count
        box = torch.repeat_interleave(torch.arange(len(boxes), device=boxes.device), counts)
        number = torch.arange(int(counts.sum()), device=boxes.device) - (counts.cumsum(0) - counts)[box]
        x = low[box, 0] + number % wide[box].clamp(min=1)
        y = low[box, 1] + torch.div(number, wide[box].clamp(min=1), rounding_mode="floor")
        return _Cells(box, x, y, (image[box] * self.rows + y) * self.columns + x)


def _shape_cells(shapes: Tensor, form: tuple[int, ...], stride: int) -> Tensor:
    """Whether a cell has a pixel of a shape, for the flat map of the batch."""
    if tuple(shapes.shape) != form:
        raise FineSpotError(f"expected shapes of the form {form} but got {tuple(shapes.shape)}", where="shapes")
    return F.max_pool2d((shapes != 0).float(), stride, ceil_mode=True).flatten() > 0


def _ellipse(boxes: Tensor, cells: _Cells, shaped: Tensor | None) -> Tensor:
    """The value of each cell; `boxes` in cells, `shaped` says which cells have a pixel of a shape."""
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = ((boxes[:, 2:] - boxes[:, :2]) / 2).clamp(min=0.5)
    offset = torch.stack([cells.x, cells.y], 1) + 0.5 - center[cells.box]
    distance = (offset / half[cells.box]).square().sum(1)
    value = torch.where(distance <= 1, torch.exp(math.log(RIM) * distance), 0.0)
    if shaped is not None:
        inside = shaped & (value > 0)
        shapeless = torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
        shapeless[cells.box[inside]] = False
        value = torch.where(inside | shapeless[cells.box], value, 0.0)
    home = (center.floor()[cells.box] == torch.stack([cells.x, cells.y], 1)).all(1)
    return torch.where(home, 1.0, value)
